-- Looking before the end; the mathematics is in core/src/statistics/sequential.rs and group_sequential.rs.
create or replace function @extschema@.ab_sequential(
    diff double precision,
    se double precision,
    n bigint,
    alpha double precision default 0.05,
    tuning_n double precision default 10000,
    alternative text default 'two-sided'
)
    returns table (
        ci_low double precision,
        ci_high double precision,
        p_value double precision,
        log_e double precision,
        multiplier double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_sequential_wrapper';

comment on function @extschema@.ab_sequential(double precision, double precision, bigint, double precision, double precision, text) is $$A test and interval of a difference or lift that hold however often they are looked at (mSPRT, confidence sequence), from its estimate and standard error.

n: users of both arms together. tuning_n: how many are planned; the interval is narrowest there, and it must be fixed before there is data. alternative: two-sided, greater (diff above 0) or less. log_e: ln of the e-value.
multiplier: half of the interval in standard errors. Where the numbers allow no answer the columns are NULL and note says why; burn_in: too few users yet to trust it.
Errors: invalid_argument (22023).

Example: SELECT ci_low, ci_high, p_value FROM ab_sequential(0.03, 0.01425, 2000, tuning_n => 5000);$$;

create or replace function @extschema@.ab_group_bounds(
    info double precision[],
    alpha double precision default 0.05,
    spending text default 'obf',
    phi double precision default 1,
    sides integer default 2,
    past_bounds double precision[] default '{}'
)
    returns table (
        look integer,
        info double precision,
        alpha_spent double precision,
        alpha_increment double precision,
        z_bound double precision,
        p_bound double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 5
    as 'MODULE_PATHNAME',
    'ab_group_bounds_wrapper';

comment on function @extschema@.ab_group_bounds(double precision[], double precision, text, double precision, integer, double precision[]) is $$The critical values of planned looks, a row each: stop at a look whose statistic is beyond z_bound, or whose p-value is below p_bound.

info: each look's share of the planned information, increasing, as users so far divided by users planned. spending: how alpha is used up: obf (little early), pocock (alike at each look) or power (alpha times info to the power phi). sides: 2, or 1 for one direction only.
past_bounds: the bounds that were used at the first looks, which stay as they were; needed when info turned out other than planned.
Errors: invalid_argument (22023).

Example: SELECT look, z_bound, p_bound FROM ab_group_bounds('{0.2, 0.4, 0.6, 0.8, 1}');$$;
