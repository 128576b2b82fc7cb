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

create or replace function @extschema@.ab_assign(user_id text, experiment text, context jsonb)
    returns text
    language c
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_assign_wrapper';

comment on function @extschema@.ab_assign(text, text, jsonb) is $$As ab_assign() of two arguments, with what is known about the user: the attributes that rules and units name.

Example: SELECT ab_assign('user_123', 'checkout_button', '{"country": "DE", "plan": {"name": "pro"}}');$$;

create or replace function @extschema@.ab_assign(user_id bigint, experiment text, context jsonb)
    returns text
    language c
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_assign_bigint_wrapper';

comment on function @extschema@.ab_assign(bigint, text, jsonb) is $$As ab_assign() of the number's decimal text.

Example: SELECT ab_assign(123, 'checkout_button', '{"country": "DE"}');$$;

create or replace function @extschema@.ab_assign(user_id uuid, experiment text, context jsonb)
    returns text
    language c
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_assign_uuid_wrapper';

comment on function @extschema@.ab_assign(uuid, text, jsonb) is $$As ab_assign() of the UUID's text in lower case with hyphens.

Example: SELECT ab_assign('0190163d-8694-739b-aea5-966c26f8ad91'::uuid, 'checkout_button', '{"country": "DE"}');$$;

create or replace function @extschema@.ab_assign_reason(user_id text, experiment text, context jsonb default '{}')
    returns text
    language c
    stable
    parallel safe
    cost 100
    as 'MODULE_PATHNAME',
    'ab_assign_reason_wrapper';

comment on function @extschema@.ab_assign_reason(text, text, jsonb) is $$Why ab_assign() answers as it does: the first of these that applies.

No variant: not_found, opted_out, not_running (status or dates), no_unit (no usable user id, or the unit's attribute is missing), excluded (bots and internal traffic), prerequisite, not_targeted, holdout, layer, traffic (outside the share of users who take part).
A variant: override, shipped (what a stopped experiment left), sticky (the one first exposed to), split (the owner of the user's bucket).

Example: SELECT ab_assign_reason('user_123', 'checkout_button');$$;

create or replace function ab_internal.assign_all(user_id text, context jsonb)
    returns table (experiment text, variant text, config text)
    language c
    stable
    parallel safe
    cost 10000
    as 'MODULE_PATHNAME',
    'assign_all_wrapper';

comment on function ab_internal.assign_all(text, jsonb) is 'every experiment that gives the user a variant';

create or replace function @extschema@.ab_assign_all(user_id text, context jsonb default '{}')
    returns table (experiment text, variant text, config jsonb)
    language sql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
    select a.experiment, a.variant, a.config::jsonb
    from ab_internal.assign_all(ab_assign_all.user_id, ab_assign_all.context) a
$$;

comment on function @extschema@.ab_assign_all(text, jsonb) is $$Every experiment of the workspace that gives the user a variant, with the variant and its config. Records nothing.

Example: SELECT * FROM ab_assign_all('user_123', '{"country": "DE"}');$$;

create or replace function @extschema@.ab_explain(user_id text, experiment_or_flag text, context jsonb default '{}')
    returns table (step text, outcome text, detail text)
    language c
    stable
    parallel safe
    cost 10000
    as 'MODULE_PATHNAME',
    'ab_explain_wrapper';

comment on function @extschema@.ab_explain(text, text, jsonb) is $$How the answer for a user in an experiment, or of a flag, comes about: every step of the decision in order.

Example: SELECT * FROM ab_explain('user_123', 'checkout_button', '{"country": "DE"}');$$;

create or replace function @extschema@.ab_as_of(at timestamptz, user_id text, experiment text, context jsonb default '{}')
    returns table (variant text, reason text, note text)
    language c
    stable
    parallel safe
    cost 10000
    as 'MODULE_PATHNAME',
    'ab_as_of_wrapper';

comment on function @extschema@.ab_as_of(timestamptz, text, text, jsonb) is $$What ab_assign() would have answered at that time, and why. Exact for rules, phases, schedules and first variants; the note says so where it depends on who was in a segment then, which is not kept. At infinity it is asked of the configuration as it is now, when all dates are past.

Example: SELECT * FROM ab_as_of(now() - interval '1 minute', 'user_123', 'checkout_button');$$;

create or replace function @extschema@.ab_expose(user_id text, experiment text, context jsonb default '{}')
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_variable
declare
    answer text;
    shown record;
    home integer;
    wanted integer;
    given text;
    known record;
    chosen text[];
begin
    for shown in
        select * from ab_internal.exposures(user_id, experiment, coalesce(context, '{}'))
    loop
        answer := coalesce(answer, shown.answer);
        continue when shown.experiment is null or shown.variant is null;
        select x.workspace_id, x.experiment_id, x.dimensions into home, wanted, chosen
        from ab.experiment x
        join ab.workspace w using (workspace_id)
        where w.workspace = coalesce(nullif(current_setting('ab.workspace', true), ''), 'default')
            and x.experiment = shown.experiment;
        given := shown.variant;
        if shown.is_sticky then
            -- Two sessions may have been given different variants: whoever writes first decides for both.
            insert into ab.sticky_assignment (experiment_id, user_id, variant)
            values (wanted, shown.unit_id, given)
            on conflict do nothing;
            if not found then
                given := coalesce((select a.variant from ab.sticky_assignment a where a.experiment_id = wanted and a.user_id = shown.unit_id), given);
            end if;
            if shown.experiment = experiment then
                answer := given;
            end if;
        end if;
        select e.variant, e.is_multiple into known
        from ab.exposure e
        where e.experiment_id = wanted
            and e.user_id = shown.unit_id;
        continue when found and (known.variant = given or known.is_multiple);
        -- Not rolled up yet, perhaps of this very transaction.
        continue when exists (
            select from ab.event_exposure e
            where e.workspace_id = home
                and e.user_id = shown.unit_id
                and e.experiment_id = wanted
                and e.variant = given
        ) or exists (
            select from ab.event_overflow e
            where e.workspace_id = home
                and e.user_id = shown.unit_id
                and e.experiment_id = wanted
                and e.variant = given
                and e.event_type = 'exposure'
        );
        perform @extschema@.ab_track(shown.unit_id, 'exposure', event_type => 'exposure', experiment => shown.experiment, variant => given,
            properties => ab_internal.event_dimensions(context, chosen));
    end loop;
    return answer;
end
$$;

comment on function @extschema@.ab_expose(text, text, jsonb) is $$The variant of a user in an experiment, and the exposure recorded in the caller's transaction: it commits or rolls back with it.

Call it where the user meets the experiment. What the context says of country, platform, device and the experiment's dimensions is recorded with it. The first time wins; calling again writes nothing. NULL, and nothing recorded, where ab_assign() gives NULL; a user whom a holdout keeps out is recorded there.

Example: SELECT ab_expose('user_123', 'checkout_button', '{"country": "DE"}');$$;

create or replace function @extschema@.ab_expose(user_id bigint, experiment text, context jsonb default '{}')
    returns text
    language sql
    volatile
    parallel unsafe
    as $$
    select @extschema@.ab_expose(user_id::pg_catalog.text, experiment, context)
$$;

comment on function @extschema@.ab_expose(bigint, text, jsonb) is $$As ab_expose() of the number's decimal text.

Example: SELECT ab_expose(123, 'checkout_button');$$;

create or replace function @extschema@.ab_expose(user_id uuid, experiment text, context jsonb default '{}')
    returns text
    language sql
    volatile
    parallel unsafe
    as $$
    select @extschema@.ab_expose(user_id::pg_catalog.text, experiment, context)
$$;

comment on function @extschema@.ab_expose(uuid, text, jsonb) is $$As ab_expose() of the UUID's text in lower case with hyphens.

Example: SELECT ab_expose('0190163d-8694-739b-aea5-966c26f8ad91'::uuid, 'checkout_button');$$;
