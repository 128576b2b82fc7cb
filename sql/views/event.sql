create or replace view ab.event as
select * from ab.event_exposure
union all
select * from ab.event_conversion
union all
select * from ab.event_other
union all
select * from ab.event_overflow;

comment on view ab.event is 'all raw events that are still kept';

create or replace view ab_internal.exposure_event as
select * from ab.event_exposure
union all
select * from ab.event_overflow where event_type = 'exposure';

comment on view ab_internal.exposure_event is 'the events that claim a variant';

create or replace view ab_internal.metric_event as
select * from ab.event_conversion
union all
select * from ab.event_other
union all
select * from ab.event_overflow where event_type <> 'exposure';

comment on view ab_internal.metric_event is 'the events that metrics may count';

create or replace view ab_internal.partition_bound as
select
    p.relname as event_table,
    c.relname as partition,
    -- NULL for what has no end.
    substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \(''([^'']+)''\)')::timestamptz as upper_bound
from pg_inherits i
join pg_class p on p.oid = i.inhparent
join pg_class c on c.oid = i.inhrelid
where p.oid in ('ab.event_exposure'::regclass, 'ab.event_conversion'::regclass, 'ab.event_other'::regclass)
    and c.relnamespace = p.relnamespace;

comment on view ab_internal.partition_bound is 'the partitions of raw events, and up to when each reaches';
