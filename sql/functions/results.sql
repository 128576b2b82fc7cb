-- Results as people ask for them. The numbers are those of view ab.experiment_results.
create or replace function ab_internal.to_double(exact numeric)
    returns double precision
    language sql
    immutable
    strict
    parallel safe
    as $$
    select case when abs(exact) > 1.7976931348623157e308 then null when abs(exact) < 1e-300 then 0 else exact::double precision end
$$;

comment on function ab_internal.to_double(numeric) is 'the nearest double; NULL where it is beyond the largest, because one absurd event must not make the results of all experiments fail';

create or replace function @extschema@.ab_results(experiment text)
    returns table (
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
    -- A few rows, however many users: compiling the query would take a hundred times longer than running it.
    set jit = off
    as $$
#variable_conflict use_column
declare
    wanted constant integer := ab_internal.experiment_id(ab_results.experiment);
begin
    return query
    select
        r.metric, r.variant, r.is_control, r.units, r.conversions, r.total, r.mean, r.variance, r.ci_low, r.ci_high,
        r.diff, r.diff_low, r.diff_high, r.lift, r.lift_low, r.lift_high, r.p_value, r.significant, r.note
    from ab.experiment_results r
    where r.experiment_id = wanted
    order by r.is_primary desc, r.metric, r.is_control desc, r.variant_id;
end
$$;

comment on function @extschema@.ab_results(text) is $$The results of an experiment as of the last ab_rollup(): one row per metric and variant, the primary metric and the control first.

units: exposed users. conversions: users with at least one event. total: the metric's sum, each user's value capped as the metric says. mean, variance: per user, variance with n - 1; of a ratio the ratio of the sums, and the variance of what makes it up. ci: 95 % interval of this variant's mean. diff, lift: against control, absolute and relative. p_value: two-sided, pooled z-test for conversions, Welch's t for the rest. Rates and lifts are fractions. note: no_denominator for a ratio to nothing; otherwise why a number is missing or to be read with care; incomplete where raw events had expired when the metric was added (see complete_from in ab.experiment_metric).
Errors: experiment_not_found (42704).

Example: SELECT metric, variant, units, mean, lift, p_value FROM ab_results('checkout_button');$$;
