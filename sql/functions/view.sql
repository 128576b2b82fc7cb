-- What views and the functions beside them share. Bodies are parsed here and now (begin atomic): who may read a view need not
-- be allowed to look into schema ab_internal.
create or replace function ab_internal.metric_results(
    kind text,
    analysis jsonb,
    lower_is_better boolean,
    margin double precision,
    z_bound double precision,
    is_over boolean,
    units bigint[],
    conversions bigint[],
    mean double precision[],
    variance double precision[],
    covariate_mean double precision[],
    covariate_variance double precision[],
    covariance double precision[]
)
    returns table (
        arm integer,
        ci_low double precision,
        ci_high double precision,
        diff double precision,
        se double precision,
        statistic double precision,
        df double precision,
        diff_low double precision,
        diff_high double precision,
        lift double precision,
        lift_low double precision,
        lift_high double precision,
        p_value double precision,
        sequential_p_value double precision,
        sequential_low double precision,
        sequential_high double precision,
        chance_to_win double precision,
        expected_loss double precision,
        cuped_diff double precision,
        cuped_low double precision,
        cuped_high double precision,
        cuped_lift double precision,
        cuped_lift_low double precision,
        cuped_lift_high double precision,
        cuped_p_value double precision,
        variance_reduction double precision,
        covariate_balance_p_value double precision,
        guardrail text,
        decisive_p_value double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 2
    as 'MODULE_PATHNAME',
    'metric_results_wrapper';

comment on function ab_internal.metric_results(text, jsonb, boolean, double precision, double precision, boolean, bigint[], bigint[], double precision[], double precision[], double precision[], double precision[], double precision[]) is 'what core/src/statistics/comparison.rs finds in the arms of a metric, the control first; decisive_p_value is the one that decides in the mode of analysis';

create or replace function ab_internal.compare_arms(kind text, arms ab_internal.arm[], analysis jsonb, lower_is_better boolean, margin double precision, z_bound double precision, is_over boolean)
    returns table (
        variant_id integer,
        variant text,
        is_control boolean,
        units bigint,
        conversions bigint,
        total numeric,
        mean double precision,
        variance double precision,
        ci_low double precision,
        ci_high double precision,
        diff double precision,
        se double precision,
        statistic double precision,
        df double precision,
        diff_low double precision,
        diff_high double precision,
        lift double precision,
        lift_low double precision,
        lift_high double precision,
        p_value double precision,
        decisive_p_value double precision,
        method text,
        sequential_p_value double precision,
        sequential_low double precision,
        sequential_high double precision,
        chance_to_win double precision,
        expected_loss double precision,
        cuped_diff double precision,
        cuped_low double precision,
        cuped_high double precision,
        cuped_lift double precision,
        cuped_lift_low double precision,
        cuped_lift_high double precision,
        cuped_p_value double precision,
        variance_reduction double precision,
        covariate_balance_p_value double precision,
        capped_units bigint,
        uncapped_total numeric,
        uncapped_mean double precision,
        uncapped_diff double precision,
        guardrail text,
        note text
    )
    language sql
    immutable
    parallel safe
    rows 2
begin atomic
    with arm as (
        select
            row_number() over (order by a.is_control desc, a.variant = 'control' desc, a.variant_id) as arm,
            a.variant_id,
            a.variant,
            a.units,
            coalesce((a.sums).conversions, 0) as conversions,
            coalesce((a.sums).total, 0) as total,
            coalesce((a.sums).denominator, 0) as denominator,
            coalesce((a.sums).capped_units, 0) as capped_units,
            coalesce((a.sums).uncapped_total, 0) as uncapped_total,
            ab_internal.to_double(e.mean) as mean,
            ab_internal.to_double(e.variance) as variance,
            ab_internal.to_double(e.covariate_mean) as covariate_mean,
            ab_internal.to_double(e.covariate_variance) as covariate_variance,
            ab_internal.to_double(e.covariance) as covariance,
            ab_internal.to_double(coalesce((a.sums).uncapped_total, 0) / nullif(a.units, 0)) as uncapped_mean
        from unnest(compare_arms.arms) a
        cross join lateral (
            -- Short names for long formulas: y and z are a user's value and the denominator of a ratio, u and w the same before
            -- first exposure, and two letters the sum of a product.
            select
                a.units::numeric as n,
                coalesce((a.sums).total, 0) as y,
                coalesce((a.sums).denominator, 0) as z,
                coalesce((a.sums).covariate, 0) as u,
                coalesce((a.sums).covariate_denominator, 0) as w,
                coalesce((a.sums).total_of_squares, 0) as yy,
                coalesce((a.sums).denominator_of_squares, 0) as zz,
                coalesce((a.sums).covariate_of_squares, 0) as uu,
                coalesce((a.sums).covariate_denominator_of_squares, 0) as ww,
                coalesce((a.sums).total_denominator, 0) as yz,
                coalesce((a.sums).total_covariate, 0) as yu,
                coalesce((a.sums).total_covariate_denominator, 0) as yw,
                coalesce((a.sums).denominator_covariate, 0) as zu,
                coalesce((a.sums).denominator_covariate_denominator, 0) as zw,
                coalesce((a.sums).covariate_covariate_denominator, 0) as uw
        ) s
        cross join lateral (
            -- Exact until the last step: the sums are numeric, and only means and variances are rounded.
            select
                s.y / nullif(s.n, 0) as mean,
                (s.n * s.yy - s.y * s.y) / nullif(s.n * (s.n - 1), 0) as variance,
                s.u / nullif(s.n, 0) as covariate_mean,
                (s.n * s.uu - s.u * s.u) / nullif(s.n * (s.n - 1), 0) as covariate_variance,
                (s.n * s.yu - s.y * s.u) / nullif(s.n * (s.n - 1), 0) as covariance
            where compare_arms.kind <> 'ratio'
            union all
            -- A ratio of sums varies as the mean of what it leaves of each user's numerator, over the mean denominator (delta
            -- method; Deng, Knoblich & Lu 2018), and so does the ratio of the time before.
            select
                s.y / nullif(s.z, 0),
                s.n * s.n * (s.z * s.z * s.yy - 2 * s.y * s.z * s.yz + s.y * s.y * s.zz) / nullif((s.n - 1) * s.z * s.z * s.z * s.z, 0),
                s.u / nullif(s.w, 0),
                s.n * s.n * (s.w * s.w * s.uu - 2 * s.u * s.w * s.uw + s.u * s.u * s.ww) / nullif((s.n - 1) * s.w * s.w * s.w * s.w, 0),
                s.n * s.n * (s.z * s.w * s.yu - s.z * s.u * s.yw - s.y * s.w * s.zu + s.y * s.u * s.zw) / nullif((s.n - 1) * s.z * s.z * s.w * s.w, 0)
            where compare_arms.kind = 'ratio'
        ) e
    ),
    control as (
        select a.* from arm a where a.arm = 1
    ),
    result as (
        select r.*
        from (
            select
                array_agg(a.units order by a.arm) as units,
                array_agg(a.conversions order by a.arm) as conversions,
                array_agg(a.mean order by a.arm) as mean,
                array_agg(a.variance order by a.arm) as variance,
                array_agg(a.covariate_mean order by a.arm) as covariate_mean,
                array_agg(a.covariate_variance order by a.arm) as covariate_variance,
                array_agg(a.covariance order by a.arm) as covariance
            from arm a
        ) a
        cross join lateral ab_internal.metric_results(
            compare_arms.kind, compare_arms.analysis, compare_arms.lower_is_better, compare_arms.margin, compare_arms.z_bound, compare_arms.is_over,
            a.units, a.conversions, a.mean, a.variance, a.covariate_mean, a.covariate_variance, a.covariance
        ) r
    )
    select
        a.variant_id,
        a.variant,
        a.arm = 1,
        a.units,
        a.conversions,
        a.total,
        a.mean,
        a.variance,
        r.ci_low,
        r.ci_high,
        r.diff, r.se, r.statistic, r.df, r.diff_low, r.diff_high, r.lift, r.lift_low,
        r.lift_high, r.p_value,
        r.decisive_p_value,
        r.method, r.sequential_p_value, r.sequential_low, r.sequential_high, r.chance_to_win, r.expected_loss, r.cuped_diff, r.cuped_low,
        r.cuped_high, r.cuped_lift, r.cuped_lift_low, r.cuped_lift_high, r.cuped_p_value, r.variance_reduction, r.covariate_balance_p_value,
        a.capped_units,
        a.uncapped_total,
        case when compare_arms.kind <> 'ratio' then a.uncapped_mean end,
        case when compare_arms.kind <> 'ratio' and a.arm > 1 then a.uncapped_mean - c.uncapped_mean end,
        r.guardrail,
        case
            when compare_arms.kind = 'ratio' and a.denominator = 0 and a.units > 0 then 'no_denominator'
            when a.units > 0 and a.mean is null or a.units > 1 and a.variance is null then 'out_of_range'
            when a.arm > 1 and r.method is null then 'out_of_range'
            else r.note
        end
    from arm a
    join result r on r.arm = a.arm
    cross join control c;
end;

comment on function ab_internal.compare_arms(text, ab_internal.arm[], jsonb, boolean, double precision, double precision, boolean) is 'the results of one metric from the sums of its variants, the control among them';
