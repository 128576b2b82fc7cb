-- Results by what users were like when they were first exposed. Computed from users' rows when asked for: kept for every value
-- of every dimension, the sums would multiply what the roll-up has to write.
create or replace function @extschema@.ab_breakdown(experiment text, dimension text)
    returns table (
        value text,
        metric text,
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
        diff_low double precision,
        diff_high double precision,
        lift double precision,
        lift_low double precision,
        lift_high double precision,
        p_value double precision,
        significant boolean,
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
    wanted constant integer := ab_internal.experiment_id(ab_breakdown.experiment);
    known text[];
begin
    select ab_internal.dimensions_with(x.dimensions) into known from ab.experiment x where x.experiment_id = wanted;
    if ab_breakdown.dimension is null or ab_breakdown.dimension <> all (known) then
        perform ab_internal.raise('dimension_not_found',
            format('experiment "%s" has no dimension "%s"', ab_breakdown.experiment, coalesce(left(ab_breakdown.dimension, 64), 'NULL')),
            format('use one of %s; others must be named when the experiment is created', array_to_string(known, ', ')));
    end if;
    perform ab_internal.check_units(wanted);
    return query
    -- A key is never NULL, and so can be joined: JSON null stands for users of whom nothing was said.
    with member as (
        select x.user_id, x.variant, coalesce(x.dimensions -> ab_breakdown.dimension, 'null') as key
        from ab.exposure x
        where x.experiment_id = wanted
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
            sum(b.y) as total,
            sum(b.z) as denominator,
            sum(b.y * b.y) as total_of_squares,
            sum(b.z * b.z) as denominator_of_squares,
            sum(b.y * b.z) as total_denominator
        from (
            select u.key, u.variant, s.metric_id, s.event_count, least(s.total, d.cap) as y, coalesce(s.denominator, 0) as z
            from member u
            join ab.unit_metric s on s.user_id = u.user_id and s.experiment_id = wanted
            join ab.metric d using (metric_id)
        ) b
        group by b.key, b.variant, b.metric_id
    ),
    part as (
        select
            k.key,
            d.metric::text as metric,
            d.kind,
            m.is_primary,
            m.complete_from,
            array_agg(
                row(
                    v.variant_id, v.variant, v.is_control, coalesce(u.units, 0), coalesce(s.conversions, 0), coalesce(s.total, 0), coalesce(s.denominator, 0),
                    coalesce(s.total_of_squares, 0), coalesce(s.denominator_of_squares, 0), coalesce(s.total_denominator, 0)
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
    )
    select
        p.key #>> '{}', p.metric, r.variant, r.is_control, r.units, r.conversions, r.total, r.mean, r.variance, r.ci_low, r.ci_high,
        r.diff, r.diff_low, r.diff_high, r.lift, r.lift_low, r.lift_high, r.p_value, r.significant,
        coalesce(r.note, case when p.complete_from is not null then 'incomplete' end)
    from part p
    cross join lateral ab_internal.compare_arms(p.kind, p.arms) r
    order by p.key #>> '{}', p.is_primary desc, p.metric, r.is_control desc, r.variant_id;
end
$$;

comment on function @extschema@.ab_breakdown(text, text) is $$The results of an experiment by a dimension that first exposures recorded: country, platform, device, or one of those named when it was created. The columns of ab_results() with the value before them; NULL for users of whom it is not known.

It reads the rows of all users of the experiment, and costs by their number. The sums over all values are those of ab_results(). Of many values some look significant by chance alone.
Errors: experiment_not_found, dimension_not_found (42704), units_expired (55000) where users' rows went some time after the experiment's stop.

Example: SELECT value, variant, units, mean, lift FROM ab_breakdown('checkout_button', 'country');$$;
