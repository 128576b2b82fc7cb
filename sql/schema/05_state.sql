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
    dimensions jsonb,
    phase integer not null default 1,
    -- The user first: an event finds the user's few experiments, not the experiment's millions of users.
    primary key (user_id, experiment_id)
);

create index exposure_experiment_id_idx on ab.exposure (experiment_id);

comment on table ab.exposure is 'the arm each user counts in: that of the first exposure; one row per experiment and user';

comment on column ab.exposure.other_exposed_at is 'first exposure to another variant than the one the user counts in; kept so that a stop can take it back';

comment on column ab.exposure.is_multiple is 'exposed to more than one variant; the user stays in the arm of the first';

comment on column ab.exposure.phase is 'the phase in force when the user was first exposed';

comment on column ab.exposure.dimensions is 'what the first exposure said of country, platform, device and the attributes in ab.experiment.dimensions; NULL where it said nothing';

-- Rows are updated in place for as long as a page has room: an event of a user who has a row costs no index entry. There is no
-- index by experiment: its users are in ab.exposure, and lead here by the key.
create table ab.unit_metric (
    experiment_id integer not null,
    metric_id integer not null,
    event_count bigint not null,
    user_id text collate "C" not null,
    total numeric not null,
    denominator numeric,
    covariate numeric,
    covariate_denominator numeric,
    days date[],
    covariate_days date[],
    decided_at timestamptz,
    covariate_decided_at timestamptz,
    decided_by uuid,
    covariate_decided_by uuid,
    primary key (user_id, experiment_id, metric_id)
)
with (fillfactor = 80);

comment on table ab.unit_metric is 'each exposed user''s metric since first exposure, and in the time before it; users without events have no row';

comment on column ab.unit_metric.event_count is 'events that were counted, of a ratio those of its numerator';

comment on column ab.unit_metric.total is 'the user''s value before it is capped: 1 for a conversion or retention, the number of events for a count, the sum of their values for a sum or the numerator of a ratio, the number of days for unique_days, the value of one event for first and last';

comment on column ab.unit_metric.denominator is 'the other half of a ratio';

comment on column ab.unit_metric.covariate is 'what total would have been in the metric''s covariate_window before first exposure; NULL where nothing happened then';

comment on column ab.unit_metric.days is 'the days, in UTC, of unique_days';

comment on column ab.unit_metric.decided_at is 'time of the event that first or last took its value from; decided_by is its id';

create table ab.variant_statistic (
    experiment_id integer not null,
    variant text not null,
    units bigint not null,
    multiple_units bigint not null,
    primary key (experiment_id, variant)
)
with (fillfactor = 50);

comment on table ab.variant_statistic is 'exposed users per variant, and how many of them saw more than one';

create table ab.phase_statistic (
    experiment_id integer not null,
    phase integer not null,
    variant text not null,
    units bigint not null,
    primary key (experiment_id, phase, variant)
)
with (fillfactor = 50);

comment on table ab.phase_statistic is 'the same users by the phase they were first exposed in, by whose weights they must have been split';

-- With y for a user's total, z for the denominator, u and w for what they were before first exposure: all sums and all
-- sums of products, so that means, ratios and regressions on the past need no look at users.
create table ab.metric_statistic (
    experiment_id integer not null,
    metric_id integer not null,
    variant text not null,
    conversions bigint not null,
    covariate_units bigint not null,
    capped_units bigint not null,
    uncapped_total numeric not null,
    total numeric not null,
    denominator numeric not null,
    covariate numeric not null,
    covariate_denominator numeric not null,
    total_of_squares numeric not null,
    denominator_of_squares numeric not null,
    covariate_of_squares numeric not null,
    covariate_denominator_of_squares numeric not null,
    total_denominator numeric not null,
    total_covariate numeric not null,
    total_covariate_denominator numeric not null,
    denominator_covariate numeric not null,
    denominator_covariate_denominator numeric not null,
    covariate_covariate_denominator numeric not null,
    primary key (experiment_id, metric_id, variant)
)
with (fillfactor = 50);

comment on table ab.metric_statistic is 'exact sufficient statistics over users; users without events are zeros and need no row anywhere';

comment on column ab.metric_statistic.conversions is 'users with at least one event';

comment on column ab.metric_statistic.covariate_units is 'users with at least one event in the time before first exposure';

comment on column ab.metric_statistic.total is 'sum of users'' values, each capped as the metric says; uncapped_total is the sum without that, capped_units how many were capped';

comment on column ab.metric_statistic.total_of_squares is 'sum of their squares; the columns named after two others are sums of those two''s products';

-- What results are made of, whether for all users or for some of them: one variant's part of metric_statistic.
create type ab_internal.arm as (
    variant_id integer,
    variant text,
    is_control boolean,
    units bigint,
    sums ab.metric_statistic
);

create table ab.look (
    experiment_id integer not null references ab.experiment on delete cascade,
    look integer not null,
    variant text not null,
    looked_at timestamptz not null default clock_timestamp(),
    units bigint not null,
    information double precision not null,
    alpha_spent double precision not null,
    z_bound double precision not null,
    p_bound double precision not null,
    diff double precision,
    p_value double precision,
    is_crossed boolean not null,
    primary key (experiment_id, look, variant)
);

comment on table ab.look is 'the looks that ab_rollup() took at experiments analysed in mode group_sequential, of each treatment: at which share of the planned users (information), and whether the p-value of the primary metric was below the bound, with its difference as it was then';

-- Minutes, hours and days of the same events side by side, so that each can be kept for as long as it is of use.
create table ab.activity (
    experiment_id integer not null,
    variant text not null,
    metric_id integer not null,
    resolution text not null,
    began_at timestamptz not null,
    events bigint not null,
    total numeric not null,
    primary key (experiment_id, resolution, began_at, metric_id, variant),
    constraint activity_resolution_check check (resolution in ('minute', 'hour', 'day'))
)
with (fillfactor = 50);

comment on table ab.activity is 'how many events were counted in which variant, by the minute, hour and day (UTC) they happened in; for live charts, read through ab.minute_activity and the others';

comment on column ab.activity.metric_id is '0 for exposures';

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

-- When the refresh of the materialized views began that was the last, and how long it took.
create table ab_internal.result_refresh (
    result name primary key,
    refreshed_at timestamptz not null,
    duration interval not null default '0'
);

-- The latest time of anything counted for an experiment, no earlier than it really is; and its stop, once counting heeds
-- it. When the stop was before that time, what came after it is taken back.
create table ab_internal.rollup_progress (
    experiment_id integer primary key,
    latest_event_at timestamptz not null,
    stopped_at timestamptz,
    -- When ab_maintain() deleted its users' rows. Since then nothing is counted for it.
    units_expired_at timestamptz
);

-- What ab.daily_result says of experiments whose users' rows are gone.
create table ab_internal.expired_daily_result (
    experiment_id integer not null,
    metric_id integer not null,
    variant text not null,
    dimension text not null,
    value text not null,
    day date not null,
    units bigint not null,
    conversions bigint not null,
    total numeric not null,
    denominator numeric not null,
    total_of_squares numeric not null,
    denominator_of_squares numeric not null,
    total_denominator numeric not null,
    primary key (experiment_id, metric_id, variant, dimension, value, day)
);
