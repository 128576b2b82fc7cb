create or replace view ab_internal.metric_part as
select
    m.experiment_id,
    m.metric_id,
    m.is_counted,
    d.workspace_id,
    t.event_name,
    t.is_denominator,
    t.aggregate,
    t.filter,
    t.value_property,
    d.window_start,
    d.window_end,
    d.covariate_window,
    -- A window has its own end, which may be after the stop: users exposed at the last moment get all of it.
    case when d.window_end is null then coalesce(p.stopped_at, 'infinity') else 'infinity' end as closes_at
from ab.experiment_metric m
join ab.metric d on d.metric_id = m.metric_id
left join ab_internal.rollup_progress p on p.experiment_id = m.experiment_id
cross join lateral (
    select
        d.event_name,
        false as is_denominator,
        case d.kind when 'sum' then 'sum' when 'ratio' then d.numerator when 'unique_days' then 'days' when 'first' then 'first' when 'last' then 'last' else 'count' end as aggregate,
        d.filter::text as filter,
        d.value_property
    union all
    select d.denominator_event_name, true, d.denominator, d.denominator_filter::text, d.denominator_value_property
    where d.kind = 'ratio'
) t
where p.units_expired_at is null;

comment on view ab_internal.metric_part is 'what the metrics of experiments count: one row each, and two for a ratio';

create or replace view ab_internal.activity_resolution as
select r.resolution, r.kept_from
from (
    values ('minute', now() - interval '2 days'), ('hour', now() - interval '90 days'), ('day', '-infinity'::timestamptz)
) r (resolution, kept_from);

comment on view ab_internal.activity_resolution is 'how finely activity is kept, and from when on';

create or replace view ab_internal.known_activity as
select
    w.workspace::text as workspace,
    x.experiment::text as experiment,
    a.variant,
    m.metric::text as metric,
    a.resolution,
    a.began_at,
    a.events,
    a.total
from ab.activity a
join ab_internal.activity_resolution k using (resolution)
join ab.experiment x using (experiment_id)
join ab.workspace w using (workspace_id)
left join ab.metric m on m.metric_id = a.metric_id
-- Of an hour that began before that, only the end may have been counted.
where a.began_at >= k.kept_from;

comment on view ab_internal.known_activity is 'activity with the names of what it is of, as far back as it is whole';

create or replace view ab.minute_activity as
select workspace, experiment, variant, metric, began_at, events, total from ab_internal.known_activity where resolution = 'minute';

comment on view ab.minute_activity is 'events counted per minute they happened in, of the last two days, and the sum of what they counted for; metric is NULL for exposures';

create or replace view ab.hour_activity as
select workspace, experiment, variant, metric, began_at, events, total from ab_internal.known_activity where resolution = 'hour';

comment on view ab.hour_activity is 'events counted per hour they happened in, of the last 90 days, and the sum of what they counted for; metric is NULL for exposures';

create or replace view ab.day_activity as
select workspace, experiment, variant, metric, began_at, events, total from ab_internal.known_activity where resolution = 'day';

comment on view ab.day_activity is 'events counted per day (UTC) they happened in, and the sum of what they counted for; metric is NULL for exposures';
