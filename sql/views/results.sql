create or replace view ab.experiment_results as
select
    q.workspace,
    q.experiment,
    q.metric,
    q.role,
    q.variant,
    q.is_control,
    q.units, q.conversions, q.total, q.mean, q.variance, q.ci_low, q.ci_high, q.diff,
    q.se, q.statistic, q.df, q.diff_low, q.diff_high, q.lift, q.lift_low, q.lift_high,
    q.p_value,
    q.p_adjusted,
    case
        when q.decisive_p_value is null then null
        when q.mode = 'bayesian' then q.chance_to_win not between q.alpha / 2 and 1 - q.alpha / 2
        -- Between its looks nothing is decided.
        when q.mode = 'group_sequential' and q.role = 'primary' then exists (
            select
            from ab.look l
            where l.experiment_id = q.experiment_id
                and l.variant = q.variant
                and l.is_crossed
                and sign(l.diff) = sign(case q.method when 'cuped' then q.cuped_diff else q.diff end)
        )
        else q.p_adjusted < q.alpha
    end as significant,
    q.method, q.sequential_p_value, q.sequential_low, q.sequential_high, q.chance_to_win, q.expected_loss, q.cuped_diff, q.cuped_low,
    q.cuped_high, q.cuped_lift, q.cuped_lift_low, q.cuped_lift_high, q.cuped_p_value, q.variance_reduction, q.covariate_balance_p_value, q.capped_units,
    q.uncapped_total, q.uncapped_mean, q.uncapped_diff, q.guardrail,
    q.analysis_version,
    coalesce(
        q.note,
        case
            when q.complete_from is not null then 'incomplete'
            -- A test for one end says less before it, and planned looks are at the primary metric.
            when q.p_value is not null and not q.is_final and q.mode in ('fixed', 'group_sequential') then 'not_final'
        end
    ) as note,
    q.experiment_id,
    q.metric_id,
    q.variant_id
from (
    select
        s.*,
        r.*,
        case f.correction
            when 'none' then r.decisive_p_value
            else (@extschema@.ab_adjust_pvalues(array_agg(r.decisive_p_value) over family, f.correction))[row_number() over family]
        end as p_adjusted
    from (
        select
            a.*,
            k.settings,
            k.settings ->> 'mode' as mode,
            (k.settings ->> 'alpha')::double precision as alpha,
            coalesce(a.status = 'stopped' or a.ends_at <= now(), false) as is_over,
            coalesce(a.status = 'stopped' or a.ends_at <= now() or a.all_units >= (k.settings ->> 'planned_units')::bigint, false) as is_final
        from (
            select
                x.experiment_id,
                w.workspace::text as workspace,
                x.experiment::text as experiment,
                x.status,
                x.ends_at,
                x.analysis,
                x.analysis_version,
                d.metric_id,
                d.metric::text as metric,
                d.kind,
                d.lower_is_better,
                m.role,
                m.margin,
                m.complete_from,
                sum(u.units) as all_units,
                array_agg(row(v.variant_id, v.variant, v.is_control, coalesce(u.units, 0), t)::ab_internal.arm) as arms
            from ab.experiment x
            join ab.workspace w using (workspace_id)
            join ab.experiment_metric m using (experiment_id)
            join ab.metric d on d.metric_id = m.metric_id
            join ab.variant v using (experiment_id)
            left join ab.variant_statistic u on u.experiment_id = x.experiment_id and u.variant = v.variant
            left join ab.metric_statistic t on t.experiment_id = x.experiment_id and t.metric_id = m.metric_id and t.variant = v.variant
            group by x.experiment_id, w.workspace_id, d.metric_id, m.experiment_id, m.metric_id
        ) a
        cross join lateral (select ab_internal.complete_analysis(a.experiment, a.analysis) as settings) k
    ) s
    cross join lateral (
        select case s.role when 'guardrail' then 'none' when 'exploratory' then s.settings ->> 'exploratory_correction' else s.settings ->> 'correction' end as correction
    ) f
    left join lateral (
        select l.z_bound from ab.look l where s.mode = 'group_sequential' and l.experiment_id = s.experiment_id order by l.look desc limit 1
    ) l on true
    cross join lateral ab_internal.compare_arms(s.kind, s.arms, s.settings, s.lower_is_better, s.margin, l.z_bound, s.is_over) r
    window family as (
        partition by s.experiment_id, s.role
        order by s.metric_id, r.variant_id
        rows between unbounded preceding and unbounded following
    )
) q;

comment on view ab.experiment_results is 'ab_results() of all experiments, but for the sample ratio: one row per experiment, metric and variant; rates and lifts are fractions';
