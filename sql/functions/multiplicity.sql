-- p-values of several tests; the mathematics is in core/src/statistics/multiplicity.rs.
create or replace function @extschema@.ab_adjust_pvalues(p double precision[], method text default 'holm')
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ab_adjust_pvalues_wrapper';

comment on function @extschema@.ab_adjust_pvalues(double precision[], text) is $$p-values adjusted for being several, in the same order; a test is rejected where its own is at most alpha. NULL stays NULL and does not count.

method: holm, bonferroni, hochberg (family-wise error), bh or by (false discovery rate).
Errors: invalid_argument (22023).

Example: SELECT ab_adjust_pvalues('{0.001, 0.02, 0.03, 0.04, 0.5}');$$;

create or replace function @extschema@.ab_adjust_pvalues_table(
    p double precision[],
    method text default 'holm',
    alpha double precision default 0.05
)
    returns table (ord integer, p_value double precision, p_adjusted double precision, rejected boolean, method text, note text)
    language c
    immutable
    parallel safe
    rows 10
    as 'MODULE_PATHNAME',
    'ab_adjust_pvalues_table_wrapper';

comment on function @extschema@.ab_adjust_pvalues_table(double precision[], text, double precision) is $$p-values adjusted for being several, a row each in the same order, with the decision at alpha. NULL stays NULL and does not count.

method: holm, bonferroni, hochberg (family-wise error), bh or by (false discovery rate).
Errors: invalid_argument (22023).

Example: SELECT ord, p_adjusted, rejected FROM ab_adjust_pvalues_table('{0.001, 0.02, 0.03, 0.04, 0.5}', 'bh');$$;
