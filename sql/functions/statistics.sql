-- Statistics as pure functions of sufficient statistics; the mathematics is in core/src/statistics.
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
    alternative text default 'two-sided',
    ci_method text default 'newcombe'
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

comment on function @extschema@.ab_ztest(bigint, bigint, bigint, bigint, double precision, text, text) is $$Pooled two-proportion z-test of arm 2 (treatment) against arm 1 (control), from users and converted users; lift by Fieller.

alternative: two-sided, greater (arm 2 is larger) or less. ci_method: newcombe or wald, for the interval of the difference. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT lift, p_value FROM ab_ztest(1000, 100, 1000, 130);$$;

create or replace function @extschema@.ab_proportion_ci(
    x bigint,
    n bigint,
    alpha double precision default 0.05,
    method text default 'wilson'
)
    returns table (estimate double precision, ci_low double precision, ci_high double precision, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_proportion_ci_wrapper';

comment on function @extschema@.ab_proportion_ci(bigint, bigint, double precision, text) is $$The share x of n with its interval.

method: wilson, exact (Clopper and Pearson), jeffreys or agresti_coull. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT ci_low, ci_high FROM ab_proportion_ci(100, 1000);$$;

create or replace function @extschema@.ab_mean_ci(
    n bigint,
    mean double precision,
    var double precision,
    alpha double precision default 0.05
)
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

create or replace function @extschema@.ab_lift_ci(
    n1 bigint,
    mean1 double precision,
    var1 double precision,
    n2 bigint,
    mean2 double precision,
    var2 double precision,
    alpha double precision default 0.05,
    method text default 'fieller'
)
    returns table (lift double precision, lift_low double precision, lift_high double precision, g double precision, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_lift_ci_wrapper';

comment on function @extschema@.ab_lift_ci(bigint, double precision, double precision, bigint, double precision, double precision, double precision, text) is $$The relative lift of arm 2 (treatment) over arm 1 (control) with its interval, from users, means and sample variances (n - 1).

method: fieller (agrees with the test of the difference), delta, or log for positive means. g is Fieller's: from 1 on the control cannot be told from zero,
above 0.05 or so only fieller is to be trusted. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT lift, lift_low, lift_high FROM ab_lift_ci(1000, 10, 25, 1100, 10.5, 30);$$;

create or replace function @extschema@.ab_ratio_test(
    n1 bigint,
    my1 double precision,
    vy1 double precision,
    mz1 double precision,
    vz1 double precision,
    cyz1 double precision,
    n2 bigint,
    my2 double precision,
    vy2 double precision,
    mz2 double precision,
    vz2 double precision,
    cyz2 double precision,
    alpha double precision default 0.05
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
        ratio1 double precision,
        ratio2 double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_ratio_test_wrapper';

comment on function @extschema@.ab_ratio_test(bigint, double precision, double precision, double precision, double precision, double precision, bigint, double precision, double precision, double precision, double precision, double precision, double precision) is $$Compares a ratio of sums, as revenue per order, of arm 2 (treatment) with that of arm 1 (control): Welch's t test on the linearised ratios.

Of each arm: users, mean and sample variance (n - 1) of the numerator y and of the denominator z per user, and their covariance.
Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT ratio1, ratio2, p_value FROM ab_ratio_test(1000, 20, 400, 2, 4, 30, 1100, 21, 410, 2, 4, 30);$$;

create or replace function @extschema@.ab_cuped(
    n1 bigint,
    my1 double precision,
    vy1 double precision,
    mx1 double precision,
    vx1 double precision,
    cxy1 double precision,
    n2 bigint,
    my2 double precision,
    vy2 double precision,
    mx2 double precision,
    vx2 double precision,
    cxy2 double precision,
    alpha double precision default 0.05,
    theta double precision default null
)
    returns table (
        theta double precision,
        rho double precision,
        variance_reduction double precision,
        adj_mean1 double precision,
        adj_mean2 double precision,
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
        raw_diff double precision,
        raw_se double precision,
        raw_p_value double precision,
        cov_balance_p double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_cuped_wrapper';

comment on function @extschema@.ab_cuped(bigint, double precision, double precision, double precision, double precision, double precision, bigint, double precision, double precision, double precision, double precision, double precision, double precision, double precision) is $$Welch's t test of arm 2 (treatment) against arm 1 (control) after CUPED: y adjusted for x, what is known of the user from before the experiment.

Of each arm: users, mean and sample variance (n - 1) of y and of x per user, and their covariance. theta: NULL for that of the two arms; with more, that of
ab_cuped_theta. The lift is relative to the control's unadjusted mean. cov_balance_p below 0.001 says that x differs between the arms, which it must not.
Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT diff, p_value, raw_p_value FROM ab_cuped(1000, 10, 25, 9, 25, 20, 1100, 10.5, 30, 9.1, 26, 21);$$;

create or replace function @extschema@.ab_cuped_theta(n bigint[], vx double precision[], cxy double precision[])
    returns double precision
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ab_cuped_theta_wrapper';

comment on function @extschema@.ab_cuped_theta(bigint[], double precision[], double precision[]) is $$The coefficient of the covariate pooled over any number of arms, from users, sample variances of x and covariances of x and y: theta of ab_cuped.

NULL where an argument is NULL or x does not vary.
Errors: invalid_argument (22023).

Example: SELECT ab_cuped_theta('{1000, 1100, 900}', '{25, 26, 25}', '{20, 21, 20}');$$;

create or replace function @extschema@.ab_poststratify(
    n1 bigint[],
    mean1 double precision[],
    var1 double precision[],
    n2 bigint[],
    mean2 double precision[],
    var2 double precision[],
    alpha double precision default 0.05
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
    'ab_poststratify_wrapper';

comment on function @extschema@.ab_poststratify(bigint[], double precision[], double precision[], bigint[], double precision[], double precision[], double precision) is $$Compares arm 2 (treatment) with arm 1 (control) over strata, from an array each of users, means and sample variances (n - 1) with the strata in the same order.

Strata weigh by their users of both arms. Those with fewer than two users in an arm are merged (note strata_merged). Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT diff, p_value FROM ab_poststratify('{500, 500}', '{10, 20}', '{25, 30}', '{450, 550}', '{10.5, 20.5}', '{25, 30}');$$;

create or replace function @extschema@.ab_chi2(counts bigint[], conversions bigint[], yates boolean default false)
    returns table (statistic double precision, df integer, p_value double precision, min_expected double precision, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_chi2_wrapper';

comment on function @extschema@.ab_chi2(bigint[], bigint[], boolean) is $$Pearson's chi-square test whether all arms convert alike, from users and converted users of each. It does not say which arm differs.

yates: continuity correction, for two arms only. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT statistic, p_value FROM ab_chi2('{1000, 1000, 1000}', '{100, 130, 110}');$$;

create or replace function @extschema@.ab_fisher(n1 bigint, x1 bigint, n2 bigint, x2 bigint, alternative text default 'two-sided')
    returns table (odds_ratio double precision, p_value double precision, method text, note text)
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_fisher_wrapper';

comment on function @extschema@.ab_fisher(bigint, bigint, bigint, bigint, text) is $$Fisher's exact test of arm 2 (treatment) against arm 1 (control), from users and converted users: for counts too small for ab_ztest.

alternative: two-sided, greater (arm 2 is larger) or less. odds_ratio is that of the sample, below 1 where arm 2 has the greater odds.
Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT p_value FROM ab_fisher(10, 1, 14, 11);$$;

create or replace function @extschema@.ab_mannwhitney(x double precision[], y double precision[])
    returns table (
        u double precision,
        z double precision,
        p_value double precision,
        prob_superiority double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_mannwhitney_wrapper';

comment on function @extschema@.ab_mannwhitney(double precision[], double precision[]) is $$Mann-Whitney test of the users' own values: x of arm 1 (control), y of arm 2 (treatment). It is no test of means.

prob_superiority: the chance that a user of arm 2 has a greater value than one of arm 1, ties counted half. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT p_value, prob_superiority FROM ab_mannwhitney('{1, 2, 2, 3, 9}', '{2, 4, 5, 6, 7, 8}');$$;

create or replace function @extschema@.ab_quantile_ci("values" double precision[], q double precision, alpha double precision default 0.05)
    returns table (
        estimate double precision,
        ci_low double precision,
        ci_high double precision,
        se double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'ab_quantile_ci_wrapper';

comment on function @extschema@.ab_quantile_ci(double precision[], double precision, double precision) is $$The quantile q (0.5 is the median) of values in ascending order, interpolated as by percentile_cont, with its interval between order statistics.

Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT estimate, ci_low, ci_high FROM ab_quantile_ci((SELECT array_agg(g::float8 ORDER BY g) FROM generate_series(1, 100) g), 0.5);$$;
