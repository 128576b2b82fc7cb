-- Results by what users were like when they were first exposed. Computed from users' rows when asked for: kept for every value
-- of every dimension, the sums would multiply what the roll-up has to write.
create or replace function ab_internal.check_dimension(experiment_id integer, dimension text)
    returns void
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    known text[];
    of_experiment text;
begin
    select ab_internal.dimensions_with(x.dimensions), x.experiment into known, of_experiment from ab.experiment x where x.experiment_id = check_dimension.experiment_id;
    if check_dimension.dimension is null or check_dimension.dimension <> all (known) then
        perform ab_internal.raise('dimension_not_found',
            format('experiment "%s" has no dimension "%s"', of_experiment, coalesce(left(check_dimension.dimension, 64), 'NULL')),
            format('use one of %s; others must be named when the experiment is created', array_to_string(known, ', ')));
    end if;
end
$$;

comment on function ab_internal.check_dimension(integer, text) is 'raises unless exposures of the experiment record that';

create or replace function @extschema@.ab_results_by(experiment text, dimension text, dimension2 text default null, top integer default 50)
    returns table (
        value text,
        value2 text,
        metric text,
        role text,
        variant text,
        is_control boolean,
        units bigint,
        conversions bigint,
        total numeric,
        mean double precision,
        variance double precision,
        ci_low double precision,
        ci_high double precision,
        diff double precision,
        se double precision,
        statistic double precision,
        df double precision,
        diff_low double precision,
        diff_high double precision,
        lift double precision,
        lift_low double precision,
        lift_high double precision,
        p_value double precision,
        p_adjusted double precision,
        significant boolean,
        method text,
        chance_to_win double precision,
        expected_loss double precision,
        cuped_diff double precision,
        cuped_low double precision,
        cuped_high double precision,
        cuped_lift double precision,
        cuped_lift_low double precision,
        cuped_lift_high double precision,
        cuped_p_value double precision,
        variance_reduction double precision,
        covariate_balance_p_value double precision,
        capped_units bigint,
        uncapped_total numeric,
        uncapped_mean double precision,
        uncapped_diff double precision,
        guardrail text,
        shrunken_diff double precision,
        heterogeneity_p_value double precision,
        analysis_version integer,
        note text
    )
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    wanted constant integer := ab_internal.experiment_id(ab_results_by.experiment);
begin
    perform ab_internal.check_dimension(wanted, ab_results_by.dimension);
    if ab_results_by.dimension2 is not null then
        perform ab_internal.check_dimension(wanted, ab_results_by.dimension2);
    end if;
    if ab_results_by.top is null or ab_results_by.top not between 1 and 1000 then
        perform ab_internal.raise('invalid_argument', format('top is %s', coalesce(ab_results_by.top::text, 'NULL')), 'give how many values to show, from 1 to 1000');
    end if;
    perform ab_internal.check_units(wanted);
    return query
    -- A key is never NULL, and so can be joined: JSON null stands for users of whom nothing was said.
    with seen as (
        select
            x.user_id,
            x.variant,
            jsonb_build_array(x.dimensions -> ab_results_by.dimension, case when ab_results_by.dimension2 is not null then x.dimensions -> ab_results_by.dimension2 end) as key
        from ab.exposure x
        where x.experiment_id = wanted
    ),
    -- Values without end, such as ids, would be as many results as users.
    kept as (
        select s.key
        from seen s
        group by s.key
        order by count(*) desc, s.key
        limit ab_results_by.top
    ),
    member as materialized (
        select s.user_id, s.variant, coalesce(k.key, '["(other)", null]') as key
        from seen s
        left join kept k on k.key = s.key
    ),
    unit as (
        select u.key, u.variant, count(*) as units from member u group by u.key, u.variant
    ),
    statistic as (
        select
            b.key,
            b.variant,
            b.metric_id,
            count(*) filter (where b.event_count > 0) as conversions,
            count(*) filter (where b.u is not null or b.w is not null) as covariate_units,
            count(*) filter (where b.uncapped > b.y) as capped_units,
            coalesce(sum(b.uncapped), 0) as uncapped_total,
            coalesce(sum(b.y), 0) as total,
            coalesce(sum(b.z), 0) as denominator,
            coalesce(sum(b.u), 0) as covariate,
            coalesce(sum(b.w), 0) as covariate_denominator,
            coalesce(sum(b.y * b.y), 0) as total_of_squares,
            coalesce(sum(b.z * b.z), 0) as denominator_of_squares,
            coalesce(sum(b.u * b.u), 0) as covariate_of_squares,
            coalesce(sum(b.w * b.w), 0) as covariate_denominator_of_squares,
            coalesce(sum(b.y * b.z), 0) as total_denominator,
            coalesce(sum(b.y * b.u), 0) as total_covariate,
            coalesce(sum(b.y * b.w), 0) as total_covariate_denominator,
            coalesce(sum(b.z * b.u), 0) as denominator_covariate,
            coalesce(sum(b.z * b.w), 0) as denominator_covariate_denominator,
            coalesce(sum(b.u * b.w), 0) as covariate_covariate_denominator
        from (
            select
                u.key, u.variant, s.metric_id, s.event_count, s.total as uncapped, least(s.total, d.cap) as y, s.denominator as z,
                case when s.covariate is not null then least(s.covariate, d.cap) end as u, s.covariate_denominator as w
            from member u
            join ab.unit_metric s on s.user_id = u.user_id and s.experiment_id = wanted
            join ab.metric d using (metric_id)
        ) b
        group by b.key, b.variant, b.metric_id
    ),
    part as (
        select
            k.key,
            d.metric_id,
            d.metric::text as metric,
            d.kind,
            d.lower_is_better,
            m.role,
            m.margin,
            m.complete_from,
            array_agg(
                row(
                    v.variant_id, v.variant, v.is_control, coalesce(u.units, 0),
                    row(
                        wanted, s.metric_id, s.variant, s.conversions, s.covariate_units, s.capped_units, s.uncapped_total, s.total,
                        s.denominator, s.covariate, s.covariate_denominator, s.total_of_squares, s.denominator_of_squares,
                        s.covariate_of_squares, s.covariate_denominator_of_squares, s.total_denominator, s.total_covariate, s.total_covariate_denominator,
                        s.denominator_covariate, s.denominator_covariate_denominator, s.covariate_covariate_denominator
                    )::ab.metric_statistic
                )::ab_internal.arm
            ) as arms
        from (select distinct u.key from unit u) k
        cross join ab.experiment_metric m
        join ab.metric d on d.metric_id = m.metric_id
        join ab.variant v on v.experiment_id = m.experiment_id
        left join unit u on u.key = k.key and u.variant = v.variant
        left join statistic s on s.key = k.key and s.variant = v.variant and s.metric_id = m.metric_id
        where m.experiment_id = wanted
        group by k.key, d.metric_id, m.experiment_id, m.metric_id
    ),
    result as (
        select
            p.key, p.metric_id, p.metric, p.role, p.complete_from, r.*,
            x.analysis_version,
            (a.settings ->> 'alpha')::double precision as alpha,
            case a.settings ->> 'exploratory_correction'
                when 'none' then r.decisive_p_value
                else (@extschema@.ab_adjust_pvalues(array_agg(r.decisive_p_value) over family, a.settings ->> 'exploratory_correction'))[row_number() over family]
            end as p_adjusted,
            array_agg(r.diff) filter (where r.se > 0) over parts as diffs,
            array_agg(r.se) filter (where r.se > 0) over parts as errors
        from part p
        cross join ab.experiment x
        cross join lateral (
            -- Looks are taken at the whole experiment: a segment's test is one for one look.
            select ab_internal.complete_analysis(x.experiment, x.analysis) || '{"mode": "fixed"}' as settings
        ) a
        cross join lateral ab_internal.compare_arms(p.kind, p.arms, a.settings, p.lower_is_better, p.margin, null, coalesce(x.analysis ->> 'mode', 'fixed') = 'fixed' and coalesce(x.status = 'stopped' or x.ends_at <= now(), false)) r
        where x.experiment_id = wanted
        window
            family as (order by p.key, p.metric_id, r.variant_id rows between unbounded preceding and unbounded following),
            parts as (partition by p.metric_id, r.variant_id)
    )
    select
        r.key ->> 0, r.key ->> 1, r.metric, r.role, r.variant, r.is_control,
        r.units, r.conversions, r.total, r.mean, r.variance, r.ci_low, r.ci_high, r.diff,
        r.se, r.statistic, r.df, r.diff_low, r.diff_high, r.lift, r.lift_low, r.lift_high,
        r.p_value,
        r.p_adjusted, r.p_adjusted < r.alpha,
        r.method, r.chance_to_win, r.expected_loss, r.cuped_diff, r.cuped_low, r.cuped_high, r.cuped_lift, r.cuped_lift_low,
        r.cuped_lift_high, r.cuped_p_value, r.variance_reduction, r.covariate_balance_p_value, r.capped_units, r.uncapped_total, r.uncapped_mean, r.uncapped_diff,
        r.guardrail,
        -- As far towards the mean of all as their differences may be chance (DerSimonian & Laird 1986).
        h.pooled + (r.diff - h.pooled) * h.tau2 / nullif(h.tau2 + r.se * r.se, 0),
        h.p_value,
        r.analysis_version,
        coalesce(r.note, case when r.complete_from is not null then 'incomplete' end)
    from result r
    left join lateral @extschema@.ab_heterogeneity(r.diffs, r.errors) h on not r.is_control and cardinality(r.diffs) > 1
    order by r.key ->> 0, r.key ->> 1, array_position(array['primary', 'secondary', 'guardrail', 'exploratory'], r.role), r.metric, r.is_control desc, r.variant_id;
end
$$;

comment on function @extschema@.ab_results_by(text, text, text, integer) is $$The results of an experiment by one or two dimensions that first exposures recorded: country, platform, device, or one of those named when it was created. The columns of ab_results() with the value before them; NULL for users of whom it is not known.

top: of how many values, those with most users; the rest is "(other)". It reads the rows of all users of the experiment, and costs by their number. The sums over all values are those of ab_results().
Of many values some look significant by chance alone, so p_adjusted and significant are corrected over all values and metrics. heterogeneity_p_value: whether the effect differs between values at all (Cochran's Q); "significant here and not there" says nothing of that. shrunken_diff: the difference, drawn towards that of all users as far as what is between them may be chance.
Errors: experiment_not_found, dimension_not_found (42704), invalid_argument (22023), units_expired (55000) where users' rows went some time after the experiment's stop.

Example: SELECT value, variant, units, mean, lift FROM ab_results_by('checkout_button', 'country');$$;
