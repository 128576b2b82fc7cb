-- What views and the functions beside them share. Bodies are parsed here and now (begin atomic): who may read a view need not
-- be allowed to look into schema ab_internal.
create or replace function ab_internal.compare_arms(kind text, arms ab_internal.arm[])
    returns table (
        variant_id integer,
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
    language sql
    immutable
    parallel safe
    rows 2
begin atomic
    with arm as (
        select
            -- Coming back is a conversion of its own sort; all the rest are means of users' values.
            case when compare_arms.kind = 'retention' then 'conversion' else compare_arms.kind end as kind,
            a.variant_id,
            a.variant,
            row_number() over own = 1 as is_control,
            a.units,
            a.conversions,
            a.total,
            a.denominator,
            e.mean,
            e.variance,
            e.is_representable,
            first_value(e.is_representable) over own as control_is_representable,
            first_value(a.units) over own as control_units,
            first_value(a.conversions) over own as control_conversions,
            first_value(e.mean) over own as control_mean,
            first_value(e.variance) over own as control_variance
        from unnest(compare_arms.arms) a
        cross join lateral (
            select
                moment.mean,
                moment.variance,
                -- A mean or variance beyond the largest double is unknown, which must not be taken for none.
                (moment.mean is not null or a.units = 0) and (moment.variance is not null or a.units < 2) as is_representable
            from (
                -- Exact until the last step: the sums are numeric, and only mean and variance are rounded.
                select
                    ab_internal.to_double(a.total / nullif(case when compare_arms.kind = 'ratio' then a.denominator else a.units end, 0)) as mean,
                    ab_internal.to_double(
                        case
                            when a.units < 2 then null
                            -- A ratio of sums varies as the mean of what it leaves of each user's numerator, over the mean
                            -- denominator (delta method; Deng, Knoblich & Lu 2018).
                            when compare_arms.kind = 'ratio' then
                                a.units::numeric * a.units
                                * (a.denominator * a.denominator * a.total_of_squares - 2 * a.total * a.denominator * a.total_denominator + a.total * a.total * a.denominator_of_squares)
                                / nullif((a.units - 1) * a.denominator * a.denominator * a.denominator * a.denominator, 0)
                            else (a.units * a.total_of_squares - a.total * a.total) / (a.units::numeric * (a.units - 1))
                        end
                    ) as variance
            ) moment
        ) e
        window own as (order by a.is_control desc, a.variant = 'control' desc, a.variant_id)
    )
    select
        arm.variant_id,
        arm.variant,
        arm.is_control,
        arm.units,
        arm.conversions,
        arm.total,
        arm.mean,
        arm.variance,
        i.ci_low,
        i.ci_high,
        c.diff,
        c.diff_low,
        c.diff_high,
        c.lift,
        c.lift_low,
        c.lift_high,
        c.p_value,
        c.significant,
        case
            when arm.is_representable and (arm.is_control or arm.control_is_representable) then c.note
            when arm.kind = 'ratio' and arm.denominator = 0 then 'no_denominator'
            else 'out_of_range'
        end
    from arm
    left join lateral ab_internal.interval_of(arm.kind, arm.units, arm.conversions, arm.mean, arm.variance) i on arm.is_representable
    left join lateral ab_internal.compare_to_control(
        arm.kind, arm.control_units, arm.control_conversions, arm.control_mean, arm.control_variance, arm.units, arm.conversions, arm.mean, arm.variance
    ) c on not arm.is_control and arm.is_representable and arm.control_is_representable;
end;

comment on function ab_internal.compare_arms(text, ab_internal.arm[]) is 'the results of one metric from the sums of its variants, the control among them';
