-- Multi-armed bandits: weights that follow what has been counted.
create or replace function @extschema@.ab_rebalance(experiment text)
    returns table (variant text, weight numeric)
    language plpgsql
    volatile
    parallel unsafe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    changed constant ab.experiment := ab_internal.locked_experiment(ab_rebalance.experiment);
    measured record;
    counted record;
    weights double precision[];
begin
    if changed.kind <> 'bandit' then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" is no bandit', changed.experiment), 'create it with kind => ''bandit'', or use ab_set_weights()');
    end if;
    if changed.status <> 'running' then
        perform ab_internal.raise('wrong_status', format('experiment "%s" is %s', changed.experiment, changed.status), 'only a running bandit can be rebalanced');
    end if;
    select m.metric_id, d.metric, d.kind into measured
    from ab.experiment_metric m
    join ab.metric d using (metric_id)
    where m.experiment_id = changed.experiment_id
        and m.is_primary;
    if not found then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" has no primary metric', changed.experiment), 'give it one with ab_add_metric(…, is_primary => true)');
    end if;
    begin
        select
            array_agg(v.variant::text order by v.variant_id) as variants,
            array_agg(coalesce(s.units, 0) order by v.variant_id) as units,
            array_agg(coalesce(case measured.kind when 'conversion' then m.conversions else m.total end, 0)::double precision order by v.variant_id) as totals,
            array_agg(coalesce(case measured.kind when 'conversion' then m.conversions else m.total_of_squares end, 0)::double precision order by v.variant_id) as squares
        into counted
        from ab.variant v
        left join ab.variant_statistic s on s.experiment_id = v.experiment_id and s.variant = v.variant
        left join ab.metric_statistic m on m.experiment_id = v.experiment_id and m.variant = v.variant and m.metric_id = measured.metric_id
        where v.experiment_id = changed.experiment_id;
        if 0 < any (counted.units) then
            weights := ab_internal.thompson_weights(
                case measured.kind when 'conversion' then 'beta' else 'normal' end, counted.units, counted.totals, counted.squares,
                least(changed.minimum_share / 100, 1.0 / cardinality(counted.units))::double precision,
                -- The same counts give the same weights, and another phase other draws.
                changed.experiment_id::bigint << 32 | (select coalesce(max(p.phase), 0) + 1 from ab.phase p where p.experiment_id = changed.experiment_id));
        end if;
    exception
        -- Sums are kept exactly, and weights are reckoned in floating point.
        when numeric_value_out_of_range then
            weights := array['NaN'];
    end;
    if 'NaN' = any (weights) then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" cannot be rebalanced by metric "%s": its values are too large to reckon with', changed.experiment, measured.metric),
            'track values whose squares add up to less than 1e308, or set the weights with ab_set_weights()');
    end if;
    if weights is not null then
        perform set_config('ab_internal.reason', 'rebalanced', true);
        update ab.variant v
        set weight = greatest(round((weights[array_position(counted.variants, v.variant::text)] * 100)::numeric, 6), 0.000001)
        where v.experiment_id = changed.experiment_id;
        perform set_config('ab_internal.reason', '', true);
    end if;
    return query
    select v.variant::text, v.weight::numeric
    from ab.variant v
    where v.experiment_id = changed.experiment_id
    order by v.variant_id;
end
$$;

comment on function @extschema@.ab_rebalance(text) is $$Moves the weights of a bandit towards the variants that do best on its primary metric, by Thompson sampling on what ab_rollup() has counted, and returns the weights.

Each variant keeps the experiment's minimum share. It begins a phase like any change of weights; while nothing has been counted the weights stay as they are. Call it from a scheduler, every hour say.
Errors: experiment_not_found (42704), invalid_argument (22023), wrong_status (55000).

Example: SELECT ab_create_metric('signups', 'signup'); SELECT ab_create_experiment('headline', kind => 'bandit', primary_metric => 'signups'); SELECT ab_start('headline'); SELECT * FROM ab_rebalance('headline');$$;
