-- Functions of the shared library that have no topic of their own in SQL; the code is in extension/src.
create or replace function ab_internal.raise(code text, message text, hint text)
    returns void
    language c
    strict
    volatile
    parallel safe
    as 'MODULE_PATHNAME',
    'raise_wrapper';

comment on function ab_internal.raise(text, text, text) is 'raises the error of this code with its SQLSTATE, so that SQL and Rust share one list of errors';

create or replace function ab_internal.signal_config_change()
    returns void
    language c
    volatile
    parallel unsafe
    as 'MODULE_PATHNAME',
    'signal_config_change_wrapper';

comment on function ab_internal.signal_config_change() is 'makes every backend reload configuration when this transaction commits';

create or replace function ab_internal.layout(from_buckets integer[], to_buckets integer[], variants integer[], weights bigint[])
    returns table (from_bucket integer, to_bucket integer, variant integer)
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'layout_wrapper';

comment on function ab_internal.layout(integer[], integer[], integer[], bigint[]) is 'the bucket ranges for these weights that move fewest buckets out of the ranges given; variants are indexes into weights';

create or replace function ab_internal.check_event(user_id text, event_name text, event_type text, value double precision, properties text, experiment text, variant text)
    returns void
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'check_event_wrapper';

comment on function ab_internal.check_event(text, text, text, double precision, text, text, text) is 'raises the error that the engine finds in an event';

create or replace function ab_internal.identify_event_time(event_id uuid, event_time timestamptz)
    returns timestamptz
    language c
    volatile
    parallel safe
    as 'MODULE_PATHNAME',
    'identify_event_time_wrapper';

comment on function ab_internal.identify_event_time(uuid, timestamptz) is 'the time that belongs to an event''s identity: the one given, else that of a UUIDv7; raises where there is neither or it is out of bounds';

create or replace function ab_internal.new_event_id()
    returns uuid
    language c
    volatile
    parallel safe
    as 'MODULE_PATHNAME',
    'new_event_id_wrapper';

comment on function ab_internal.new_event_id() is 'a new UUIDv7';
