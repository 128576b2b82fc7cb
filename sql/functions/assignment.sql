-- Who sees what, from the backend's cache of compiled experiments (extension/src/assignment.rs).
create or replace function @extschema@.ab_bucket(salt text, user_id text)
    returns integer
    language c
    strict
    immutable
    parallel safe
    as 'MODULE_PATHNAME',
    'ab_bucket_wrapper';

comment on function @extschema@.ab_bucket(text, text) is $$The bucket, 0 to 999,999, of a user under a salt: XXH64 of salt || ':' || user_id with seed 0, unsigned, modulo 1,000,000.

The variant of a user is the owner, in ab.variant_range, of the bucket under the experiment's salt followed by ':variant'.

Example: SELECT ab_bucket('checkout_test:variant', 'user_123');$$;

create or replace function @extschema@.ab_assign(user_id text, experiment text)
    returns text
    language c
    strict
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_assign_wrapper';

comment on function @extschema@.ab_assign(text, text) is $$The variant of a user in an experiment, or NULL: serve the default. Records nothing and never raises; ab_assign_reason() says why.

Example: SELECT ab_assign('user_123', 'checkout_button');$$;

create or replace function @extschema@.ab_assign(user_id bigint, experiment text)
    returns text
    language c
    strict
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_assign_bigint_wrapper';

comment on function @extschema@.ab_assign(bigint, text) is $$As ab_assign() of the number's decimal text.

Example: SELECT ab_assign(123, 'checkout_button');$$;

create or replace function @extschema@.ab_assign(user_id uuid, experiment text)
    returns text
    language c
    strict
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_assign_uuid_wrapper';

comment on function @extschema@.ab_assign(uuid, text) is $$As ab_assign() of the UUID's text in lower case with hyphens.

Example: SELECT ab_assign('0190163d-8694-739b-aea5-966c26f8ad91'::uuid, 'checkout_button');$$;

create or replace function @extschema@.ab_assign_reason(user_id text, experiment text)
    returns text
    language c
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_assign_reason_wrapper';

comment on function @extschema@.ab_assign_reason(text, text) is $$Why ab_assign() answers as it does: not_found, not_running (status or dates), no_unit (no usable user id), traffic (outside the share of users who take part) or split (the variant owns the user's bucket).

Example: SELECT ab_assign_reason('user_123', 'checkout_button');$$;

create or replace function @extschema@.ab_expose(user_id text, experiment text)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    assigned text := @extschema@.ab_assign(ab_expose.user_id, ab_expose.experiment);
    workspace integer;
    wanted integer;
    known record;
begin
    if assigned is null then
        return null;
    end if;
    select x.workspace_id, x.experiment_id into workspace, wanted
    from ab.experiment x
    join ab.workspace w using (workspace_id)
    where w.workspace = coalesce(nullif(current_setting('ab.workspace', true), ''), 'default')
        and x.experiment = ab_expose.experiment;
    select x.variant, x.is_multiple into known
    from ab.exposure x
    where x.experiment_id = wanted
        and x.user_id = ab_expose.user_id;
    if found and (known.variant = assigned or known.is_multiple) then
        return assigned;
    end if;
    -- Not rolled up yet, perhaps of this very transaction.
    if exists (
        select from ab.event_exposure e
        where e.workspace_id = workspace
            and e.user_id = ab_expose.user_id
            and e.experiment_id = wanted
            and e.variant = assigned
    ) or exists (
        select from ab.event_overflow e
        where e.workspace_id = workspace
            and e.user_id = ab_expose.user_id
            and e.experiment_id = wanted
            and e.variant = assigned
            and e.event_type = 'exposure'
    ) then
        return assigned;
    end if;
    perform @extschema@.ab_track(ab_expose.user_id, 'exposure', event_type => 'exposure', experiment => ab_expose.experiment, variant => assigned);
    return assigned;
end
$$;

comment on function @extschema@.ab_expose(text, text) is $$The variant of a user in an experiment, and the exposure recorded in the caller's transaction: it commits or rolls back with it.

Call it where the user meets the experiment. The first time wins; calling again writes nothing. NULL, and nothing recorded, where ab_assign() gives NULL.

Example: SELECT ab_expose('user_123', 'checkout_button');$$;

create or replace function @extschema@.ab_expose(user_id bigint, experiment text)
    returns text
    language sql
    volatile
    parallel unsafe
    as $$
    select @extschema@.ab_expose(user_id::pg_catalog.text, experiment)
$$;

comment on function @extschema@.ab_expose(bigint, text) is $$As ab_expose() of the number's decimal text.

Example: SELECT ab_expose(123, 'checkout_button');$$;

create or replace function @extschema@.ab_expose(user_id uuid, experiment text)
    returns text
    language sql
    volatile
    parallel unsafe
    as $$
    select @extschema@.ab_expose(user_id::pg_catalog.text, experiment)
$$;

comment on function @extschema@.ab_expose(uuid, text) is $$As ab_expose() of the UUID's text in lower case with hyphens.

Example: SELECT ab_expose('0190163d-8694-739b-aea5-966c26f8ad91'::uuid, 'checkout_button');$$;
