-- What those who hold a copy of the configuration read.
create table ab.configuration (
    workspace_id integer not null references ab.workspace on delete cascade,
    kind text not null
        constraint configuration_kind_check check (kind in ('workspace', 'experiment', 'flag', 'segment')),
    key ab.key not null,
    version bigint not null,
    changed_at timestamptz not null default clock_timestamp(),
    changed_by text not null default session_user,
    document jsonb,
    primary key (workspace_id, kind, key, version)
);

create index configuration_version_idx on ab.configuration (workspace_id, version);

comment on table ab.configuration is 'every state of every experiment, flag, segment and workspace that was ever in force, written by the extension; the greatest version of a key is the current one';

comment on column ab.configuration.version is 'version of the workspace''s configuration that brought this state';

comment on column ab.configuration.document is 'the state as the engine reads it; NULL: deleted';

-- The version of a workspace's configuration: raised once by each transaction that changes it, and never a sequence,
-- because a sequence would name a configuration before it is committed. Not dumped: a restored workspace starts at
-- the time of its restore in milliseconds, above every version that was ever published.
create table ab_internal.config_version (
    workspace_id integer primary key,
    version bigint not null,
    changed_in xid8 not null
);
