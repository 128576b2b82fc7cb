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
