-- Who is given a variant whatever else holds, for tests. Overridden users are answered and never counted.
create or replace function ab_internal.override_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if new.segment_id is not null and (select s.workspace_id from ab.segment s where s.segment_id = new.segment_id)
        is distinct from (select x.workspace_id from ab.experiment x where x.experiment_id = new.experiment_id) then
        perform ab_internal.raise('segment_not_found', format('segment number %s does not exist in the workspace of the experiment', new.segment_id),
            'name a segment of the same workspace');
    end if;
    return new;
end
$$;

comment on function ab_internal.override_before() is 'keeps overrides within their workspace';

create or replace trigger override_before
    before insert or update on ab.override
    for each row
    execute function ab_internal.override_before();

create or replace function ab_internal.check_override(user_id text, segment text)
    returns void
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if (check_override.user_id is null) = (check_override.segment is null) then
        perform ab_internal.raise('invalid_argument', 'an override is for one user or for one segment', 'give user_id or segment');
    end if;
    if octet_length(check_override.user_id) not between 1 and 512 then
        perform ab_internal.raise('invalid_user_id', 'the user id of an override is empty or too long', 'use 1 to 512 bytes');
    end if;
end
$$;

comment on function ab_internal.check_override(text, text) is 'raises unless exactly one of them is given and can be used';

create or replace function @extschema@.ab_override(experiment text, variant text, user_id text default null, segment text default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    overridden constant ab.experiment := ab_internal.locked_experiment(ab_override.experiment);
begin
    perform ab_internal.check_override(ab_override.user_id, ab_override.segment);
    if overridden.kind = 'holdout' then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" is a holdout: whom it holds out goes by the bucket alone', overridden.experiment),
            'override the experiments that the user is to see');
    end if;
    perform ab_internal.check_variant(overridden.experiment_id, ab_override.variant);
    if ab_override.user_id is not null then
        insert into ab.override (experiment_id, user_id, variant)
        values (overridden.experiment_id, ab_override.user_id, ab_override.variant)
        on conflict on constraint override_experiment_id_user_id_key do update set variant = excluded.variant;
    else
        insert into ab.override (experiment_id, segment_id, variant)
        values (overridden.experiment_id, ab_internal.segment_id(ab_override.segment), ab_override.variant)
        on conflict on constraint override_experiment_id_segment_id_key do update set variant = excluded.variant;
    end if;
end
$$;

comment on function @extschema@.ab_override(text, text, text, text) is $$Gives a user, or everybody in a segment, a variant whatever else holds, also while the experiment is a draft or paused; for tests.

Users come before segments, and segments in the order in which they were written. Nothing is recorded of overridden users.
Errors: invalid_argument, invalid_user_id (22023), experiment_not_found, variant_not_found, segment_not_found (42704).

Example: SELECT ab_override('checkout_button', 'green', user_id => 'tester_1');$$;

create or replace function @extschema@.ab_remove_override(experiment text, user_id text default null, segment text default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    overridden constant ab.experiment := ab_internal.locked_experiment(ab_remove_override.experiment);
begin
    perform ab_internal.check_override(ab_remove_override.user_id, ab_remove_override.segment);
    delete from ab.override o
    where o.experiment_id = overridden.experiment_id
        and (o.user_id = ab_remove_override.user_id
            or o.segment_id = case when ab_remove_override.segment is not null then ab_internal.segment_id(ab_remove_override.segment) end);
end
$$;

comment on function @extschema@.ab_remove_override(text, text, text) is $$Takes an override back; nothing happens where there is none.

Errors: invalid_argument, invalid_user_id (22023), experiment_not_found, segment_not_found (42704).

Example: SELECT ab_remove_override('checkout_button', user_id => 'tester_1');$$;
