-- The statistics as aggregates over rows, for any table; states and arithmetic are in extension/src/statistics/aggregate.rs and
-- core/src/statistics/moments.rs. An aggregate cannot answer a table, so each has a composite type with the columns of the function
-- that takes numbers instead of rows: `(aggregate(...)).*` shows them, and PostgreSQL still aggregates once.

create type @extschema@.ab_stats_row as (
    n bigint,
    mean double precision,
    variance double precision,
    mean_x double precision,
    variance_x double precision,
    covariance double precision,
    n_null bigint
);

comment on type @extschema@.ab_stats_row is 'what ab_stats, ab_stats2 and ab_moments_row answer; the columns of x are NULL where there is none';

create or replace function ab_internal.moments_add(state double precision[], y double precision)
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'moments_add';

comment on function ab_internal.moments_add(double precision[], double precision) is 'adds a row to the state of ab_moments(y)';

create or replace function ab_internal.pair_moments_add(state double precision[], y double precision, x double precision)
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'pair_moments_add';

comment on function ab_internal.pair_moments_add(double precision[], double precision, double precision) is 'adds a row to the state of ab_moments(y, x)';

create or replace function ab_internal.moments_merge(state double precision[], part double precision[])
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'moments_merge';

comment on function ab_internal.moments_merge(double precision[], double precision[]) is 'adds one state of ab_moments to another; NULL is no rows';

create or replace function @extschema@.ab_moments_row(state double precision[])
    returns @extschema@.ab_stats_row
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'moments_row';

comment on function @extschema@.ab_moments_row(double precision[]) is $$What ab_moments() or ab_moments_merge() has gathered, as columns: users, mean and sample variance (n - 1) of y, the same of x and their covariance, and how many rows had a NULL.

The mean is NULL without users, the variance with fewer than two. The columns are arguments of ab_ttest(), ab_cuped() and others.
Errors: invalid_argument (22023).

Example: SELECT n, mean, variance FROM ab_moments_row((SELECT ab_moments(g) FROM generate_series(1, 100) g));$$;

create or replace aggregate @extschema@.ab_moments(y double precision) (
    sfunc = ab_internal.moments_add,
    stype = double precision[],
    initcond = '{0,0,0,0,0}',
    combinefunc = ab_internal.moments_merge,
    parallel = safe
);

comment on aggregate @extschema@.ab_moments(double precision) is $$Users, mean and variance gathered in an array that can be stored and merged: first step of two. ab_moments_row() reads it, ab_moments_merge() adds up those of days, partitions or countries as if the rows had been aggregated at once.

One row per user. {n, mean, sum of squares about the mean, what the mean leaves off in rounding, n_null}. NULLs are left out and counted last.
Errors: invalid_argument (22023) for NaN, infinity and what cannot be squared.

Example: SELECT g % 2 AS variant, ab_moments(g) FROM generate_series(1, 100) g GROUP BY 1;$$;

create or replace aggregate @extschema@.ab_moments(y double precision, x double precision) (
    sfunc = ab_internal.pair_moments_add,
    stype = double precision[],
    initcond = '{0,0,0,0,0,0,0,0,0}',
    combinefunc = ab_internal.moments_merge,
    parallel = safe
);

comment on aggregate @extschema@.ab_moments(double precision, double precision) is $$As ab_moments(y), with x and the covariance: for ab_cuped(), where x is what is known of the user from before, and for ab_ratio_test(), where it is the denominator.

One row per user. {n, mean, sum of squares about it and rounding of y, the last three of x, sum of products, n_null}. Rows with a NULL in y or x are left out and counted last.
Errors: invalid_argument (22023) for NaN, infinity and what cannot be squared.

Example: SELECT g % 2 AS variant, ab_moments(g * 3, g) FROM generate_series(1, 100) g GROUP BY 1;$$;

create or replace aggregate @extschema@.ab_moments_merge(state double precision[]) (
    sfunc = ab_internal.moments_merge,
    stype = double precision[],
    combinefunc = ab_internal.moments_merge,
    parallel = safe
);

comment on aggregate @extschema@.ab_moments_merge(double precision[]) is $$Adds up what ab_moments() has gathered in parts: second step of two. NULLs are left out; without any states the answer is NULL.

Errors: invalid_argument (22023), also for states of one value among states of two.

Example: SELECT ab_moments_merge(day) FROM (SELECT ab_moments(g) AS day FROM generate_series(1, 100) g GROUP BY g % 7) d;$$;

create or replace aggregate @extschema@.ab_stats(y double precision) (
    sfunc = ab_internal.moments_add,
    stype = double precision[],
    initcond = '{0,0,0,0,0}',
    combinefunc = ab_internal.moments_merge,
    finalfunc = @extschema@.ab_moments_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_stats(double precision) is $$Users, mean and sample variance (n - 1) of y: ab_moments() and ab_moments_row() in one.

NULLs are left out and counted in n_null. The columns of x are NULL.
Errors: invalid_argument (22023) for NaN, infinity and what cannot be squared.

Example: SELECT variant, (s).n, (s).mean, (s).variance FROM (SELECT g % 2 AS variant, ab_stats(g) AS s FROM generate_series(1, 100) g GROUP BY 1) v;$$;

create or replace aggregate @extschema@.ab_stats2(y double precision, x double precision) (
    sfunc = ab_internal.pair_moments_add,
    stype = double precision[],
    initcond = '{0,0,0,0,0,0,0,0,0}',
    combinefunc = ab_internal.moments_merge,
    finalfunc = @extschema@.ab_moments_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_stats2(double precision, double precision) is $$Users, means, sample variances (n - 1) and covariance of y and x: ab_moments() and ab_moments_row() in one.

Rows with a NULL in y or x are left out and counted in n_null.
Errors: invalid_argument (22023) for NaN, infinity and what cannot be squared.

Example: SELECT (ab_stats2(g * 3, g)).* FROM generate_series(1, 100) g;$$;

create type @extschema@.ab_ttest_row as (
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
    n_null bigint,
    method text,
    note text
);

comment on type @extschema@.ab_ttest_row is 'what ab_ttest_agg answers: the columns of ab_ttest, and how many rows had no value';

create or replace function ab_internal.ttest_add(state double precision[], value double precision, is_treatment boolean)
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ttest_add';

comment on function ab_internal.ttest_add(double precision[], double precision, boolean) is 'adds a row to the state of ab_ttest_agg';

create or replace function ab_internal.ttest_add(state double precision[], value double precision, is_treatment boolean, alpha double precision)
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ttest_add';

comment on function ab_internal.ttest_add(double precision[], double precision, boolean, double precision) is 'adds a row to the state of ab_ttest_agg';

create or replace function ab_internal.ttest_merge(state double precision[], part double precision[])
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ttest_merge';

comment on function ab_internal.ttest_merge(double precision[], double precision[]) is 'adds one state of ab_ttest_agg to another';

create or replace function ab_internal.ttest_row(state double precision[])
    returns @extschema@.ab_ttest_row
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ttest_row';

comment on function ab_internal.ttest_row(double precision[]) is 'the answer of ab_ttest_agg';

create or replace aggregate @extschema@.ab_ttest_agg(value double precision, is_treatment boolean) (
    sfunc = ab_internal.ttest_add,
    stype = double precision[],
    initcond = '{0,0,0,0,0,0,0,0,0,0}',
    combinefunc = ab_internal.ttest_merge,
    finalfunc = ab_internal.ttest_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_ttest_agg(double precision, boolean) is $$ab_ttest() over rows, one per user: Welch's t test of the treatment against the control.

Rows without an arm are left out, and so are rows without a value, which n_null counts. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_ttest_agg(g, g % 2 = 0)).* FROM generate_series(1, 100) g;$$;

create or replace aggregate @extschema@.ab_ttest_agg(value double precision, is_treatment boolean, alpha double precision) (
    sfunc = ab_internal.ttest_add,
    stype = double precision[],
    initcond = '{0,0,0,0,0,0,0,0,0,0}',
    combinefunc = ab_internal.ttest_merge,
    finalfunc = ab_internal.ttest_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_ttest_agg(double precision, boolean, double precision) is $$ab_ttest() over rows, one per user: Welch's t test of the treatment against the control.

alpha: 0.05 without it; it must be the same in every row. Rows without an arm are left out, and so are rows without a value, which n_null counts. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_ttest_agg(g, g % 2 = 0, 0.1)).* FROM generate_series(1, 100) g;$$;

create type @extschema@.ab_ztest_row as (
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
    n_null bigint,
    method text,
    note text
);

comment on type @extschema@.ab_ztest_row is 'what ab_ztest_agg answers: the columns of ab_ztest, and how many rows had no value';

create or replace function ab_internal.ztest_add(state double precision[], converted boolean, is_treatment boolean)
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ztest_add';

comment on function ab_internal.ztest_add(double precision[], boolean, boolean) is 'adds a row to the state of ab_ztest_agg';

create or replace function ab_internal.ztest_remove(state double precision[], converted boolean, is_treatment boolean)
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ztest_remove';

comment on function ab_internal.ztest_remove(double precision[], boolean, boolean) is 'takes a row that has left the window out of the state of ab_ztest_agg';

create or replace function ab_internal.ztest_add(state double precision[], converted boolean, is_treatment boolean, alpha double precision)
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ztest_add';

comment on function ab_internal.ztest_add(double precision[], boolean, boolean, double precision) is 'adds a row to the state of ab_ztest_agg';

create or replace function ab_internal.ztest_remove(state double precision[], converted boolean, is_treatment boolean, alpha double precision)
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ztest_remove';

comment on function ab_internal.ztest_remove(double precision[], boolean, boolean, double precision) is 'takes a row that has left the window out of the state of ab_ztest_agg';

create or replace function ab_internal.ztest_merge(state double precision[], part double precision[])
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ztest_merge';

comment on function ab_internal.ztest_merge(double precision[], double precision[]) is 'adds one state of ab_ztest_agg to another';

create or replace function ab_internal.ztest_row(state double precision[])
    returns @extschema@.ab_ztest_row
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ztest_row';

comment on function ab_internal.ztest_row(double precision[]) is 'the answer of ab_ztest_agg';

create or replace aggregate @extschema@.ab_ztest_agg(converted boolean, is_treatment boolean) (
    sfunc = ab_internal.ztest_add,
    stype = double precision[],
    initcond = '{0,0,0,0,0,0}',
    combinefunc = ab_internal.ztest_merge,
    finalfunc = ab_internal.ztest_row,
    msfunc = ab_internal.ztest_add,
    minvfunc = ab_internal.ztest_remove,
    mstype = double precision[],
    minitcond = '{0,0,0,0,0,0}',
    mfinalfunc = ab_internal.ztest_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_ztest_agg(boolean, boolean) is $$ab_ztest() over rows, one per user: pooled two-proportion z-test of the treatment against the control, with Newcombe's interval.

Rows without an arm are left out, and so are rows without a value, which n_null counts. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_ztest_agg(g % 3 = 0, g % 2 = 0)).* FROM generate_series(1, 100) g;$$;

create or replace aggregate @extschema@.ab_ztest_agg(converted boolean, is_treatment boolean, alpha double precision) (
    sfunc = ab_internal.ztest_add,
    stype = double precision[],
    initcond = '{0,0,0,0,0,0}',
    combinefunc = ab_internal.ztest_merge,
    finalfunc = ab_internal.ztest_row,
    msfunc = ab_internal.ztest_add,
    minvfunc = ab_internal.ztest_remove,
    mstype = double precision[],
    minitcond = '{0,0,0,0,0,0}',
    mfinalfunc = ab_internal.ztest_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_ztest_agg(boolean, boolean, double precision) is $$ab_ztest() over rows, one per user: pooled two-proportion z-test of the treatment against the control, with Newcombe's interval.

alpha: 0.05 without it; it must be the same in every row. Rows without an arm are left out, and so are rows without a value, which n_null counts. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_ztest_agg(g % 3 = 0, g % 2 = 0, 0.1)).* FROM generate_series(1, 100) g;$$;

create type @extschema@.ab_cuped_row as (
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
    n_null bigint,
    method text,
    note text
);

comment on type @extschema@.ab_cuped_row is 'what ab_cuped_agg answers: the columns of ab_cuped, and how many rows had no value';

create or replace function ab_internal.cuped_add(state double precision[], y double precision, x double precision, is_treatment boolean)
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'cuped_add';

comment on function ab_internal.cuped_add(double precision[], double precision, double precision, boolean) is 'adds a row to the state of ab_cuped_agg';

create or replace function ab_internal.cuped_add(state double precision[], y double precision, x double precision, is_treatment boolean, alpha double precision)
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'cuped_add';

comment on function ab_internal.cuped_add(double precision[], double precision, double precision, boolean, double precision) is 'adds a row to the state of ab_cuped_agg';

create or replace function ab_internal.cuped_merge(state double precision[], part double precision[])
    returns double precision[]
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'cuped_merge';

comment on function ab_internal.cuped_merge(double precision[], double precision[]) is 'adds one state of ab_cuped_agg to another';

create or replace function ab_internal.cuped_row(state double precision[])
    returns @extschema@.ab_cuped_row
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'cuped_row';

comment on function ab_internal.cuped_row(double precision[]) is 'the answer of ab_cuped_agg';

create or replace aggregate @extschema@.ab_cuped_agg(y double precision, x double precision, is_treatment boolean) (
    sfunc = ab_internal.cuped_add,
    stype = double precision[],
    initcond = '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}',
    combinefunc = ab_internal.cuped_merge,
    finalfunc = ab_internal.cuped_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_cuped_agg(double precision, double precision, boolean) is $$ab_cuped() over rows, one per user: Welch's t test of the treatment against the control after adjusting y for x, what is known of the user from before the experiment. A user without an x is left out: give new users 0.

Rows without an arm are left out, and so are rows without a value, which n_null counts. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_cuped_agg(g + g % 3, g, g % 2 = 0)).* FROM generate_series(1, 100) g;$$;

create or replace aggregate @extschema@.ab_cuped_agg(y double precision, x double precision, is_treatment boolean, alpha double precision) (
    sfunc = ab_internal.cuped_add,
    stype = double precision[],
    initcond = '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}',
    combinefunc = ab_internal.cuped_merge,
    finalfunc = ab_internal.cuped_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_cuped_agg(double precision, double precision, boolean, double precision) is $$ab_cuped() over rows, one per user: Welch's t test of the treatment against the control after adjusting y for x, what is known of the user from before the experiment. A user without an x is left out: give new users 0.

alpha: 0.05 without it; it must be the same in every row. Rows without an arm are left out, and so are rows without a value, which n_null counts. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_cuped_agg(g + g % 3, g, g % 2 = 0, 0.1)).* FROM generate_series(1, 100) g;$$;

create type @extschema@.ab_srm_row as (
    statistic double precision,
    df integer,
    p_value double precision,
    mismatch boolean,
    n_null bigint,
    method text,
    note text
);

comment on type @extschema@.ab_srm_row is 'what ab_srm_agg answers: the columns of ab_srm, and how many rows had no weight';

create or replace function ab_internal.srm_add(state internal, arm text, weight double precision)
    returns internal
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'srm_add';

comment on function ab_internal.srm_add(internal, text, double precision) is 'adds a row to the state of ab_srm_agg';

create or replace function ab_internal.srm_add(state internal, arm bigint, weight double precision)
    returns internal
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'srm_add_number';

comment on function ab_internal.srm_add(internal, bigint, double precision) is 'adds a row to the state of ab_srm_agg';

create or replace function ab_internal.srm_merge(state internal, part internal)
    returns internal
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'srm_merge';

comment on function ab_internal.srm_merge(internal, internal) is 'adds another part of the rows';

create or replace function ab_internal.srm_to_bytes(state internal)
    returns bytea
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'srm_to_bytes';

comment on function ab_internal.srm_to_bytes(internal) is 'what a parallel worker hands over';

create or replace function ab_internal.srm_from_bytes(bytes bytea, state internal)
    returns internal
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'srm_from_bytes';

comment on function ab_internal.srm_from_bytes(bytea, internal) is 'what a parallel worker has handed over';

create or replace function ab_internal.srm_row(state internal)
    returns @extschema@.ab_srm_row
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'srm_row';

comment on function ab_internal.srm_row(internal) is 'the answer of ab_srm_agg';

create or replace aggregate @extschema@.ab_srm_agg(arm text, weight double precision) (
    sfunc = ab_internal.srm_add,
    stype = internal,
    combinefunc = ab_internal.srm_merge,
    serialfunc = ab_internal.srm_to_bytes,
    deserialfunc = ab_internal.srm_from_bytes,
    finalfunc = ab_internal.srm_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_srm_agg(text, double precision) is $$ab_srm() over rows, one per user: whether the arms have the users that their weights say. For arms by name.

weight: of the row's arm, on any scale, the same in each of its rows. An arm without a single row is not seen: for that there is ab_srm(). Rows without an arm are left out, and so are rows without a weight, which n_null counts. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_srm_agg(CASE WHEN g % 2 = 0 THEN 'control' ELSE 'treatment' END, 0.5)).* FROM generate_series(1, 100) g;$$;

create or replace aggregate @extschema@.ab_srm_agg(arm bigint, weight double precision) (
    sfunc = ab_internal.srm_add,
    stype = internal,
    combinefunc = ab_internal.srm_merge,
    serialfunc = ab_internal.srm_to_bytes,
    deserialfunc = ab_internal.srm_from_bytes,
    finalfunc = ab_internal.srm_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_srm_agg(bigint, double precision) is $$ab_srm() over rows, one per user: whether the arms have the users that their weights say. For arms by number.

weight: of the row's arm, on any scale, the same in each of its rows. An arm without a single row is not seen: for that there is ab_srm(). Rows without an arm are left out, and so are rows without a weight, which n_null counts. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_srm_agg(g % 2, 0.5)).* FROM generate_series(1, 100) g;$$;

create or replace function ab_internal.values_merge(state internal, part internal)
    returns internal
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'values_merge';

comment on function ab_internal.values_merge(internal, internal) is 'adds another part of the rows';

create or replace function ab_internal.values_to_bytes(state internal)
    returns bytea
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'values_to_bytes';

comment on function ab_internal.values_to_bytes(internal) is 'what a parallel worker hands over';

create or replace function ab_internal.values_from_bytes(bytes bytea, state internal)
    returns internal
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'values_from_bytes';

comment on function ab_internal.values_from_bytes(bytea, internal) is 'what a parallel worker has handed over';

create type @extschema@.ab_mannwhitney_row as (
    u double precision,
    z double precision,
    p_value double precision,
    prob_superiority double precision,
    n_null bigint,
    method text,
    note text
);

comment on type @extschema@.ab_mannwhitney_row is 'what ab_mannwhitney_agg answers: the columns of ab_mannwhitney, and how many rows had no value';

create or replace function ab_internal.mannwhitney_add(state internal, value double precision, arm integer)
    returns internal
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'mannwhitney_add';

comment on function ab_internal.mannwhitney_add(internal, double precision, integer) is 'adds a row to the state of ab_mannwhitney_agg';

create or replace function ab_internal.mannwhitney_row(state internal)
    returns @extschema@.ab_mannwhitney_row
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'mannwhitney_row';

comment on function ab_internal.mannwhitney_row(internal) is 'the answer of ab_mannwhitney_agg';

create or replace aggregate @extschema@.ab_mannwhitney_agg(value double precision, arm integer) (
    sfunc = ab_internal.mannwhitney_add,
    stype = internal,
    combinefunc = ab_internal.values_merge,
    serialfunc = ab_internal.values_to_bytes,
    deserialfunc = ab_internal.values_from_bytes,
    finalfunc = ab_internal.mannwhitney_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_mannwhitney_agg(double precision, integer) is $$ab_mannwhitney() over rows, one per user: arm is 1 for the control and 2 for the treatment. It is no test of means.

It keeps every value in memory, eight bytes each. Rows without an arm are left out, and so are rows without a value, which n_null counts. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_mannwhitney_agg(g, 1 + g % 2)).* FROM generate_series(1, 100) g;$$;

create type @extschema@.ab_quantile_row as (
    estimate double precision,
    ci_low double precision,
    ci_high double precision,
    se double precision,
    n_null bigint,
    method text,
    note text
);

comment on type @extschema@.ab_quantile_row is 'what ab_quantile answers over rows: the columns of ab_quantile_ci, and how many rows had no value';

create or replace function ab_internal.quantile_add(state internal, value double precision, q double precision)
    returns internal
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'quantile_add';

comment on function ab_internal.quantile_add(internal, double precision, double precision) is 'adds a row to the state of ab_quantile';

create or replace function ab_internal.quantile_add(state internal, value double precision, q double precision, alpha double precision)
    returns internal
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'quantile_add';

comment on function ab_internal.quantile_add(internal, double precision, double precision, double precision) is 'adds a row to the state of ab_quantile';

create or replace function ab_internal.quantile_row(state internal)
    returns @extschema@.ab_quantile_row
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'quantile_row';

comment on function ab_internal.quantile_row(internal) is 'the answer of ab_quantile';

create or replace aggregate @extschema@.ab_quantile(value double precision, q double precision) (
    sfunc = ab_internal.quantile_add,
    stype = internal,
    combinefunc = ab_internal.values_merge,
    serialfunc = ab_internal.values_to_bytes,
    deserialfunc = ab_internal.values_from_bytes,
    finalfunc = ab_internal.quantile_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_quantile(double precision, double precision) is $$The quantile q (0.5 is the median) of the values of rows, interpolated as by percentile_cont, with its interval between order statistics.

It keeps every value in memory, eight bytes each; ab_quantile_sketch() does with a few kilobytes. q must be the same in every row. NULLs are left out and counted in n_null. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_quantile(g, 0.9)).* FROM generate_series(1, 100) g;$$;

create or replace aggregate @extschema@.ab_quantile(value double precision, q double precision, alpha double precision) (
    sfunc = ab_internal.quantile_add,
    stype = internal,
    combinefunc = ab_internal.values_merge,
    serialfunc = ab_internal.values_to_bytes,
    deserialfunc = ab_internal.values_from_bytes,
    finalfunc = ab_internal.quantile_row,
    parallel = safe
);

comment on aggregate @extschema@.ab_quantile(double precision, double precision, double precision) is $$The quantile q (0.5 is the median) of the values of rows, interpolated as by percentile_cont, with its interval between order statistics.

It keeps every value in memory, eight bytes each; ab_quantile_sketch() does with a few kilobytes. q and alpha must be the same in every row. NULLs are left out and counted in n_null. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT (ab_quantile(g, 0.9, 0.1)).* FROM generate_series(1, 100) g;$$;

create or replace function ab_internal.sketch_merge(state internal, part internal)
    returns internal
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'sketch_merge';

comment on function ab_internal.sketch_merge(internal, internal) is 'adds another part of the rows';

create or replace function ab_internal.sketch_to_bytes(state internal)
    returns bytea
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'sketch_to_bytes';

comment on function ab_internal.sketch_to_bytes(internal) is 'what a parallel worker hands over';

create or replace function ab_internal.sketch_from_bytes(bytes bytea, state internal)
    returns internal
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'sketch_from_bytes';

comment on function ab_internal.sketch_from_bytes(bytea, internal) is 'what a parallel worker has handed over';

create or replace function ab_internal.sketch_add(state internal, value double precision)
    returns internal
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'sketch_add';

comment on function ab_internal.sketch_add(internal, double precision) is 'adds a row to the state of ab_quantile_sketch';

create or replace function ab_internal.sketch_add_stored(state internal, sketch bytea)
    returns internal
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'sketch_add_stored';

comment on function ab_internal.sketch_add_stored(internal, bytea) is 'adds a stored sketch to the state of ab_quantile_sketch_merge';

create or replace function ab_internal.sketch_stored(state internal)
    returns bytea
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'sketch_stored';

comment on function ab_internal.sketch_stored(internal) is 'the sketch as it is stored';

create or replace aggregate @extschema@.ab_quantile_sketch(value double precision) (
    sfunc = ab_internal.sketch_add,
    stype = internal,
    sspace = 4096,
    combinefunc = ab_internal.sketch_merge,
    serialfunc = ab_internal.sketch_to_bytes,
    deserialfunc = ab_internal.sketch_from_bytes,
    finalfunc = ab_internal.sketch_stored,
    parallel = safe
);

comment on aggregate @extschema@.ab_quantile_sketch(double precision) is $$The values of rows in a sketch of at most some ten kilobytes that can be stored, merged by ab_quantile_sketch_merge(), and asked for any quantile by ab_quantile(): a DDSketch.

A quantile is within 1 % of the value that has its rank, as long as values are no more than 17 powers of ten smaller than the largest; what is within 1e-9 of zero counts as zero. Merging in whatever order changes no quantile. NULLs are left out.
Errors: invalid_argument (22023).

Example: SELECT g % 2 AS variant, length(ab_quantile_sketch(g)) FROM generate_series(1, 100) g GROUP BY 1;$$;

create or replace aggregate @extschema@.ab_quantile_sketch_merge(sketch bytea) (
    sfunc = ab_internal.sketch_add_stored,
    stype = internal,
    sspace = 4096,
    combinefunc = ab_internal.sketch_merge,
    serialfunc = ab_internal.sketch_to_bytes,
    deserialfunc = ab_internal.sketch_from_bytes,
    finalfunc = ab_internal.sketch_stored,
    parallel = safe
);

comment on aggregate @extschema@.ab_quantile_sketch_merge(bytea) is $$One sketch of what ab_quantile_sketch() has gathered in parts: of partitions, of days, of countries. NULLs are left out.

Errors: invalid_argument (22023).

Example: SELECT length(ab_quantile_sketch_merge(day)) FROM (SELECT ab_quantile_sketch(g) AS day FROM generate_series(1, 100) g GROUP BY g % 7) d;$$;

create or replace function @extschema@.ab_quantile(sketch bytea, q double precision, alpha double precision default 0.05)
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
    'ab_quantile_wrapper';

comment on function @extschema@.ab_quantile(bytea, double precision, double precision) is $$The quantile q (0.5 is the median) from what ab_quantile_sketch() or ab_quantile_sketch_merge() has gathered, within 1 % of the value that has this rank, with its interval between order statistics.

The bounds are moved outwards by that 1 %, and se with them. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT estimate, ci_low, ci_high FROM ab_quantile((SELECT ab_quantile_sketch(g) FROM generate_series(1, 100) g), 0.9);$$;
