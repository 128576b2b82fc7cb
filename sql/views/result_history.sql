-- Results by when users were first exposed, for BI. Days are sums of hours, and what is kept of experiments whose users' rows are
-- gone are such days.
create or replace view ab_internal.hourly_unit_result as
select
    g.experiment_id,
    g.metric_id,
    g.variant,
    k.dimension,
    k.value,
    g.began_at,
    sum(g.units)::bigint as units,
    sum(g.conversions)::bigint as conversions,
    sum(g.total) as total,
    sum(g.denominator) as denominator,
    sum(g.total_of_squares) as total_of_squares,
    sum(g.denominator_of_squares) as denominator_of_squares,
    sum(g.total_denominator) as total_denominator
from (
    -- By all that was said of a user at once: of that there is far less than users, and only that is taken apart.
    select
        x.experiment_id,
        m.metric_id,
        x.variant,
        x.dimensions,
        date_trunc('hour', x.first_exposed_at at time zone 'UTC') at time zone 'UTC' as began_at,
        count(*) as units,
        count(*) filter (where u.event_count > 0) as conversions,
        -- least() would take the cap for who has no row.
        coalesce(sum(least(u.total, d.cap)) filter (where u.total is not null), 0) as total,
        coalesce(sum(u.denominator), 0) as denominator,
        coalesce(sum(least(u.total, d.cap) * least(u.total, d.cap)) filter (where u.total is not null), 0) as total_of_squares,
        coalesce(sum(u.denominator * u.denominator), 0) as denominator_of_squares,
        coalesce(sum(least(u.total, d.cap) * u.denominator) filter (where u.total is not null), 0) as total_denominator
    from ab.exposure x
    join ab.experiment_metric m using (experiment_id)
    join ab.metric d on d.metric_id = m.metric_id
    left join ab.unit_metric u on u.user_id = x.user_id and u.experiment_id = x.experiment_id and u.metric_id = m.metric_id
    group by x.experiment_id, m.metric_id, x.variant, x.dimensions, date_trunc('hour', x.first_exposed_at at time zone 'UTC')
) g
cross join lateral (
    select '' as dimension, '' as value
    union all
    select e.key, e.value from jsonb_each_text(g.dimensions) e where e.key <> ''
) k
group by g.experiment_id, g.metric_id, g.variant, k.dimension, k.value, g.began_at;

comment on view ab_internal.hourly_unit_result is 'sums over users by the hour of first exposure, for all of them (dimension and value empty) and for each value of each dimension';

create or replace view ab_internal.daily_unit_result as
select
    r.experiment_id,
    r.metric_id,
    r.variant,
    r.dimension,
    r.value,
    (r.began_at at time zone 'UTC')::date as day,
    sum(r.units)::bigint as units,
    sum(r.conversions)::bigint as conversions,
    sum(r.total) as total,
    sum(r.denominator) as denominator,
    sum(r.total_of_squares) as total_of_squares,
    sum(r.denominator_of_squares) as denominator_of_squares,
    sum(r.total_denominator) as total_denominator
from ab_internal.hourly_unit_result r
group by r.experiment_id, r.metric_id, r.variant, r.dimension, r.value, (r.began_at at time zone 'UTC')::date;

comment on view ab_internal.daily_unit_result is 'the same by the day, in UTC';

create materialized view ab.daily_result as
select
    w.workspace::text as workspace,
    x.experiment::text as experiment,
    d.metric::text as metric,
    r.variant,
    r.dimension,
    r.value,
    r.day,
    r.units,
    r.conversions,
    r.total,
    ab_internal.to_double(r.total / nullif(case when d.kind = 'ratio' then r.denominator else r.units end, 0)) as mean,
    r.denominator,
    r.total_of_squares,
    r.denominator_of_squares,
    r.total_denominator
from (
    select
        experiment_id, metric_id, variant, dimension, value, day, units, conversions, total,
        denominator, total_of_squares, denominator_of_squares, total_denominator
    from ab_internal.daily_unit_result
    union all
    select
        experiment_id, metric_id, variant, dimension, value, day, units, conversions, total,
        denominator, total_of_squares, denominator_of_squares, total_denominator
    from ab_internal.expired_daily_result
) r
join ab.experiment x using (experiment_id)
join ab.workspace w using (workspace_id)
join ab.metric d on d.metric_id = r.metric_id;

-- What REFRESH … CONCURRENTLY needs.
create unique index daily_result_key on ab.daily_result (workspace, experiment, metric, variant, dimension, value, day);

comment on materialized view ab.daily_result is 'results by the day (UTC) of users'' first exposure, as of the last refresh: for all users, where dimension and value are empty, and for each value of each dimension that first exposures recorded';

create materialized view ab.hourly_result as
select
    w.workspace::text as workspace,
    x.experiment::text as experiment,
    d.metric::text as metric,
    r.variant,
    r.dimension,
    r.value,
    r.began_at as hour,
    r.units,
    r.conversions,
    r.total,
    ab_internal.to_double(r.total / nullif(case when d.kind = 'ratio' then r.denominator else r.units end, 0)) as mean
from ab_internal.hourly_unit_result r
join ab.experiment x using (experiment_id)
join ab.workspace w using (workspace_id)
join ab.metric d on d.metric_id = r.metric_id
where r.began_at >= now() - interval '14 days';

create unique index hourly_result_key on ab.hourly_result (workspace, experiment, metric, variant, dimension, value, hour);

comment on materialized view ab.hourly_result is 'the same by the hour of first exposure, for users of the last 14 days';
