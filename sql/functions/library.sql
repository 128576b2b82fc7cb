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

create or replace function ab_internal.read_events(events text[], received timestamptz[])
    returns table (
        items integer[],
        user_ids text[],
        event_ids uuid[],
        event_times timestamptz[],
        event_types text[],
        event_names text[],
        amounts double precision[],
        properties text[],
        experiments text[],
        variants text[],
        session_ids text[],
        refused integer[],
        codes text[],
        messages text[]
    )
    language c
    volatile
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'read_events_wrapper';

comment on function ab_internal.read_events(text[], timestamptz[]) is 'events of JSON as the arrays that store_events() takes, items saying where each was, and what is wrong with those refused; received says when each came, of those that come again';

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

create or replace function ab_internal.check_rule(what text, rule text)
    returns void
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'check_rule_wrapper';

comment on function ab_internal.check_rule(text, text) is 'raises unless the JSON is a rule; what is how the message calls it, and it says where in it the fault is';

create or replace function ab_internal.check_prerequisites(what text, prerequisites text)
    returns void
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'check_prerequisites_wrapper';

comment on function ab_internal.check_prerequisites(text, text) is 'raises unless the JSON is a list of prerequisites';

create or replace function ab_internal.check_schedule(what text, schedule text)
    returns void
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'check_schedule_wrapper';

comment on function ab_internal.check_schedule(text, text) is 'raises unless the JSON is a list of dated steps in order';

create or replace function ab_internal.complete_analysis(what text, analysis jsonb)
    returns jsonb
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'complete_analysis_wrapper';

comment on function ab_internal.complete_analysis(text, jsonb) is 'settings of an analysis with those that were left out; raises where they are none, and what is how the message calls whose they are';

create or replace function ab_internal.check_flag(what text, kind text, default_value text, off_value text, rules text)
    returns void
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'check_flag_wrapper';

comment on function ab_internal.check_flag(text, text, text, text, text) is 'raises unless the values and rules of a flag suit its kind';

create or replace function ab_internal.are_flag_layouts(rules text, layouts text)
    returns boolean
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'are_flag_layouts_wrapper';

comment on function ab_internal.are_flag_layouts(text, text) is 'whether the JSON can be the bucket ranges that the rules of a flag have come to';

create or replace function ab_internal.flag_layouts(rules text, previous_rules text, previous_layouts text)
    returns text
    language c
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'flag_layouts_wrapper';

comment on function ab_internal.flag_layouts(text, text, text) is 'for each rule that splits the bucket ranges of its values, as JSON, moving fewest buckets out of those that a rule like it had';

create or replace function ab_internal.segment_query(query text, owner_role text)
    returns setof text
    language c
    strict
    volatile
    parallel unsafe
    rows 100000
    as 'MODULE_PATHNAME',
    'segment_query_wrapper';

comment on function ab_internal.segment_query(text, text) is 'what a query gives that runs with the rights of a role and may only read';

create or replace function ab_internal.query_as_caller(query text)
    returns setof text
    language c
    strict
    volatile
    parallel unsafe
    rows 100000
    as 'MODULE_PATHNAME',
    'query_as_caller_wrapper';

comment on function ab_internal.query_as_caller(text) is 'what a query gives that runs with the rights of whoever calls and may only read';

create or replace function ab_internal.thompson_weights(kind text, units bigint[], totals double precision[], squares double precision[], minimum_share double precision)
    returns double precision[]
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'thompson_weights_wrapper';

comment on function ab_internal.thompson_weights(text, bigint[], double precision[], double precision[], double precision) is 'how likely each variant is the best, with a floor; equal until enough is known, and NULL where values are too large for a double';

create or replace function ab_internal.exposures(user_id text, wanted text, context jsonb)
    returns table (answer text, unit_id text, experiment text, variant text, is_sticky boolean)
    language c
    stable
    parallel safe
    as 'MODULE_PATHNAME',
    'exposures_wrapper';

comment on function ab_internal.exposures(text, text, jsonb) is 'what showing an experiment to a user amounts to: its answer, and the exposures to record, its own and those to its holdouts';

create or replace function ab_internal.matches(rule text, properties jsonb)
    returns boolean
    language c
    stable
    strict
    parallel safe
    as 'MODULE_PATHNAME',
    'matches_wrapper';

comment on function ab_internal.matches(text, jsonb) is 'whether the rule holds for the properties; segments hold for nobody';
