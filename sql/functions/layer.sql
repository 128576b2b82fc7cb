-- Layers: a million buckets divided among experiments, so that no user is in two of them.
create or replace function ab_internal.layer_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        new.workspace_id := coalesce(new.workspace_id, ab_internal.workspace_id());
        new.salt := coalesce(new.salt, new.layer);
    elsif (new.layer_id, new.workspace_id, new.layer, new.salt, new.unit) is distinct from (old.layer_id, old.workspace_id, old.layer, old.salt, old.unit) then
        perform ab_internal.raise('immutable', format('layer "%s" cannot change its key, its salt or its unit, by which users are divided', old.layer),
            'create another layer');
    end if;
    return new;
end
$$;

comment on function ab_internal.layer_before() is 'completes a new layer, and keeps what divides its users';

create or replace trigger layer_before
    before insert or update on ab.layer
    for each row
    execute function ab_internal.layer_before();

create or replace function ab_internal.layer_slice_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    place record;
    owner_row record;
    other text;
begin
    if tg_op <> 'INSERT' then
        select x.experiment, x.status into owner_row from ab.experiment x where x.experiment_id = old.experiment_id;
        -- No row: the experiment itself is being deleted.
        if found and owner_row.status in ('running', 'paused')
            and (tg_op = 'DELETE' or new.layer_id <> old.layer_id or new.experiment_id <> old.experiment_id
                or new.from_bucket > old.from_bucket or new.to_bucket < old.to_bucket) then
            perform ab_internal.raise('immutable', format('experiment "%s" is %s, and its share of a layer may only grow', owner_row.experiment, owner_row.status),
                'stop it first, which frees its buckets');
        end if;
        if tg_op = 'DELETE' then
            return old;
        end if;
    end if;
    select l.layer, l.workspace_id, l.unit into place from ab.layer l where l.layer_id = new.layer_id;
    select x.experiment, x.workspace_id, x.unit, x.kind, x.status into owner_row from ab.experiment x where x.experiment_id = new.experiment_id;
    -- Without one of them the foreign key speaks.
    if place.layer is null or owner_row.experiment is null then
        return new;
    end if;
    perform ab_internal.lock_configuration(place.workspace_id);
    if place.workspace_id <> owner_row.workspace_id then
        perform ab_internal.raise('layer_not_found', format('layer "%s" is in workspace "%s" and experiment "%s" in "%s"', place.layer, l.workspace, owner_row.experiment, x.workspace),
            'name a layer of the experiment''s workspace')
        from ab.workspace l, ab.workspace x
        where l.workspace_id = place.workspace_id
            and x.workspace_id = owner_row.workspace_id;
    end if;
    if place.unit is distinct from owner_row.unit then
        perform ab_internal.raise('unit_mismatch', format('experiment "%s" is assigned by %s and layer "%s" by %s', owner_row.experiment,
                coalesce('"' || owner_row.unit || '"', 'the user''s id'), place.layer, coalesce('"' || place.unit || '"', 'the user''s id')),
            'give both the same unit');
    end if;
    if owner_row.kind = 'holdout' or owner_row.status = 'stopped' then
        perform ab_internal.raise('wrong_status', format('experiment "%s" is a holdout or stopped and cannot be in a layer', owner_row.experiment),
            'limit a holdout to a layer when you create it');
    end if;
    select l.layer into other
    from ab.layer_slice s
    join ab.layer l using (layer_id)
    where s.experiment_id = new.experiment_id
        and s.layer_id <> new.layer_id
        and (tg_op = 'INSERT' or (s.layer_id, s.from_bucket) <> (old.layer_id, old.from_bucket));
    if found then
        perform ab_internal.raise('wrong_status', format('experiment "%s" is in layer "%s" already', owner_row.experiment, other), 'an experiment is in one layer at most');
    end if;
    select x.experiment into other
    from ab.layer_slice s
    join ab.experiment x using (experiment_id)
    where s.layer_id = new.layer_id
        and s.from_bucket < new.to_bucket
        and new.from_bucket < s.to_bucket
        and (tg_op = 'INSERT' or (s.layer_id, s.from_bucket) <> (old.layer_id, old.from_bucket))
    order by s.from_bucket
    limit 1;
    if found then
        perform ab_internal.raise('slice_taken', format('buckets of %s to %s of layer "%s" belong to experiment "%s"', new.from_bucket, new.to_bucket, place.layer, other),
            'choose other buckets, or give a percentage and let them be found');
    end if;
    return new;
end
$$;

comment on function ab_internal.layer_slice_before() is 'keeps slices apart, and those of running experiments from shrinking';

create or replace trigger layer_slice_before
    before insert or update or delete on ab.layer_slice
    for each row
    execute function ab_internal.layer_slice_before();

create or replace function ab_internal.layer_id(layer text)
    returns integer
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted text := coalesce(nullif(current_setting('ab.workspace', true), ''), 'default');
    found_id integer;
begin
    select l.layer_id into found_id
    from ab.layer l
    join ab.workspace w using (workspace_id)
    where w.workspace = wanted
        and l.layer = layer_id.layer;
    if found_id is null then
        perform ab_internal.raise('layer_not_found', format('layer "%s" does not exist in workspace "%s"', coalesce(left(layer_id.layer, 64), 'NULL'), wanted),
            'create it first with ab_create_layer()');
    end if;
    return found_id;
end
$$;

comment on function ab_internal.layer_id(text) is 'id of a layer of the session''s workspace';

create or replace function @extschema@.ab_create_layer(layer text, unit text default null, salt text default null, description text default null)
    returns text
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    workspace constant integer := ab_internal.workspace_id();
begin
    perform ab_internal.check_key('layer', ab_create_layer.layer);
    perform ab_internal.check_key('salt', coalesce(ab_create_layer.salt, ab_create_layer.layer));
    perform ab_internal.check_unit(ab_create_layer.unit);
    perform ab_internal.lock_configuration(workspace);
    insert into ab.layer (workspace_id, layer, salt, unit, description)
    values (workspace, ab_create_layer.layer, coalesce(ab_create_layer.salt, ab_create_layer.layer), ab_create_layer.unit, ab_create_layer.description)
    on conflict on constraint layer_workspace_id_layer_key do nothing;
    if not found then
        perform ab_internal.raise('layer_exists', format('layer "%s" exists already', ab_create_layer.layer), 'choose another key');
    end if;
    return ab_create_layer.layer;
end
$$;

comment on function @extschema@.ab_create_layer(text, text, text, text) is $$Creates a layer, whose users ab_join_layer() divides among experiments, and returns its key.

unit: the attribute of the context that all its experiments are assigned by, instead of the user's id.
Errors: invalid_key, invalid_argument (22023), layer_exists (23505).

Example: SELECT ab_create_layer('pricing');$$;

create or replace function ab_internal.check_unit(unit text)
    returns void
    language plpgsql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if not ab_internal.is_unit(check_unit.unit) then
        perform ab_internal.raise('invalid_argument', format('unit "%s" is no attribute of the context', left(check_unit.unit, 64)), 'name one, such as account.id, or leave it out to assign by the user''s own id');
    end if;
end
$$;

comment on function ab_internal.check_unit(text) is 'raises unless the text can name an attribute; null names none';

create or replace function ab_internal.join_layer(experiment_id integer, layer_id integer, percent numeric)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    wanted integer := round(join_layer.percent * 10000);
    gap record;
    taken integer;
begin
    wanted := wanted - coalesce((select sum(s.to_bucket - s.from_bucket) from ab.layer_slice s where s.experiment_id = join_layer.experiment_id and s.layer_id = join_layer.layer_id), 0);
    if wanted < 0 and (select x.status from ab.experiment x where x.experiment_id = join_layer.experiment_id) = 'draft' then
        -- Nobody has it yet.
        delete from ab.layer_slice s where s.experiment_id = join_layer.experiment_id and s.layer_id = join_layer.layer_id;
        wanted := round(join_layer.percent * 10000);
    elsif wanted < 0 then
        perform ab_internal.raise('immutable', format('experiment "%s" owns more of layer "%s" than that, and a share may only grow', x.experiment, l.layer), 'give a larger percentage')
        from ab.experiment x, ab.layer l
        where x.experiment_id = join_layer.experiment_id
            and l.layer_id = join_layer.layer_id;
    end if;
    for gap in
        select lower(f.free) as from_bucket, upper(f.free) as to_bucket
        from unnest(int4multirange(int4range(0, 1000000)) - coalesce((
            select range_agg(int4range(s.from_bucket, s.to_bucket)) from ab.layer_slice s where s.layer_id = join_layer.layer_id
        ), '{}')) f (free)
        order by f.free
    loop
        exit when wanted = 0;
        taken := least(wanted, gap.to_bucket - gap.from_bucket);
        -- Next to what the experiment has, so that it stays one slice.
        update ab.layer_slice s
        set to_bucket = gap.from_bucket + taken
        where s.layer_id = join_layer.layer_id
            and s.experiment_id = join_layer.experiment_id
            and s.to_bucket = gap.from_bucket;
        if not found then
            insert into ab.layer_slice (layer_id, experiment_id, from_bucket, to_bucket)
            values (join_layer.layer_id, join_layer.experiment_id, gap.from_bucket, gap.from_bucket + taken);
        end if;
        wanted := wanted - taken;
    end loop;
    if wanted > 0 then
        perform ab_internal.raise('slice_taken', format('layer "%s" has too few free buckets: %s are missing', l.layer, wanted), 'give a smaller percentage, or stop another experiment of the layer')
        from ab.layer l
        where l.layer_id = join_layer.layer_id;
    end if;
end
$$;

comment on function ab_internal.join_layer(integer, integer, numeric) is 'lets an experiment own that share of a layer, in the lowest free buckets';

create or replace function @extschema@.ab_join_layer(experiment text, layer text, percent numeric default null, from_bucket integer default null, to_bucket integer default null)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    joining constant ab.experiment := ab_internal.locked_experiment(ab_join_layer.experiment);
    wanted constant integer := ab_internal.layer_id(ab_join_layer.layer);
begin
    if (ab_join_layer.percent is null) = (ab_join_layer.from_bucket is null)
        or (ab_join_layer.from_bucket is null) <> (ab_join_layer.to_bucket is null)
        or (ab_join_layer.percent is not null and not (round(ab_join_layer.percent, 4) > 0 and ab_join_layer.percent <= 100))
        or (ab_join_layer.from_bucket is not null and not (0 <= ab_join_layer.from_bucket and ab_join_layer.from_bucket < ab_join_layer.to_bucket and ab_join_layer.to_bucket <= 1000000)) then
        perform ab_internal.raise('invalid_argument', format('the share of layer "%s" is not one', ab_join_layer.layer),
            'give a percentage of at least 0.0001, or from_bucket and to_bucket between 0 and 1,000,000');
    end if;
    if joining.status in ('running', 'paused') and not exists (select from ab.layer_slice s where s.experiment_id = joining.experiment_id) then
        perform ab_internal.raise('wrong_status', format('experiment "%s" is %s and would lose users by joining a layer', joining.experiment, joining.status),
            'join before the start');
    end if;
    if ab_join_layer.percent is not null then
        perform ab_internal.join_layer(joining.experiment_id, wanted, ab_join_layer.percent);
    else
        insert into ab.layer_slice (layer_id, experiment_id, from_bucket, to_bucket)
        values (wanted, joining.experiment_id, ab_join_layer.from_bucket, ab_join_layer.to_bucket);
    end if;
end
$$;

comment on function @extschema@.ab_join_layer(text, text, numeric, integer, integer) is $$Gives an experiment buckets of a layer of its own: nobody is in two experiments of a layer.

percent: so much of the layer in all, in the lowest free buckets; an experiment that is in it already grows. Or from_bucket up to but not including to_bucket.
A draft can join; after the start its share may only grow, and is free again when it stops.
Errors: invalid_argument, unit_mismatch (22023), experiment_not_found, layer_not_found (42704), slice_taken, immutable, wrong_status (55000).

Example: SELECT ab_create_experiment('annual_price'); SELECT ab_join_layer('annual_price', 'pricing', 20);$$;
