-- Raw events for other consumers, by logical replication (docs/adr/0012-publication.md).
create or replace function @extschema@.ab_create_publication()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- A consumer copies one table after the other: nothing should move between them meanwhile.
    perform ab_internal.make_partitions();
    if exists (select from pg_publication p where p.pubname = 'ab_events' and not pg_has_role(p.pubowner, 'usage')) then
        perform ab_internal.raise('publication_taken', format('publication ab_events belongs to %s', (select p.pubowner::regrole from pg_publication p where p.pubname = 'ab_events')),
            'drop it, or give it to the owner of the extension');
    end if;
    if exists (select from pg_publication p where p.pubname = 'ab_events') then
        alter publication ab_events set (publish = 'insert', publish_via_partition_root = true);
    else
        create publication ab_events with (publish = 'insert', publish_via_partition_root = true);
    end if;
    -- Also where it exists: with the extension its tables went out of it.
    alter publication ab_events set table ab.event_exposure, ab.event_conversion, ab.event_other, ab.event_overflow;
end
$$;

comment on function @extschema@.ab_create_publication() is $$Makes the publication ab_events, or puts it right: every event that is stored from then on, once, in one of the tables ab.event_exposure, ab.event_conversion, ab.event_other and ab.event_overflow, whatever becomes of its partition.

Only what is inserted is published, so consumers keep what ab_maintain() drops here. The server needs wal_level = logical. It runs with the rights of the extension's owner, who needs CREATE on the database unless a superuser.
Errors: publication_taken (55000) where a publication of that name is somebody else's.

Example: SELECT ab_create_publication();$$;
