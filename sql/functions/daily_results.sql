-- Results as they grew, for charts.
create or replace function @extschema@.ab_results_daily(experiment text)
    returns table (
        day date,
        metric text,
        role text,
        variant text,
        is_control boolean,
        units bigint,
        conversions bigint,
        total numeric,
        mean double precision,
        ci_low double precision,
        ci_high double precision,
        diff double precision,
        diff_low double precision,
        diff_high double precision,
        lift double precision,
        lift_low double precision,
        lift_high double precision,
        p_value double precision,
        sequential_p_value double precision,
        sequential_low double precision,
        sequential_high double precision,
        note text
    )
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $$
#variable_conflict use_column
declare
    wanted constant integer := ab_internal.experiment_id(ab_results_daily.experiment);
begin
    return query
    with known as (
        select x.experiment_id, x.experiment::text as experiment, w.workspace::text as workspace, x.stopped_at, ab_internal.complete_analysis(x.experiment, x.analysis) as settings
        from ab.experiment x
        join ab.workspace w using (workspace_id)
        where x.experiment_id = wanted
    ),
    history as (
        select r.*
        from known k
        join ab.daily_result r on r.workspace = k.workspace and r.experiment = k.experiment and r.dimension = '' and r.value = ''
    ),
    last as (
        select greatest(max(h.day), min((least(now(), k.stopped_at) at time zone 'UTC')::date)) as day from known k left join history h on true
    ),
    arm as (
        select d.metric_id, d.metric::text as metric, d.kind, d.lower_is_better, m.role, m.complete_from, v.variant_id, v.variant::text as variant, v.is_control
        from ab.experiment_metric m
        join ab.metric d on d.metric_id = m.metric_id
        join ab.variant v on v.experiment_id = m.experiment_id
        where m.experiment_id = wanted
    ),
    state as (
        select
            d.day, a.metric_id, a.variant_id,
            sum(h.units) over so_far as units,
            -- Of the time before exposure, and of caps, days keep nothing.
            row(
                wanted, a.metric_id, a.variant, (sum(h.conversions) over so_far)::bigint, 0, 0, sum(h.total) over so_far, sum(h.total) over so_far,
                sum(h.denominator) over so_far, 0, 0, sum(h.total_of_squares) over so_far, sum(h.denominator_of_squares) over so_far, 0, 0,
                sum(h.total_denominator) over so_far, 0, 0, 0, 0, 0
            )::ab.metric_statistic as sums,
            null::double precision as z_bound
        from (select distinct h.day from history h, last l where h.day < l.day) d
        cross join arm a
        left join history h on h.day = d.day and h.metric = a.metric and h.variant = a.variant
        window so_far as (partition by a.metric_id, a.variant_id order by d.day)
        union all
        -- The last day is what is known now, and not at the last refresh.
        select l.day, a.metric_id, a.variant_id, u.units, t, b.z_bound
        from last l
        cross join arm a
        left join (
            select k.z_bound from ab.look k where k.experiment_id = wanted order by k.look desc limit 1
        ) b on true
        left join ab.variant_statistic u on u.experiment_id = wanted and u.variant = a.variant
        left join ab.metric_statistic t on t.experiment_id = wanted and t.metric_id = a.metric_id and t.variant = a.variant
    ),
    part as (
        select
            s.day, a.metric_id, a.metric, a.kind, a.lower_is_better, a.role, a.complete_from, s.z_bound,
            array_agg(row(a.variant_id, a.variant, a.is_control, coalesce(s.units, 0)::bigint, s.sums)::ab_internal.arm) as arms
        from state s
        join arm a using (metric_id, variant_id)
        group by s.day, a.metric_id, a.metric, a.kind, a.lower_is_better, a.role, a.complete_from, s.z_bound
    )
    select
        p.day, p.metric, p.role, r.variant, r.is_control,
        r.units, r.conversions, r.total, r.mean, r.ci_low, r.ci_high, r.diff, r.diff_low,
        r.diff_high, r.lift, r.lift_low, r.lift_high, r.p_value, r.sequential_p_value, r.sequential_low, r.sequential_high,
        coalesce(r.note, case when p.complete_from is not null then 'incomplete' end)
    from part p
    cross join known k
    cross join lateral ab_internal.compare_arms(p.kind, p.arms, k.settings, p.lower_is_better, null, p.z_bound, false) r
    order by p.day, array_position(array['primary', 'secondary', 'guardrail', 'exploratory'], p.role), p.metric, r.is_control desc, r.variant_id;
end
$$;

comment on function @extschema@.ab_results_daily(text) is $$The results of an experiment as they grew: for each day (UTC) those of the users first exposed up to then, with all they have done until now, each with its interval. Made for charts: the last day is ab_results().

Days before the last are as of the last refresh of ab.daily_result (ab_maintain() and gateways see to it). In mode sequential the sequential columns hold for all days together (where CUPED decides, those of the last day are of its estimate, of the others of the raw one); in mode group_sequential the last day has the last look''s interval. ci and p_value hold only for a day chosen beforehand.
Errors: experiment_not_found (42704).

Example: SELECT day, variant, units, lift, lift_low, lift_high FROM ab_results_daily('checkout_button') WHERE metric = 'signups';$$;
