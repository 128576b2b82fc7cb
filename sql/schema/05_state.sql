-- What ab_rollup() keeps: everything results are read from. No foreign keys: only the roll-up writes here, and a check
-- per row and user would cost more than the row; deleting an experiment removes its rows (functions/rules.sql).
create table ab.exposure (
    experiment_id integer not null,
    user_id text collate "C" not null,
    variant text not null,
    first_exposed_at timestamptz not null,
    event_id uuid not null,
    other_exposed_at timestamptz,
    is_multiple boolean not null generated always as (other_exposed_at is not null) stored,
    -- The user first: an event finds the user's few experiments, not the experiment's millions of users.
    primary key (user_id, experiment_id)
);

create index exposure_experiment_id_idx on ab.exposure (experiment_id);

comment on table ab.exposure is 'the arm each user counts in: that of the first exposure; one row per experiment and user';

comment on column ab.exposure.other_exposed_at is 'first exposure to another variant than the one the user counts in; kept so that a stop can take it back';

comment on column ab.exposure.is_multiple is 'exposed to more than one variant; the user stays in the arm of the first';

create table ab.unit_metric (
    experiment_id integer not null,
    metric_id integer not null,
    user_id text collate "C" not null,
    event_count bigint not null,
    total numeric not null,
    primary key (user_id, experiment_id, metric_id)
);

create index unit_metric_experiment_id_idx on ab.unit_metric (experiment_id);

comment on table ab.unit_metric is 'each exposed user''s metric since first exposure; users without events have no row';

comment on column ab.unit_metric.total is 'the user''s value: 1 for a conversion, the number of events for a count, the sum of their values for a sum';

create table ab.variant_statistic (
    experiment_id integer not null,
    variant text not null,
    units bigint not null,
    multiple_units bigint not null,
    primary key (experiment_id, variant)
);

comment on table ab.variant_statistic is 'exposed users per variant, and how many of them saw more than one';

create table ab.metric_statistic (
    experiment_id integer not null,
    metric_id integer not null,
    variant text not null,
    conversions bigint not null,
    total numeric not null,
    total_of_squares numeric not null,
    primary key (experiment_id, metric_id, variant)
);

comment on table ab.metric_statistic is 'exact sufficient statistics over users; users without events are zeros and need no row anywhere';

-- Up to where events are counted: every transaction below horizon, but not those listed (functions/rollup.sql).
create table ab_internal.rollup_cursor (
    only_row boolean primary key default true check (only_row),
    horizon bigint not null,
    in_progress bigint[] not null,
    ran_at timestamptz not null,
    events bigint not null default 0,
    duration interval not null default '0'
);

-- The last roll-up that failed. A table of its own, because the cursor is locked by whichever runs meanwhile.
create table ab_internal.rollup_error (
    only_row boolean primary key default true check (only_row),
    failed_at timestamptz not null,
    message text not null
);

-- The latest time of anything counted for an experiment, no earlier than it really is; and its stop, once counting heeds
-- it. When the stop was before that time, what came after it is taken back.
create table ab_internal.rollup_progress (
    experiment_id integer primary key,
    latest_event_at timestamptz not null,
    stopped_at timestamptz
);
