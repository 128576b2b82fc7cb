-- Functions of the shared library that the tables themselves need; the rest is declared in functions/.
create function ab_internal.event_transaction()
    returns bigint
    language c
    volatile
    parallel unsafe
    as 'MODULE_PATHNAME',
    'event_transaction_wrapper';

comment on function ab_internal.event_transaction() is 'the calling top-level transaction: incarnation << 48 | 64-bit transaction id, where the incarnation counts the clusters this database has lived in, so that ids stay ascending across dump and restore';

create function ab_internal.is_unit(unit text)
    returns boolean
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'is_unit_wrapper';

comment on function ab_internal.is_unit(text) is 'whether that can name the attribute of the context that an experiment assigns by';

-- Empty for ever. Invalidating its relation cache entry is the signal that configuration has changed: PostgreSQL
-- carries it to every backend, standbys included, exactly when the change commits.
create table ab_internal.config_signal (
);

-- Which clusters this database has lived in. Written by the first event after CREATE EXTENSION or after a restore. The
-- origin is the cluster's system identifier and the OID of config_signal: a physical copy of a cluster has the same
-- identifier and a life of its own, but every restore makes the relation anew.
create table ab_internal.incarnation (
    incarnation smallint primary key,
    origin text not null unique
);
