-- Rules that need more than one row. They bind functions and plain INSERT, UPDATE and DELETE alike, because both
-- pass through these triggers. Insertion is checked by constraints and by what one row says about itself, and against
-- tables that are restored before it: a restore inserts rows table by table, and no other rule on other tables can hold
-- half-way. So a plain INSERT may name segments, experiments and flags that do not exist (nobody is in them, nothing holds
-- of them); functions and UPDATE refuse that. Circles are refused at insertion too, because a part of what has none has none.
create or replace function ab_internal.next_phases(experiment_ids integer[], are_reweighted boolean)
    returns table (experiment_id integer, phase integer, traffic numeric, moved int4multirange, from_buckets integer[], to_buckets integer[], variants text[])
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    -- As in ab_internal.experiment_documents().
    set plan_cache_mode = force_generic_plan
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
    set jit = off
    as $$
#variable_conflict use_column
begin
    return query
    select
        x.experiment_id,
        coalesce(last.phase, 0) + 1,
        x.traffic,
        case when last.phase is null or not next_phases.are_reweighted then '{}' else int4multirange(int4range(0, 1000000)) - coalesce(kept.buckets, '{}') end,
        coalesce(laid.from_buckets, '{}'),
        coalesce(laid.to_buckets, '{}'),
        coalesce(laid.variants, '{}')
    from unnest(next_phases.experiment_ids) i (experiment_id)
    cross join lateral (select e.experiment_id, e.traffic from ab.experiment e where e.experiment_id = i.experiment_id offset 0) x
    cross join lateral (select max(p.phase) as phase from ab.phase p where p.experiment_id = x.experiment_id) last
    cross join lateral (
        select
            array_agg(v.variant::text order by v.variant_id) as variants,
            array_agg((v.weight * 1000000000)::bigint order by v.variant_id) as weights
        from ab.variant v
        where v.experiment_id = x.experiment_id
    ) arms
    cross join lateral (
        select
            coalesce(array_agg(r.from_bucket order by r.from_bucket), '{}') as from_buckets,
            coalesce(array_agg(r.to_bucket order by r.from_bucket), '{}') as to_buckets,
            coalesce(array_agg(array_position(arms.variants, r.variant::text) - 1 order by r.from_bucket), '{}') as variants
        from ab.variant_range r
        where r.experiment_id = x.experiment_id
            and r.phase = last.phase
    ) before
    cross join lateral (
        select
            array_agg(l.from_bucket order by l.from_bucket) as from_buckets,
            array_agg(l.to_bucket order by l.from_bucket) as to_buckets,
            array_agg(arms.variants[l.variant + 1] order by l.from_bucket) as variants
        from (
            select n.from_bucket, n.to_bucket, n.variant
            from ab_internal.layout(before.from_buckets, before.to_buckets, before.variants, arms.weights) n
            where next_phases.are_reweighted
                or last.phase is null
            union all
            -- Other traffic alone moves nobody, whatever weights have been written down for later.
            select o.from_bucket, o.to_bucket, o.variant
            from unnest(before.from_buckets, before.to_buckets, before.variants) o (from_bucket, to_bucket, variant)
            where not next_phases.are_reweighted
        ) l
    ) laid
    cross join lateral (
        select range_agg(int4range(greatest(r.from_bucket, l.from_bucket), least(r.to_bucket, l.to_bucket))) as buckets
        from unnest(before.from_buckets, before.to_buckets, before.variants) r (from_bucket, to_bucket, variant)
        join unnest(laid.from_buckets, laid.to_buckets, laid.variants) l (from_bucket, to_bucket, variant)
            on l.variant = arms.variants[r.variant + 1] and r.from_bucket < l.to_bucket and l.from_bucket < r.to_bucket
    ) kept;
end
$$;

comment on function ab_internal.next_phases(integer[], boolean) is 'the phases that these experiments would begin now, by their traffic and, where they are re-weighted or begin, by their weights, with the buckets that change hands and who owns which';

create or replace function ab_internal.open_phases(experiment_ids integer[], are_reweighted boolean)
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- One at a time: whoever waits here sees the phase and the weights of whoever came first.
    perform from ab.experiment x where x.experiment_id = any (open_phases.experiment_ids) order by x.experiment_id for no key update;
    with next as materialized (
        select n.* from ab_internal.next_phases(open_phases.experiment_ids, open_phases.are_reweighted) n
    ),
    opened as (
        insert into ab.phase (experiment_id, phase, traffic, reason, moved)
        select n.experiment_id, n.phase, n.traffic, nullif(current_setting('ab_internal.reason', true), ''), n.moved
        from next n
    )
    insert into ab.variant_range (experiment_id, phase, from_bucket, to_bucket, variant)
    select n.experiment_id, n.phase, r.from_bucket, r.to_bucket, r.variant
    from next n
    cross join lateral unnest(n.from_buckets, n.to_buckets, n.variants) r (from_bucket, to_bucket, variant);
end
$$;

comment on function ab_internal.open_phases(integer[], boolean) is 'begins a phase of each experiment with its traffic and weights as they are now, for the reason that the transaction has set';

create or replace function ab_internal.session_role()
    returns name
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select coalesce(nullif(current_setting('role'), 'none'), session_user)::name
$$;

comment on function ab_internal.session_role() is 'the role that the session speaks as, also within functions that run with the owner''s rights';

create or replace function ab_internal.widest_traffic(before numeric, traffic numeric, schedule jsonb)
    returns numeric
    language sql
    immutable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
    select greatest($1, $2, max((s.step ->> 'percent')::numeric))
    from jsonb_array_elements($3) s (step)
$$;

comment on function ab_internal.widest_traffic(numeric, numeric, jsonb) is 'the greatest percentage of an experiment, which was this before, now that its traffic and its schedule are these';

create or replace function ab_internal.experiment_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    variants integer;
    limited_to record;
begin
    if tg_op = 'DELETE' then
        if old.status in ('running', 'paused') then
            perform ab_internal.raise('wrong_status', format('experiment "%s" is %s and cannot be deleted', old.experiment, old.status),
                'stop it first with ab_stop()');
        end if;
        return old;
    end if;
    if new.layer_id is not null then
        select l.layer, l.workspace_id, l.unit into limited_to from ab.layer l where l.layer_id = new.layer_id;
        if limited_to.workspace_id <> coalesce(new.workspace_id, limited_to.workspace_id) or limited_to.unit is distinct from new.unit then
            perform ab_internal.raise('unit_mismatch', format('holdout "%s" and layer "%s" assign different units', new.experiment, limited_to.layer),
                'give the holdout the unit of the layer');
        end if;
    end if;
    if tg_op = 'INSERT' then
        new.workspace_id := coalesce(new.workspace_id, ab_internal.workspace_id());
        new.salt := coalesce(new.salt, new.experiment);
        new.is_sticky := coalesce(new.is_sticky, false) or new.kind = 'bandit';
        perform ab_internal.check_rule(format('targeting of experiment "%s"', new.experiment), new.targeting::text) where new.targeting is not null;
        perform ab_internal.check_prerequisites(format('experiment "%s"', new.experiment), new.prerequisites::text) where new.prerequisites <> '[]';
        perform ab_internal.check_schedule(format('experiment "%s"', new.experiment), new.schedule::text) where new.schedule <> '[]';
        perform ab_internal.complete_analysis(format('experiment "%s"', new.experiment), new.analysis);
        new.widest_traffic := ab_internal.widest_traffic(new.widest_traffic, new.traffic, new.schedule);
        return new;
    end if;
    if (new.experiment_id, new.workspace_id, new.experiment) is distinct from (old.experiment_id, old.workspace_id, old.experiment)
        or (old.started_at is not null and (new.salt, new.started_at) is distinct from (old.salt, old.started_at))
        or (old.stopped_at is not null and new.stopped_at is distinct from old.stopped_at) then
        perform ab_internal.raise('immutable', format('experiment "%s" cannot change its key, nor its salt and dates of start and stop once they are past', old.experiment),
            'create another experiment');
    end if;
    if old.status <> 'draft' and (new.kind, new.unit, new.is_sticky, new.layer_id) is distinct from (old.kind, old.unit, old.is_sticky, old.layer_id) then
        perform ab_internal.raise('immutable', format('experiment "%s" has started and cannot change its kind, its unit or whether it is sticky', old.experiment),
            'create another experiment');
    end if;
    if new.unit is distinct from old.unit and exists (select from ab.layer_slice s where s.experiment_id = old.experiment_id) then
        perform ab_internal.raise('unit_mismatch', format('experiment "%s" is in a layer and cannot change its unit', old.experiment),
            'delete its rows of ab.layer_slice first');
    end if;
    if new.targeting is distinct from old.targeting then
        perform ab_internal.check_rule(format('targeting of experiment "%s"', new.experiment), new.targeting::text) where new.targeting is not null;
        perform ab_internal.check_segments(new.workspace_id, format('targeting of experiment "%s"', new.experiment), new.targeting);
    end if;
    if new.prerequisites is distinct from old.prerequisites then
        perform ab_internal.check_prerequisites(format('experiment "%s"', new.experiment), new.prerequisites::text) where new.prerequisites <> '[]';
        perform ab_internal.check_required(new.workspace_id, format('experiment "%s"', new.experiment), new.prerequisites, '[]');
        perform ab_internal.check_wanted(new.workspace_id, format('experiment "%s"', new.experiment), new.prerequisites);
    end if;
    if new.schedule is distinct from old.schedule and new.schedule <> '[]' then
        perform ab_internal.check_schedule(format('experiment "%s"', new.experiment), new.schedule::text);
    end if;
    if new.analysis is distinct from old.analysis then
        if old.status <> 'draft' then
            perform ab_internal.raise('wrong_status', format('experiment "%s" has started: its analysis is fixed', old.experiment),
                'error rates hold only for what was decided before; create another experiment');
        end if;
        perform ab_internal.complete_analysis(format('experiment "%s"', new.experiment), new.analysis);
        new.analysis_version := old.analysis_version + 1;
    else
        new.analysis_version := old.analysis_version;
    end if;
    if new.ends_at is distinct from old.ends_at and old.status <> 'draft' and old.analysis ->> 'mode' = 'group_sequential' then
        perform ab_internal.raise('wrong_status', format('experiment "%s" has started: its ends_at is a planned look and fixed', old.experiment),
            'stop it with ab_stop() if it must end before');
    end if;
    if new.kind = 'bandit' then
        new.is_sticky := true;
    end if;
    if new.shipped_variant is distinct from old.shipped_variant and new.shipped_variant is not null then
        if not exists (select from ab.variant v where v.experiment_id = new.experiment_id and v.variant = new.shipped_variant) then
            perform ab_internal.raise('variant_not_found', format('experiment "%s" has no variant "%s" to ship', new.experiment, new.shipped_variant), 'name one of its variants');
        end if;
        if new.status <> 'stopped' then
            perform ab_internal.raise('wrong_status', format('experiment "%s" is %s and ships nothing', new.experiment, new.status), 'only a stopped experiment can ship a variant');
        end if;
    end if;
    if new.status is distinct from old.status then
        if (old.status, new.status) not in (('draft', 'running'), ('running', 'paused'), ('paused', 'running'), ('running', 'stopped'), ('paused', 'stopped')) then
            perform ab_internal.raise('wrong_status', format('experiment "%s" is %s and cannot become %s', old.experiment, old.status, new.status),
                'a draft can be started, a running experiment paused or stopped, a paused one resumed or stopped');
        end if;
        if old.status = 'draft' then
            select count(*) into variants from ab.variant v where v.experiment_id = new.experiment_id;
            if variants < 2 then
                perform ab_internal.raise('invalid_variants', format('experiment "%s" has %s variant(s) and cannot start', old.experiment, variants),
                    'insert at least two rows into ab.variant');
            end if;
            new.started_at := clock_timestamp();
        elsif new.status = 'stopped' then
            new.stopped_at := clock_timestamp();
        end if;
    end if;
    new.widest_traffic := ab_internal.widest_traffic(case when old.status <> 'draft' then old.widest_traffic end, new.traffic, new.schedule);
    return new;
end
$$;

comment on function ab_internal.experiment_before() is 'completes a new experiment, and holds changes to the life an experiment can have';

create or replace trigger experiment_before
    before insert or update or delete on ab.experiment
    for each row
    execute function ab_internal.experiment_before();

create or replace function ab_internal.experiment_after()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    reallocated integer[];
    started integer[];
    stopped integer[];
begin
    select
        array_agg(n.experiment_id order by n.experiment_id) filter (where (o.status = 'draft' and n.status = 'running') or (n.status in ('running', 'paused') and n.traffic <> o.traffic)),
        array_agg(n.experiment_id) filter (where o.status = 'draft' and n.status = 'running' and n.kind <> 'holdout'),
        array_agg(n.experiment_id) filter (where o.status <> 'stopped' and n.status = 'stopped')
    into reallocated, started, stopped
    from new_row n
    join old_row o using (experiment_id);
    if reallocated is not null then
        perform ab_internal.open_phases(reallocated, false);
    end if;
    if started is not null and exists (select from ab.experiment h where h.kind = 'holdout' and h.status = 'running') then
        insert into ab.holdout_experiment (holdout_id, experiment_id)
        select h.experiment_id, x.experiment_id
        from ab.experiment x
        join ab.experiment h on h.workspace_id = x.workspace_id
        where x.experiment_id = any (started)
            and h.kind = 'holdout'
            and h.status = 'running'
            and clock_timestamp() >= coalesce(h.starts_at, '-infinity')
            and clock_timestamp() < coalesce(h.ends_at, 'infinity')
            and h.unit is not distinct from x.unit
            and (h.layer_id is null or h.layer_id in (select s.layer_id from ab.layer_slice s where s.experiment_id = x.experiment_id))
        on conflict do nothing;
    end if;
    if stopped is not null then
        delete from ab.layer_slice s where s.experiment_id = any (stopped);
    end if;
    return null;
end
$$;

comment on function ab_internal.experiment_after() is 'dates every change of allocation, binds what starts to the holdouts in force, and frees the layers of what stops';

create or replace trigger experiment_after
    after update on ab.experiment
    referencing old table as old_row new table as new_row
    for each statement
    execute function ab_internal.experiment_after();

create or replace function ab_internal.experiment_deleted()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.forget_experiment(old.experiment_id);
    delete from ab.sticky_assignment s where s.experiment_id = old.experiment_id;
    return null;
end
$$;

comment on function ab_internal.experiment_deleted() is 'clears up after a deleted experiment';

create or replace trigger experiment_gone
    after delete on ab.experiment
    for each row
    execute function ab_internal.experiment_deleted();

create or replace function ab_internal.prerequisites_changed()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.lock_configuration(c.workspace_id) from (select distinct n.workspace_id from new_row n order by n.workspace_id) c;
    if tg_table_name = 'experiment' then
        perform ab_internal.check_prerequisite_cycle(c.workspace_id, 'experiment', c.keys)
        from (select n.workspace_id, array_agg(n.experiment::text) as keys from new_row n where n.prerequisites <> '[]' group by n.workspace_id) c;
    else
        perform ab_internal.check_prerequisite_cycle(c.workspace_id, 'flag', c.keys)
        from (select n.workspace_id, array_agg(n.flag::text) as keys from new_row n where n.prerequisites <> '[]' or n.rules <> '[]' group by n.workspace_id) c;
    end if;
    return null;
end
$$;

comment on function ab_internal.prerequisites_changed() is 'refuses experiments and flags that wait for each other for ever';

create or replace trigger experiment_prerequisites_inserted
    after insert on ab.experiment
    referencing new table as new_row
    for each statement
    execute function ab_internal.prerequisites_changed();

create or replace trigger experiment_prerequisites_updated
    after update on ab.experiment
    referencing new table as new_row
    for each statement
    execute function ab_internal.prerequisites_changed();

create or replace trigger flag_prerequisites_inserted
    after insert on ab.flag
    referencing new table as new_row
    for each statement
    execute function ab_internal.prerequisites_changed();

create or replace trigger flag_prerequisites_updated
    after update on ab.flag
    referencing new table as new_row
    for each statement
    execute function ab_internal.prerequisites_changed();

create or replace function ab_internal.variant_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
declare
    owner_row record;
begin
    if tg_op = 'DELETE' then
        -- Before its status is looked at: a start that is under way counts the variants first.
        perform from ab.experiment x where x.experiment_id = old.experiment_id for no key update;
    end if;
    select x.experiment, x.status into owner_row from ab.experiment x where x.experiment_id = old.experiment_id;
    -- No row: the experiment itself is being deleted.
    if found and owner_row.status <> 'draft' and (tg_op = 'DELETE'
        or (new.variant_id, new.experiment_id, new.variant) is distinct from (old.variant_id, old.experiment_id, old.variant)) then
        perform ab_internal.raise('immutable', format('variant "%s" of experiment "%s" is fixed because the experiment has started', old.variant, owner_row.experiment),
            'give it a small weight, or create another experiment');
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function ab_internal.variant_before() is 'keeps the variants that users have been given';

create or replace trigger variant_before
    before update or delete on ab.variant
    for each row
    execute function ab_internal.variant_before();

create or replace function ab_internal.variant_weight_after()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    perform ab_internal.open_phases(c.experiment_ids, true)
    from (
        select array_agg(distinct n.experiment_id) as experiment_ids
        from new_row n
        join old_row o using (variant_id)
        join ab.experiment x on x.experiment_id = n.experiment_id
        where n.weight <> o.weight
            and x.status in ('running', 'paused')
    ) c
    where c.experiment_ids is not null;
    return null;
end
$$;

comment on function ab_internal.variant_weight_after() is 'opens one phase for all weights that a statement changes';

create or replace trigger variant_weight_after
    after update on ab.variant
    referencing old table as old_row new table as new_row
    for each statement
    execute function ab_internal.variant_weight_after();

create or replace function ab_internal.metric_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        new.workspace_id := coalesce(new.workspace_id, ab_internal.workspace_id());
    elsif (new.metric_id, new.workspace_id) is distinct from (old.metric_id, old.workspace_id)
        and exists (select from ab.experiment_metric m where m.metric_id = old.metric_id) then
        perform ab_internal.raise('immutable', format('metric "%s" cannot change its workspace because experiments use it', old.metric),
            'create another metric and add that');
    elsif (new.cap, new.covariate_window, new.lower_is_better) is distinct from (old.cap, old.covariate_window, old.lower_is_better) then
        perform ab_internal.raise('wrong_status', format('metric "%s" judges experiment "%s", which is running: its cap, covariate_window and lower_is_better are fixed', old.metric, x.experiment),
            'create another metric and add that in the role exploratory')
        from ab.experiment_metric m
        join ab.experiment x using (experiment_id)
        where m.metric_id = old.metric_id
            and m.role <> 'exploratory'
            and x.kind <> 'holdout'
            and x.status in ('running', 'paused');
    end if;
    perform ab_internal.check_filter(format('filter of metric "%s"', new.metric), f.filter)
    from unnest(array[new.filter, new.denominator_filter]) f (filter)
    where f.filter is not null;
    return new;
end
$$;

comment on function ab_internal.metric_before() is 'completes a new metric and checks its filters';

create or replace trigger metric_before
    before insert or update on ab.metric
    for each row
    execute function ab_internal.metric_before();

create or replace function ab_internal.metric_after()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    -- What had been counted until now no longer is what the metric says: ab_rollup() counts all of it anew.
    if (new.event_name, new.kind, new.filter, new.value_property, new.window_start, new.window_end, new.covariate_window, new.cap, new.numerator, new.denominator,
            new.denominator_event_name, new.denominator_filter, new.denominator_value_property)
        is distinct from (old.event_name, old.kind, old.filter, old.value_property, old.window_start, old.window_end, old.covariate_window, old.cap, old.numerator, old.denominator,
            old.denominator_event_name, old.denominator_filter, old.denominator_value_property) then
        perform ab_internal.check_units(m.experiment_id) from ab.experiment_metric m where m.metric_id = new.metric_id;
        -- What was seen was of another metric; the alpha is spent all the same.
        update ab.look l
        set is_crossed = false
        from ab.experiment_metric m
        where m.metric_id = new.metric_id
            and m.role = 'primary'
            and l.experiment_id = m.experiment_id;
        update ab.experiment_metric m set is_counted = false where m.metric_id = new.metric_id;
    end if;
    return null;
end
$$;

comment on function ab_internal.metric_after() is 'has a metric that changed counted anew wherever it is used';

create or replace trigger metric_after
    after update on ab.metric
    for each row
    execute function ab_internal.metric_after();

create or replace function ab_internal.experiment_metric_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'INSERT' then
        new.workspace_id := coalesce(new.workspace_id, (select x.workspace_id from ab.experiment x where x.experiment_id = new.experiment_id));
        -- Holdouts start as they are created. What a dump brings back was added at another time.
        if new.added_at = now() and new.role in ('primary', 'secondary')
            and exists (select from ab.experiment x where x.experiment_id = new.experiment_id and x.started_at is not null and x.kind <> 'holdout') then
            perform ab_internal.raise('wrong_status', format('experiment "%s" has started: its primary and secondary metrics are fixed', x.experiment),
                'add the metric in the role exploratory or guardrail')
            from ab.experiment x
            where x.experiment_id = new.experiment_id;
        end if;
        -- Not what a dump brings back, which has been counted. The lock is the one against which ab_maintain() expires users.
        if not new.is_counted then
            perform from ab.experiment x where x.experiment_id = new.experiment_id for key share;
            perform ab_internal.check_units(new.experiment_id);
        end if;
        return new;
    elsif tg_op = 'UPDATE' then
        if (new.workspace_id, new.experiment_id, new.metric_id) is distinct from (old.workspace_id, old.experiment_id, old.metric_id) then
            perform ab_internal.raise('immutable', 'a metric that an experiment has cannot be exchanged for another', 'delete the row and insert another');
        end if;
        if (new.role, new.margin) is distinct from (old.role, old.margin) then
            perform ab_internal.raise('wrong_status', format('experiment "%s" has started: what its metrics are for is fixed', x.experiment),
                'error rates hold only for what was decided before; create another experiment')
            from ab.experiment x
            where x.experiment_id = new.experiment_id
                and x.started_at is not null;
        end if;
        return new;
    end if;
    if old.role <> 'exploratory' then
        perform ab_internal.raise('wrong_status', format('experiment "%s" is running: the metrics that it is judged by are fixed', x.experiment),
            'stop the experiment first; only exploratory metrics can be taken off before')
        from ab.experiment x
        where x.experiment_id = old.experiment_id
            and x.kind <> 'holdout'
            -- A guardrail that was added later is no part of the plan.
            and x.started_at > old.added_at
            and x.status in ('running', 'paused');
    end if;
    perform ab_internal.delete_units(old.experiment_id, array[old.metric_id]);
    delete from ab.metric_statistic s where s.experiment_id = old.experiment_id and s.metric_id = old.metric_id;
    delete from ab.activity s where s.experiment_id = old.experiment_id and s.metric_id = old.metric_id;
    delete from ab_internal.expired_daily_result s where s.experiment_id = old.experiment_id and s.metric_id = old.metric_id;
    return old;
end
$$;

comment on function ab_internal.experiment_metric_before() is 'completes a new row, keeps what it joins, and clears up after a deleted one';

create or replace trigger experiment_metric_before
    before insert or update or delete on ab.experiment_metric
    for each row
    execute function ab_internal.experiment_metric_before();

create or replace function ab_internal.workspace_before()
    returns trigger
    language plpgsql
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
begin
    if tg_op = 'UPDATE' and (new.workspace_id, new.workspace) is distinct from (old.workspace_id, old.workspace) then
        perform ab_internal.raise('immutable', format('workspace "%s" cannot change its name, by which gateways and sessions know it', old.workspace),
            'create another workspace');
    end if;
    if new.excluded is not null and (tg_op = 'INSERT' or new.excluded is distinct from old.excluded) then
        perform ab_internal.check_rule(format('exclusion of workspace "%s"', new.workspace), new.excluded::text);
        if tg_op = 'UPDATE' then
            perform ab_internal.check_segments(new.workspace_id, format('exclusion of workspace "%s"', new.workspace), new.excluded);
        end if;
    end if;
    return new;
end
$$;

comment on function ab_internal.workspace_before() is 'keeps the name by which others know a workspace, and checks its rule';

create or replace trigger workspace_before
    before insert or update on ab.workspace
    for each row
    execute function ab_internal.workspace_before();
