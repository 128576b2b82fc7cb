-- Statistics as pure functions of sufficient statistics; the mathematics is in core/src/statistics.
create or replace function ab_internal.interval_of(kind text, units bigint, conversions bigint, mean double precision, variance double precision)
    returns table (ci_low double precision, ci_high double precision)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'interval_of_wrapper';

comment on function ab_internal.interval_of(text, bigint, bigint, double precision, double precision) is '95 % interval of an arm''s own mean: Wilson for conversions, t for the rest';

create or replace function ab_internal.compare_to_control(
    kind text,
    control_units bigint,
    control_conversions bigint,
    control_mean double precision,
    control_variance double precision,
    units bigint,
    conversions bigint,
    mean double precision,
    variance double precision
)
    returns table (
        diff double precision,
        diff_low double precision,
        diff_high double precision,
        lift double precision,
        lift_low double precision,
        lift_high double precision,
        p_value double precision,
        significant boolean,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'compare_to_control_wrapper';

comment on function ab_internal.compare_to_control(text, bigint, bigint, double precision, double precision, bigint, bigint, double precision, double precision) is 'an arm against control at alpha 0.05: pooled z-test and Newcombe interval for conversions, Welch''s t for the rest, lift by Fieller';

create or replace function @extschema@.ab_ttest(
    n1 bigint,
    mean1 double precision,
    var1 double precision,
    n2 bigint,
    mean2 double precision,
    var2 double precision,
    alpha double precision default 0.05,
    alternative text default 'two-sided'
)
    returns table (
        diff double precision,
        se double precision,
        statistic double precision,
        df double precision,
        p_value double precision,
        ci_low double precision,
        ci_high double precision,
        lift double precision,
        lift_low double precision,
        lift_high double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_ttest_wrapper';

comment on function @extschema@.ab_ttest(bigint, double precision, double precision, bigint, double precision, double precision, double precision, text) is $$Welch's t test of arm 2 (treatment) against arm 1 (control), from users, means and sample variances (n - 1); lift by Fieller.

alternative: two-sided, greater (arm 2 is larger) or less. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT diff, p_value FROM ab_ttest(1000, 10, 25, 1100, 10.5, 30);$$;

create or replace function @extschema@.ab_ztest(
    n1 bigint,
    x1 bigint,
    n2 bigint,
    x2 bigint,
    alpha double precision default 0.05,
    alternative text default 'two-sided'
)
    returns table (
        p1 double precision,
        p2 double precision,
        diff double precision,
        statistic double precision,
        p_value double precision,
        ci_low double precision,
        ci_high double precision,
        lift double precision,
        lift_low double precision,
        lift_high double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_ztest_wrapper';

comment on function @extschema@.ab_ztest(bigint, bigint, bigint, bigint, double precision, text) is $$Pooled two-proportion z-test of arm 2 (treatment) against arm 1 (control), from users and converted users; Newcombe interval of the difference, lift by Fieller.

alternative: two-sided, greater (arm 2 is larger) or less. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT lift, p_value FROM ab_ztest(1000, 100, 1000, 130);$$;

create or replace function @extschema@.ab_proportion_ci(x bigint, n bigint, alpha double precision default 0.05)
    returns table (estimate double precision, ci_low double precision, ci_high double precision, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_proportion_ci_wrapper';

comment on function @extschema@.ab_proportion_ci(bigint, bigint, double precision) is $$The share x of n with its Wilson interval.

Errors: invalid_argument (22023).

Example: SELECT ci_low, ci_high FROM ab_proportion_ci(100, 1000);$$;

create or replace function @extschema@.ab_mean_ci(n bigint, mean double precision, var double precision, alpha double precision default 0.05)
    returns table (estimate double precision, ci_low double precision, ci_high double precision, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_mean_ci_wrapper';

comment on function @extschema@.ab_mean_ci(bigint, double precision, double precision, double precision) is $$A mean with its t interval, from users, mean and sample variance (n - 1).

Errors: invalid_argument (22023).

Example: SELECT ci_low, ci_high FROM ab_mean_ci(1000, 10, 25);$$;
