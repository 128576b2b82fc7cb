-- Whether users were split as they should have been; the mathematics is in core/src/statistics/sample_ratio.rs.
create or replace function @extschema@.ab_srm(observed bigint[], weights double precision[], threshold double precision default 0.001)
    returns table (statistic double precision, df integer, p_value double precision, mismatch boolean, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_srm_wrapper';

comment on function @extschema@.ab_srm(bigint[], double precision[], double precision) is $$Sample ratio mismatch: chi-square test of the users of each variant against its weight, on any scale. A mismatch means that the results are not to be trusted.

For one look; for many ab_srm_sequential, for weights that were changed ab_srm_phases. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT p_value, mismatch FROM ab_srm('{10000, 10300}', '{50, 50}');$$;

create or replace function @extschema@.ab_srm_phases(
    phase integer[],
    arm integer[],
    observed bigint[],
    weight double precision[],
    threshold double precision default 0.001
)
    returns table (statistic double precision, df integer, p_value double precision, mismatch boolean, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_srm_phases_wrapper';

comment on function @extschema@.ab_srm_phases(integer[], integer[], bigint[], double precision[], double precision) is $$Sample ratio mismatch where weights were changed: each phase of constant weights is tested against its own, and the chi-squares are added.

One element for each phase and arm: users first exposed then, and the arm's weight then, on any scale. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT p_value, mismatch FROM ab_srm_phases('{1, 1, 2, 2}', '{1, 2, 1, 2}', '{900, 100, 510, 490}', '{90, 10, 50, 50}');$$;

create or replace function @extschema@.ab_srm_sequential(
    observed bigint[],
    weights double precision[],
    concentration double precision default 100,
    threshold double precision default 0.001
)
    returns table (log_e double precision, p_value double precision, mismatch boolean, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_srm_sequential_wrapper';

comment on function @extschema@.ab_srm_sequential(bigint[], double precision[], double precision, double precision) is $$Sample ratio mismatch that may be looked at at any time and as often as one likes: Dirichlet-multinomial test of the users of each variant against its weight.

concentration: the greater, the smaller the mismatches looked for. The p-value of a monitored experiment is the least of its looks; log_e of phases add up.
Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT p_value, mismatch FROM ab_srm_sequential('{10000, 10300}', '{50, 50}');$$;
