-- Raw events: one table for each class of retention (docs/adr/0002-event-tables.md), partitioned by day in UTC.
--
-- Ids of users are compared byte by byte, whatever the locale: nobody sorts them, and a tenth of storing an event was that.
-- What passes through a function has been checked by core; what is checked here again is cheap. The columns go from
-- wide to narrow, which leaves no gaps between them: a billion rows a day.
--
-- The parents have no key and no partition: a key would be dumped twice, and a partition made here would lose its
-- rows on restore. ab_internal.make_partitions() gives each partition its unique index.
create table ab.event_other (
    event_time timestamptz not null,
    transaction_id bigint not null default ab_internal.event_transaction(),
    received_at timestamptz not null default clock_timestamp(),
    value double precision,
    workspace_id integer not null,
    experiment_id integer,
    event_id uuid not null,
    user_id text collate "C" not null,
    event_type text not null,
    event_name text not null,
    variant text,
    session_id text,
    properties jsonb not null default '{}',
    constraint event_user_id_check check (octet_length(user_id) between 1 and 512),
    constraint event_type_check check (octet_length(event_type) between 1 and 64),
    constraint event_name_check check (octet_length(event_name) between 1 and 256),
    constraint event_value_check check (value between '-1.7976931348623157e308' and '1.7976931348623157e308'),
    constraint event_properties_check check (jsonb_typeof(properties) = 'object' and pg_column_size(properties) <= 1048576),
    constraint event_variant_check check (event_type <> 'exposure' or (experiment_id is not null and variant is not null))
)
partition by range (event_time);

comment on table ab.event_other is 'raw events that are neither exposures nor conversions; read them all through ab.event';

comment on column ab.event_other.transaction_id is 'top-level transaction that wrote the event, as ab_rollup() orders by it';

create table ab.event_exposure (like ab.event_other including defaults including constraints)
partition by range (event_time);

comment on table ab.event_exposure is 'raw events of type exposure; read them all through ab.event';

create table ab.event_conversion (like ab.event_other including defaults including constraints)
partition by range (event_time);

comment on table ab.event_conversion is 'raw events of types conversion and purchase; read them all through ab.event';

-- Events of days that have no partition: tracking never fails because nobody made one.
create table ab.event_overflow (like ab.event_other including defaults including constraints);

-- With the class of its type, as if each class had its own table here, too.
create unique index event_overflow_identity_idx on ab.event_overflow (workspace_id, user_id, event_id, event_time, (event_type = 'exposure'), (event_type in ('conversion', 'purchase')));

create index event_overflow_transaction_id_idx on ab.event_overflow using brin (transaction_id) with (pages_per_range = 32);

create index event_overflow_event_time_idx on ab.event_overflow using brin (event_time) with (pages_per_range = 32);

comment on table ab.event_overflow is 'raw events of days without a partition; read them all through ab.event';

-- How long raw events are kept. Rows of their own for everybody are made on first use, not by the install script, where
-- those of a dump would meet them.
create table ab.event_retention (
    event_table text primary key,
    keep interval not null,
    dropped_at timestamptz,
    constraint event_retention_event_table_check check (event_table in ('event_exposure', 'event_conversion', 'event_other', 'unit_metric')),
    -- A day at least: a sender whose event is younger need not ask what has expired.
    constraint event_retention_keep_check check (keep >= interval '1 day')
);

comment on column ab.event_retention.dropped_at is 'when ab_maintain() last dropped events of the table; locked by senders whose snapshot may be older';

comment on table ab.event_retention is 'how long ab_maintain() keeps the raw events of each table, and, as unit_metric, the state of users after their experiment stopped; results do not depend on it';

-- Up to where raw events of a workspace may be gone. Whoever stores events reads this first and so holds a lock on it
-- until the end of the transaction; ab_maintain() locks everybody out before it raises a time.
create table ab_internal.event_expired (
    workspace_id integer not null,
    event_table text not null,
    expired_before timestamptz not null,
    primary key (workspace_id, event_table)
);

-- What could not be stored, as it came: not as jsonb, because that it is none may be why.
create table ab.event_rejected (
    rejected_id bigint generated always as identity primary key,
    received_at timestamptz not null default clock_timestamp(),
    workspace_id integer not null,
    event text not null,
    code text not null,
    message text not null
);

create index event_rejected_received_at_idx on ab.event_rejected (received_at);

comment on table ab.event_rejected is 'events that could not be stored, and why; ab_replay_rejected() tries them again, ab_maintain() deletes them after 30 days';

comment on column ab.event_rejected.event is 'JSON with the fields of POST /api/v1/track, or whatever came instead';

-- Types are those that COPY and INSERT fill without a cast. Everything else is checked when the row is taken out.
create table ab.event_staging (
    staging_id bigint generated always as identity primary key,
    workspace text,
    user_id text,
    event_name text,
    event_type text,
    experiment_id text,
    variant_id text,
    value double precision,
    properties jsonb,
    "timestamp" timestamptz,
    event_id text,
    session_id text
);

comment on table ab.event_staging is 'events to be stored by ab_ingest_staged(), with the fields of POST /api/v1/track; for COPY and INSERT, nothing reads it otherwise';

comment on column ab.event_staging.workspace is 'the name of the workspace; NULL is that of the session that calls ab_ingest_staged()';
