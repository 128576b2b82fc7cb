create or replace view ab.experiment_results as
select
    a.workspace,
    a.experiment,
    a.metric,
    r.variant,
    r.is_control,
    r.units,
    r.conversions,
    r.total,
    r.mean,
    r.variance,
    r.ci_low,
    r.ci_high,
    r.diff,
    r.diff_low,
    r.diff_high,
    r.lift,
    r.lift_low,
    r.lift_high,
    r.p_value,
    r.significant,
    coalesce(r.note, case when a.complete_from is not null then 'incomplete' end) as note,
    a.is_primary,
    a.experiment_id,
    a.metric_id,
    r.variant_id
from (
    select
        x.experiment_id,
        w.workspace::text as workspace,
        x.experiment::text as experiment,
        d.metric_id,
        d.metric::text as metric,
        d.kind,
        m.is_primary,
        m.complete_from,
        array_agg(
            row(
                v.variant_id, v.variant, v.is_control, coalesce(s.units, 0), coalesce(t.conversions, 0), coalesce(t.total, 0), coalesce(t.denominator, 0),
                coalesce(t.total_of_squares, 0), coalesce(t.denominator_of_squares, 0), coalesce(t.total_denominator, 0)
            )::ab_internal.arm
        ) as arms
    from ab.experiment x
    join ab.workspace w using (workspace_id)
    join ab.experiment_metric m using (experiment_id)
    join ab.metric d on d.metric_id = m.metric_id
    join ab.variant v using (experiment_id)
    left join ab.variant_statistic s on s.experiment_id = x.experiment_id and s.variant = v.variant
    left join ab.metric_statistic t on t.experiment_id = x.experiment_id and t.metric_id = m.metric_id and t.variant = v.variant
    group by x.experiment_id, w.workspace_id, d.metric_id, m.experiment_id, m.metric_id
) a
cross join lateral ab_internal.compare_arms(a.kind, a.arms) r;

comment on view ab.experiment_results is 'ab_results() of all experiments: one row per experiment, metric and variant; rates and lifts are fractions';
