-- What many experiments say together: how great effects are, what they came to, whether they disturb each other, what to test.
create or replace function @extschema@.ab_lift_history(metric text)
    returns table (
        experiment text,
        variant text,
        started_at timestamptz,
        stopped_at timestamptz,
        units bigint,
        lift double precision,
        lift_se double precision,
        p_value double precision,
        shrunken_lift double precision,
        shrunken_se double precision,
        prior_sd double precision,
        shipped boolean,
        note text
    )
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $$
#variable_conflict use_column
declare
    wanted constant integer := ab_internal.metric_id(ab_lift_history.metric);
begin
    return query
    with past as (
        select
            r.experiment, r.variant, r.variant_id, x.started_at, x.stopped_at, c.units + r.units as units, r.lift,
            -- Delta method, as the lift's own noise: the control's mean is as uncertain as the treatment's.
            sqrt(r.variance / r.units + (1 + r.lift) * (1 + r.lift) * c.variance / c.units) / abs(c.mean) as lift_se,
            r.p_value,
            x.shipped_variant = r.variant as shipped
        from ab.experiment x
        -- Of each experiment by itself: a join would make the results of all there are.
        cross join lateral (select e.* from ab.experiment_results e where e.experiment_id = x.experiment_id and e.metric_id = wanted offset 0) r
        cross join lateral (select e.* from ab.experiment_results e where e.experiment_id = x.experiment_id and e.metric_id = wanted and e.is_control offset 0) c
        where not r.is_control
            and x.workspace_id = (select d.workspace_id from ab.metric d where d.metric_id = wanted)
            and x.experiment_id in (select m.experiment_id from ab.experiment_metric m where m.metric_id = wanted)
            and x.status = 'stopped'
            and x.kind = 'experiment'
            and r.lift is not null
            and r.units > 1
            and c.units > 1
    )
    select
        p.experiment, p.variant, p.started_at, p.stopped_at, p.units, p.lift, p.lift_se, p.p_value, s.shrunken, s.shrunken_se, o.prior_sd, coalesce(p.shipped, false), o.note
    from past p
    cross join (
        select f.prior_sd, f.note
        from (select array_agg(q.lift) as lifts, array_agg(q.lift_se) as errors from past q where q.lift_se > 0) a
        cross join lateral @extschema@.ab_prior(a.lifts, a.errors) f
    ) o
    left join lateral @extschema@.ab_shrink(p.lift, p.lift_se, o.prior_sd) s on p.lift_se > 0
    order by p.stopped_at, p.experiment, p.variant_id;
end
$$;

comment on function @extschema@.ab_lift_history(text) is $$What a metric's stopped experiments found, and what is left of it under the prior that they make together.

lift, lift_se: relative to control, with its standard error. prior_sd: how great true effects on this metric are, noise taken off (empirical Bayes); 0 where noise explains all. shrunken_lift: lift drawn towards none as far as it may be chance, with its own standard error. Great effects of small experiments shrink most: they were selected for being lucky. note: of the prior, rough with fewer than 20 effects and missing with fewer than two.
Errors: metric_not_found (42704).

Example: SELECT ab_create_metric('upgrades', 'upgrade'); SELECT experiment, variant, lift, shrunken_lift FROM ab_lift_history('upgrades');$$;

create or replace function @extschema@.ab_holdout_impact(holdout text)
    returns table (
        metric text,
        units bigint,
        holdout_units bigint,
        lift double precision,
        lift_low double precision,
        lift_high double precision,
        p_value double precision,
        detectable_lift double precision,
        shipped integer,
        summed_lift double precision,
        shrunken_lift double precision,
        shrunken_low double precision,
        shrunken_high double precision,
        note text
    )
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $$
#variable_conflict use_column
declare
    wanted constant integer := ab_internal.experiment_id(ab_holdout_impact.holdout);
begin
    if not exists (select from ab.experiment x where x.experiment_id = wanted and x.kind = 'holdout') then
        perform ab_internal.raise('invalid_argument', format('experiment "%s" is no holdout', ab_holdout_impact.holdout), 'name one made by ab_create_holdout()');
    end if;
    return query
    select
        r.metric, r.units, c.units, r.lift, r.lift_low, r.lift_high, r.p_value, e.mde_rel,
        l.shipped, l.summed, l.shrunken, l.shrunken - 1.959963984540054 * l.error, l.shrunken + 1.959963984540054 * l.error, r.note
    from ab.experiment_results r
    join ab.experiment_results c on c.experiment_id = wanted and c.metric_id = r.metric_id and c.is_control
    left join lateral @extschema@.ab_mde(c.units, sqrt(c.variance), r.units, sqrt(r.variance), c.mean) e on c.units > 1 and r.units > 1
    cross join lateral (
        select count(*)::integer as shipped, sum(h.lift) as summed, sum(h.shrunken_lift) as shrunken, sqrt(sum(h.shrunken_se * h.shrunken_se)) as error
        from @extschema@.ab_lift_history(r.metric) h
        join ab.experiment x on x.experiment = h.experiment and x.workspace_id = (select y.workspace_id from ab.experiment y where y.experiment_id = wanted)
        join ab.holdout_experiment b on b.holdout_id = wanted and b.experiment_id = x.experiment_id
        where h.shipped
    ) l
    where r.experiment_id = wanted
        and not r.is_control
    order by array_position(array['primary', 'secondary', 'guardrail', 'exploratory'], r.role), r.metric;
end
$$;

comment on function @extschema@.ab_holdout_impact(text) is $$What a programme came to as a whole, beside what its experiments promised: users of the programme against those held out, and the lifts of what was shipped from experiments that the holdout binds.

lift: of the programme over the holdout. detectable_lift: what the holdout has the power to see (80 %). summed_lift: the sum of the shipped variants' lifts, which promises too much, because winners are lucky. shrunken_lift: the sum of what is left of them under the prior of the metric's history, with its 95 % interval; compare that with lift.
Errors: experiment_not_found (42704), invalid_argument (22023).

Example: SELECT ab_create_metric('renewals', 'renew'); SELECT ab_create_holdout('programme_year', 5, primary_metric => 'renewals'); SELECT metric, lift, shrunken_lift FROM ab_holdout_impact('programme_year');$$;

create or replace function @extschema@.ab_interactions(experiment text, metric text default null)
    returns table (
        variant text,
        other_experiment text,
        other_variant text,
        users bigint,
        independence_p_value double precision,
        effect double precision,
        se double precision,
        p_value double precision,
        p_adjusted double precision,
        note text
    )
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $$
#variable_conflict use_column
declare
    wanted constant integer := ab_internal.experiment_id(ab_interactions.experiment);
    judged record;
begin
    select m.metric_id, d.metric, d.kind, d.cap into judged
    from ab.experiment_metric m
    join ab.metric d on d.metric_id = m.metric_id
    where m.experiment_id = wanted
        and case when ab_interactions.metric is null then m.role = 'primary' else d.metric = ab_interactions.metric end;
    if not found then
        perform ab_internal.raise('metric_not_found', format('experiment "%s" has no %s', ab_interactions.experiment, coalesce('metric "' || left(ab_interactions.metric, 64) || '"', 'primary metric')),
            'name one of its metrics');
    end if;
    if judged.kind = 'ratio' then
        perform ab_internal.raise('invalid_argument', format('metric "%s" is a ratio', judged.metric), 'scan for interactions by its numerator or another metric of one value per user');
    end if;
    perform ab_internal.check_units(wanted);
    return query
    with cell as (
        select
            a.variant as a, b.experiment_id as other, b.variant as b,
            count(*) as n,
            ab_internal.to_double(avg(least(coalesce(u.total, 0), judged.cap))) as mean,
            ab_internal.to_double(var_samp(least(coalesce(u.total, 0), judged.cap))) as variance
        from ab.exposure a
        join ab.exposure b on b.user_id = a.user_id and b.experiment_id <> a.experiment_id
        join ab.experiment y on y.experiment_id = b.experiment_id and y.status in ('running', 'paused') and y.kind <> 'holdout'
        left join ab.unit_metric u on u.user_id = a.user_id and u.experiment_id = a.experiment_id and u.metric_id = judged.metric_id
        where a.experiment_id = wanted
        group by a.variant, b.experiment_id, b.variant
    ),
    arm as (
        select
            v.experiment_id, v.variant::text as variant, v.variant_id,
            row_number() over (partition by v.experiment_id order by v.is_control desc, v.variant = 'control' desc, v.variant_id) = 1 as is_control
        from ab.variant v
    ),
    -- The four cells of a treatment of this experiment and one of the other: neither, the other one, this one, both.
    pair as (
        select
            t.variant, o.experiment_id as other, o.variant as other_variant,
            array_agg(coalesce(c.n, 0) order by k.place) as n,
            array_agg(case when c.n is null then 0 else c.mean end order by k.place) as mean,
            array_agg(case when c.n > 1 then c.variance else 0 end order by k.place) as variance
        from arm t
        join arm tc on tc.experiment_id = wanted and tc.is_control
        cross join (select distinct c.other from cell c) e
        join arm o on o.experiment_id = e.other and not o.is_control
        join arm oc on oc.experiment_id = e.other and oc.is_control
        cross join lateral (values (1, tc.variant, oc.variant), (2, tc.variant, o.variant), (3, t.variant, oc.variant), (4, t.variant, o.variant)) k (place, a, b)
        left join cell c on c.a = k.a and c.other = e.other and c.b = k.b
        where t.experiment_id = wanted
            and not t.is_control
        group by t.variant, o.experiment_id, o.variant
    ),
    tested as (
        select
            p.variant, x.experiment::text as other, p.other_variant, p.n[1] + p.n[2] + p.n[3] + p.n[4] as users,
            d.p_value as independence, i.effect, i.se, i.p_value, i.note
        from pair p
        join ab.experiment x on x.experiment_id = p.other
        cross join lateral @extschema@.ab_interaction(p.n, p.mean, p.variance) i
        -- Whether users of one variant are more often in one of the other: rows by this experiment, columns by the other.
        cross join lateral @extschema@.ab_chi2(array[p.n[1] + p.n[2], p.n[3] + p.n[4]], array[p.n[2], p.n[4]]) d
    )
    select
        t.variant, t.other, t.other_variant, t.users, t.independence, t.effect, t.se, t.p_value,
        (@extschema@.ab_adjust_pvalues(array_agg(t.p_value) over pairs, 'bh'))[row_number() over pairs],
        t.note
    from tested t
    window pairs as (order by t.other, t.variant, t.other_variant rows between unbounded preceding and unbounded following)
    order by t.p_value, t.other, t.variant, t.other_variant;
end
$$;

comment on function @extschema@.ab_interactions(text, text) is $$Whether other running experiments change an experiment's effect: for each of its treatments and each treatment of every other running experiment that shares users with it, how much greater the effect is for users who are in both.

metric: one of the experiment's, the primary one by default. independence_p_value: below 0.001 being in one variant depends on the other experiment, and neither can be trusted. effect: the difference of differences, in the metric's unit. p_adjusted: by Benjamini and Hochberg over all pairs; interactions are rare, and four cells have a quarter of the information of the whole. It reads the rows of all users of the experiment and their other experiments.
Errors: experiment_not_found, metric_not_found (42704), invalid_argument (22023) for a ratio, units_expired (55000).

Example: SELECT ab_create_metric('invites', 'invite'); SELECT ab_create_experiment('invite_box', primary_metric => 'invites'); SELECT other_experiment, effect, p_adjusted FROM ab_interactions('invite_box');$$;

create or replace function @extschema@.ab_suggest_next(max_units bigint default 200000)
    returns table (kind text, subject text, score double precision, reason text)
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $$
#variable_conflict use_column
declare
    own constant integer := ab_internal.workspace_id();
begin
    if ab_suggest_next.max_units is null or ab_suggest_next.max_units < 0 then
        perform ab_internal.raise('invalid_argument', format('max_units is %s', coalesce(ab_suggest_next.max_units::text, 'NULL')), 'give the users of the greatest experiment to look into for segments, 0 for none');
    end if;
    return query
    -- Metrics whose effects are greater than what an experiment of the usual size can find.
    select 'metric', h.metric, h.prior_sd / h.detectable,
        format('effects on %s have varied by %s, and an experiment of the usual %s users finds %s', h.metric, ltrim(ab_internal.percent(h.prior_sd), '+'), h.usual, ltrim(ab_internal.percent(h.detectable), '+'))
    from (
        select d.metric::text as metric, l.prior_sd, l.usual, 2.801585218112969 * l.noise / sqrt(l.usual) as detectable
        from ab.metric d
        cross join lateral (
            select min(h.prior_sd) as prior_sd, percentile_disc(0.5) within group (order by h.units) as usual,
                percentile_cont(0.5) within group (order by h.lift_se * sqrt(h.units)) as noise
            from @extschema@.ab_lift_history(d.metric::text) h
            having count(*) >= 2
        ) l
        where d.workspace_id = own
    ) h
    where h.prior_sd > 0
        and h.detectable > 0
    union all
    -- Experiments that ended without an answer because they were too small for the effect they saw.
    select 'rerun', r.experiment || ' ' || r.variant, r.units::double precision / r.needed,
        format('%s ended with %s %s (%s to %s) from %s users; %s would tell an effect of that size from none',
            r.experiment, r.metric, ab_internal.percent(r.lift), ab_internal.percent(r.lift_low), ab_internal.percent(r.lift_high), r.units, ceil(r.needed))
    from (
        select
            r.experiment, r.variant, r.metric, r.lift, r.lift_low, r.lift_high, c.units + r.units as units,
            -- 80 % power at 5 %: noise falls with the root of the users.
            (c.units + r.units) * (2.801585218112969 * r.se / nullif(greatest(abs(r.diff), coalesce((x.analysis ->> 'minimum_effect')::double precision * abs(c.mean), 0)), 0)) ^ 2 as needed
        from ab.experiment x
        cross join lateral (select e.* from ab.experiment_results e where e.experiment_id = x.experiment_id and e.role = 'primary' offset 0) r
        cross join lateral (select e.* from ab.experiment_results e where e.experiment_id = x.experiment_id and e.role = 'primary' and e.is_control offset 0) c
        where not r.is_control
            and x.workspace_id = own
            and x.status = 'stopped'
            and x.kind = 'experiment'
            and x.shipped_variant is null
            and not r.significant
            and (r.lift_low < 0) = (r.lift_high > 0)
    ) r
    where r.needed > r.units
        and r.needed < 20 * r.units
    union all
    -- Segments that differ in their effect, in the latest experiments that are not too great to look into.
    select 'segment', s.experiment || ' by ' || s.dimension, 1 - s.p_adjusted,
        format('the effect of %s on %s differs by %s (p %s): best for %s with %s', s.variant, s.metric, s.dimension, ab_internal.figure(s.p_adjusted), coalesce(s.best, 'users of whom it is not known'), ab_internal.percent(s.best_lift))
    from (
        select
            g.*,
            (@extschema@.ab_adjust_pvalues(array_agg(g.p_value) over found, 'bh'))[row_number() over found] as p_adjusted
        from (
            select
                x.experiment, k.dimension, b.metric, b.variant,
                min(b.heterogeneity_p_value) as p_value,
                (array_agg(b.value order by b.shrunken_diff desc nulls last))[1] as best,
                (array_agg(b.lift order by b.shrunken_diff desc nulls last))[1] as best_lift
            from (
                select e.experiment_id, e.experiment::text as experiment, e.dimensions
                from ab.experiment e
                left join ab_internal.rollup_progress p on p.experiment_id = e.experiment_id
                where e.workspace_id = own
                    and e.status <> 'draft'
                    and e.kind = 'experiment'
                    and p.units_expired_at is null
                    and (select sum(s.units) from ab.variant_statistic s where s.experiment_id = e.experiment_id) <= ab_suggest_next.max_units
                order by e.started_at desc
                limit 10
            ) x
            cross join lateral unnest(ab_internal.dimensions_with(x.dimensions)) k (dimension)
            cross join lateral @extschema@.ab_results_by(x.experiment, k.dimension) b
            where b.role = 'primary'
                and not b.is_control
            group by x.experiment, k.dimension, b.metric, b.variant
        ) g
        window found as (order by g.experiment, g.dimension, g.metric, g.variant rows between unbounded preceding and unbounded following)
    ) s
    where s.p_adjusted < 0.05
    order by 1, 3 desc, 2;
end
$$;

comment on function @extschema@.ab_suggest_next(bigint) is $$What to test next, by plain rules, with reasons.

metric: those with most headroom, where score is how great effects have been (their spread in stopped experiments, noise taken off) by what an experiment of the usual size can find. rerun: experiments that stopped without an answer and would have had one with at most twenty times the users; score is the share of the users needed that there were. segment: where an effect differs between values of a dimension, corrected over all that was looked at; score is 1 - p.
max_units: experiments with more users are not looked into for segments, which reads users' rows; nor are more than the ten latest.
Errors: invalid_argument (22023).

Example: SELECT kind, subject, reason FROM ab_suggest_next();$$;
