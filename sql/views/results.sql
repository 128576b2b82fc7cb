create or replace view ab.experiment_results as
with arm as (
    select
        x.experiment_id,
        w.workspace::text as workspace,
        x.experiment::text as experiment,
        d.metric_id,
        d.metric::text as metric,
        -- Coming back is a conversion of its own sort; all the rest are means of users' values.
        case when d.kind = 'retention' then 'conversion' else d.kind end as kind,
        m.is_primary,
        m.complete_from,
        v.variant_id,
        v.variant::text as variant,
        row_number() over own = 1 as is_control,
        coalesce(s.units, 0) as units,
        coalesce(t.conversions, 0) as conversions,
        coalesce(t.total, 0) as total,
        coalesce(t.denominator, 0) as denominator,
        e.mean,
        e.variance,
        e.is_representable,
        first_value(e.is_representable) over own as control_is_representable,
        first_value(coalesce(s.units, 0)) over own as control_units,
        first_value(coalesce(t.conversions, 0)) over own as control_conversions,
        first_value(e.mean) over own as control_mean,
        first_value(e.variance) over own as control_variance
    from ab.experiment x
    join ab.workspace w using (workspace_id)
    join ab.experiment_metric m using (experiment_id)
    join ab.metric d on d.metric_id = m.metric_id
    join ab.variant v using (experiment_id)
    left join ab.variant_statistic s on s.experiment_id = x.experiment_id and s.variant = v.variant
    left join ab.metric_statistic t on t.experiment_id = x.experiment_id and t.metric_id = m.metric_id and t.variant = v.variant
    cross join lateral (
        select
            moment.mean,
            moment.variance,
            -- A mean or variance beyond the largest double is unknown, which must not be taken for none.
            (moment.mean is not null or coalesce(s.units, 0) = 0) and (moment.variance is not null or coalesce(s.units, 0) < 2) as is_representable
        from (
            -- Exact until the last step: the sums are numeric, and only mean and variance are rounded.
            select
                ab_internal.to_double(case when d.kind = 'ratio' then t.total / nullif(t.denominator, 0) else coalesce(t.total, 0) / nullif(s.units, 0) end) as mean,
                ab_internal.to_double(
                    case
                        when s.units < 2 then null
                        -- A ratio of sums varies as the mean of what it leaves of each user's numerator, over the mean
                        -- denominator (delta method; Deng, Knoblich & Lu 2018).
                        when d.kind = 'ratio' then
                            s.units::numeric * s.units
                            * (t.denominator * t.denominator * t.total_of_squares - 2 * t.total * t.denominator * t.total_denominator + t.total * t.total * t.denominator_of_squares)
                            / nullif((s.units - 1) * t.denominator * t.denominator * t.denominator * t.denominator, 0)
                        else (s.units * coalesce(t.total_of_squares, 0) - coalesce(t.total, 0) * coalesce(t.total, 0)) / (s.units::numeric * (s.units - 1))
                    end
                ) as variance
        ) moment
    ) e
    window own as (partition by x.experiment_id, m.metric_id order by v.is_control desc, v.variant = 'control' desc, v.variant_id)
)
select
    arm.workspace,
    arm.experiment,
    arm.metric,
    arm.variant,
    arm.is_control,
    arm.units,
    arm.conversions,
    arm.total,
    arm.mean,
    arm.variance,
    i.ci_low,
    i.ci_high,
    c.diff,
    c.diff_low,
    c.diff_high,
    c.lift,
    c.lift_low,
    c.lift_high,
    c.p_value,
    c.significant,
    case when arm.is_representable and (arm.is_control or arm.control_is_representable) then coalesce(c.note, case when arm.complete_from is not null then 'incomplete' end) when arm.kind = 'ratio' and arm.denominator = 0 then 'no_denominator' else 'out_of_range' end as note,
    arm.is_primary,
    arm.experiment_id,
    arm.metric_id,
    arm.variant_id
from arm
left join lateral ab_internal.interval_of(arm.kind, arm.units, arm.conversions, arm.mean, arm.variance) i on arm.is_representable
left join lateral ab_internal.compare_to_control(arm.kind, arm.control_units, arm.control_conversions, arm.control_mean, arm.control_variance, arm.units, arm.conversions, arm.mean, arm.variance) c on not arm.is_control and arm.is_representable and arm.control_is_representable;

comment on view ab.experiment_results is 'ab_results() of all experiments: one row per experiment, metric and variant; rates and lifts are fractions';
