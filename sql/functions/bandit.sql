-- Multi-armed bandits: weights that follow what has been counted; the mathematics is in core/src/statistics/bandit.rs.
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
    is_vast boolean := false;
begin
    if changed.kind <> 'bandit' then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" is no bandit', changed.experiment), 'create it with kind => ''bandit'', or use ab_set_weights()');
    end if;
    if changed.status <> 'running' then
        perform ab_internal.raise('wrong_status', format('experiment "%s" is %s', changed.experiment, changed.status), 'only a running bandit can be rebalanced');
    end if;
    select m.metric_id, d.metric, d.kind, case when d.lower_is_better then -1 else 1 end as sign into measured
    from ab.experiment_metric m
    join ab.metric d using (metric_id)
    where m.experiment_id = changed.experiment_id
        and m.role = 'primary';
    if not found then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" has no primary metric', changed.experiment), 'give it one with ab_add_metric(…, role => ''primary'')');
    end if;
    begin
        select
            array_agg(v.variant::text order by v.variant_id) as variants,
            array_agg(coalesce(s.units, 0) order by v.variant_id) as units,
            -- Where less is better, who did not convert is what counts, and values with the other sign.
            array_agg(
                case
                    when measured.kind = 'conversion' and measured.sign < 0 then coalesce(s.units, 0) - coalesce(m.conversions, 0)
                    else measured.sign * coalesce(case measured.kind when 'conversion' then m.conversions else m.total end, 0)
                end::double precision
                order by v.variant_id
            ) as totals,
            array_agg(coalesce(case measured.kind when 'conversion' then m.conversions else m.total_of_squares end, 0)::double precision order by v.variant_id) as squares
        into counted
        from ab.variant v
        left join ab.variant_statistic s on s.experiment_id = v.experiment_id and s.variant = v.variant
        left join ab.metric_statistic m on m.experiment_id = v.experiment_id and m.variant = v.variant and m.metric_id = measured.metric_id
        where v.experiment_id = changed.experiment_id;
        if 0 < any (counted.units) then
            weights := ab_internal.thompson_weights(
                case measured.kind when 'conversion' then 'beta' else 'normal' end, counted.units, counted.totals, counted.squares,
                (changed.minimum_share / 100)::double precision);
            is_vast := weights is null;
        end if;
    exception
        -- Sums are kept exactly, and weights are reckoned in floating point.
        when numeric_value_out_of_range then
            is_vast := true;
    end;
    if is_vast then
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

comment on function @extschema@.ab_rebalance(text) is $$Moves the weights of a bandit towards the variants that do best on its primary metric, by Thompson sampling on what ab_rollup() has counted, and returns the weights: each is the chance that the variant is the best.

Each variant keeps the experiment's minimum share. Until every variant has 100 users and, where the metric is a conversion, 5 conversions, all get the same weight; so they do while all users of a variant have the same value. It begins a phase like any change of
weights; while nothing has been counted the weights stay as they are. The same counts give the same weights. Call it from a scheduler, every hour say.
Errors: experiment_not_found (42704), invalid_argument (22023), wrong_status (55000).

Example: SELECT ab_create_metric('signups', 'signup'); SELECT ab_create_experiment('headline', kind => 'bandit', primary_metric => 'signups'); SELECT ab_start('headline'); SELECT * FROM ab_rebalance('headline');$$;

create or replace function @extschema@.ab_bandit(
    n bigint[],
    mean double precision[],
    var double precision[],
    algorithm text default 'thompson',
    floor double precision default 0.05,
    maximize boolean default true,
    prior_mean double precision default 0,
    prior_sd double precision default null
)
    returns table (
        arm integer,
        post_mean double precision,
        post_sd double precision,
        prob_best double precision,
        expected_loss double precision,
        weight double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 5
    as 'MODULE_PATHNAME',
    'ab_bandit_wrapper';

comment on function @extschema@.ab_bandit(bigint[], double precision[], double precision[], text, double precision, boolean, double precision, double precision) is $$What share of the users to come each arm of a bandit deserves, from users, means and sample variances (n - 1) of up to 100 arms, a row each.

algorithm: thompson (the chance to be the best) or top_two (half of it to whoever would lead without the leader: the best arm is known sooner). floor: the least weight. maximize: false where less is better. prior_mean, prior_sd: what was believed of each arm's mean; without prior_sd nothing was.
expected_loss: how much worse than the best arm it is on average. Until every arm has 100 users and a variance the weights are equal (note burn_in, zero_variance). The same numbers give the same weights: nothing is drawn.
Errors: invalid_argument (22023).

Example: SELECT arm, prob_best, weight FROM ab_bandit('{1000, 1000, 1000}', '{10, 10.4, 9.8}', '{25, 26, 24}');$$;

create or replace function @extschema@.ab_bandit_estimate(
    period integer[],
    arm integer[],
    n bigint[],
    mean double precision[],
    variance double precision[]
)
    returns table (
        arm integer,
        n bigint,
        estimate double precision,
        se double precision,
        periods integer,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    rows 5
    as 'MODULE_PATHNAME',
    'ab_bandit_estimate_wrapper';

comment on function @extschema@.ab_bandit_estimate(integer[], integer[], bigint[], double precision[], double precision[]) is $$What the arms of a bandit come to, a row each, from users, mean and sample variance (n - 1) of each arm in each period of constant weights.

Totals over weights that moved compare one variant's good days with another's bad ones; here every period counts alike for all arms. Differences of estimates, with the root of the sum of the squares of se, go to ab_bayes or ab_sequential. Periods in which an arm has fewer than two users are
put together with the next (note strata_merged); periods: how many are left. Where the numbers allow no answer the columns are NULL and note says why.
Errors: invalid_argument (22023).

Example: SELECT arm, estimate, se FROM ab_bandit_estimate('{1, 1, 2, 2}', '{1, 2, 1, 2}', '{500, 500, 100, 900}', '{10, 11, 12, 13}', '{25, 25, 25, 25}');$$;
