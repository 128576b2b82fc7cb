-- How many users an experiment needs, what it can find, how long it takes; the mathematics is in core/src/statistics/power.rs.
create or replace function @extschema@.ab_sample_size(
    baseline_mean double precision,
    sd double precision,
    mde_rel double precision,
    alpha double precision default 0.05,
    power double precision default 0.8,
    ratio double precision default 1,
    treatments integer default 1,
    rho double precision default 0
)
    returns table (
        n_control bigint,
        n_treatment bigint,
        n_total bigint,
        mde_abs double precision,
        alpha_used double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_sample_size_wrapper';

comment on function @extschema@.ab_sample_size(double precision, double precision, double precision, double precision, double precision, double precision, integer, double precision) is $$Users needed to find a relative change mde_rel of a mean with standard deviation sd by ab_ttest.

ratio: users of a treatment per user of the control. treatments: how many are compared with the control, which share alpha. rho: correlation with the
covariate of ab_cuped. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT n_control, n_total FROM ab_sample_size(20, 10, 0.025);$$;

create or replace function @extschema@.ab_sample_size_prop(
    p1 double precision,
    mde_rel double precision,
    alpha double precision default 0.05,
    power double precision default 0.8,
    ratio double precision default 1,
    treatments integer default 1,
    rho double precision default 0
)
    returns table (
        n_control bigint,
        n_treatment bigint,
        n_total bigint,
        mde_abs double precision,
        alpha_used double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_sample_size_prop_wrapper';

comment on function @extschema@.ab_sample_size_prop(double precision, double precision, double precision, double precision, double precision, integer, double precision) is $$Users needed to find a relative change mde_rel of the conversion rate p1 by ab_ztest.

ratio: users of a treatment per user of the control. treatments: how many are compared with the control, which share alpha. rho: correlation with the
covariate of ab_cuped. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT n_control, n_total FROM ab_sample_size_prop(0.10, 0.10);$$;

create or replace function @extschema@.ab_power(
    n1 bigint,
    mean1 double precision,
    sd1 double precision,
    n2 bigint,
    sd2 double precision,
    mde_abs double precision,
    alpha double precision default 0.05,
    alternative text default 'two-sided'
)
    returns table (power double precision, se double precision, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_power_wrapper';

comment on function @extschema@.ab_power(bigint, double precision, double precision, bigint, double precision, double precision, double precision, text) is $$The chance that ab_ttest finds an effect of mde_abs, in the metric's unit, with these users and standard deviations.

alternative: two-sided, greater (arm 2 is larger) or less. mean1 does not change the answer. Not for the effect that was observed: that says nothing which the
p-value did not. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT power FROM ab_power(1000, 20, 10, 1000, 10, 1);$$;

create or replace function @extschema@.ab_mde(
    n1 bigint,
    sd1 double precision,
    n2 bigint,
    sd2 double precision,
    baseline double precision,
    alpha double precision default 0.05,
    power double precision default 0.8
)
    returns table (mde_abs double precision, mde_rel double precision, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_mde_wrapper';

comment on function @extschema@.ab_mde(bigint, double precision, bigint, double precision, double precision, double precision, double precision) is $$The smallest effect that ab_ttest finds with these users and standard deviations, in the metric's unit and as a fraction of the baseline.

Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT mde_abs, mde_rel FROM ab_mde(1000, 10, 1000, 10, 20);$$;

create or replace function @extschema@.ab_runtime(
    n_total bigint,
    cumulative_users bigint[],
    traffic double precision,
    minimum_days integer default 14
)
    returns table (days integer, weeks integer, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_runtime_wrapper';

comment on function @extschema@.ab_runtime(bigint, bigint[], double precision, integer) is $$How long an experiment runs until n_total users have come, in whole weeks.

cumulative_users: the different users seen until each day of a past period. traffic: the share of them that takes part, 1 for all. Where that period is too
short the columns are NULL and note is not_reached.
Errors: invalid_argument (22023).

Example: SELECT days FROM ab_runtime(29502, '{5000, 9000, 12500, 16000, 19500, 23000, 26000, 29000, 32000}', 1);$$;
