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

create or replace function ab_internal.sample_ratio(experiment_id integer, threshold double precision)
    returns table (statistic double precision, df integer, p_value double precision, mismatch boolean, note text)
    language sql
    stable
    parallel safe
    rows 1
    set search_path = pg_catalog, pg_temp
    as $$
    with share as (
        select r.phase, v.variant_id, v.variant::text, coalesce(sum(r.to_bucket - r.from_bucket) filter (where r.variant = v.variant), 0) as buckets
        from ab.variant_range r
        join ab.variant v on v.experiment_id = r.experiment_id
        where r.experiment_id = sample_ratio.experiment_id
        group by r.phase, v.variant_id
    ),
    -- Phases with the same weights are one for this: a change of traffic moves nobody.
    split as (
        select s.phase, dense_rank() over (order by array_agg(s.buckets order by s.variant_id)) as split
        from share s
        group by s.phase
    ),
    cell as (
        select p.split, s.variant_id, min(s.buckets) as buckets, coalesce(sum(u.units), 0) as units
        from share s
        join split p using (phase)
        left join ab.phase_statistic u on u.experiment_id = sample_ratio.experiment_id and u.phase = s.phase and u.variant = s.variant
        group by p.split, s.variant_id
    )
    select t.statistic, t.df, t.p_value, t.mismatch, t.note
    from (
        select
            array_agg(c.split::integer order by c.split, c.variant_id) as phases,
            array_agg(c.variant_id order by c.split, c.variant_id) as arms,
            array_agg(c.units::bigint order by c.split, c.variant_id) as units,
            array_agg(c.buckets::double precision order by c.split, c.variant_id) as weights
        from cell c
    ) a
    cross join lateral @extschema@.ab_srm_phases(a.phases, a.arms, a.units, a.weights, threshold) t
$$;

comment on function ab_internal.sample_ratio(integer, double precision) is 'whether the users of an experiment were split as the weights in force at their first exposure say';

create or replace function @extschema@.ab_results(experiment text)
    returns table (
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
        sequential_p_value double precision,
        sequential_low double precision,
        sequential_high double precision,
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
        sample_ratio_p_value double precision,
        analysis_version integer,
        note text
    )
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    -- The plan does not depend on the experiment, and takes longer than its execution.
    set plan_cache_mode = force_generic_plan
    -- A few rows, however many users: compiling the query would take a hundred times longer than running it.
    set jit = off
    as $$
#variable_conflict use_column
declare
    wanted constant integer := ab_internal.experiment_id(ab_results.experiment);
    ratio double precision;
begin
    select t.p_value into ratio from ab_internal.sample_ratio(wanted, 0.001) t;
    return query
    select
        r.metric, r.role, r.variant, r.is_control, r.units, r.conversions, r.total, r.mean,
        r.variance, r.ci_low, r.ci_high, r.diff, r.se, r.statistic, r.df, r.diff_low,
        r.diff_high, r.lift, r.lift_low, r.lift_high, r.p_value, r.p_adjusted, r.significant, r.method,
        r.sequential_p_value, r.sequential_low, r.sequential_high, r.chance_to_win, r.expected_loss, r.cuped_diff, r.cuped_low, r.cuped_high,
        r.cuped_lift, r.cuped_lift_low, r.cuped_lift_high, r.cuped_p_value, r.variance_reduction, r.covariate_balance_p_value, r.capped_units, r.uncapped_total,
        r.uncapped_mean, r.uncapped_diff, r.guardrail,
        ratio, r.analysis_version, r.note
    from ab.experiment_results r
    where r.experiment_id = wanted
    order by array_position(array['primary', 'secondary', 'guardrail', 'exploratory'], r.role), r.metric, r.is_control desc, r.variant_id;
end
$$;

comment on function @extschema@.ab_results(text) is $$The results of an experiment as of the last ab_rollup(): one row per metric and variant, the primary metric and the control first. docs/statistics.md says what each number means; rates and lifts are fractions.

units: exposed users. conversions: users with at least one event. total: the metric's sum, each user's value capped as the metric says. mean, variance: per user, variance with n - 1; of a ratio the ratio of the sums, and the variance of what makes it up. ci: interval of this variant's mean. diff, lift: against control, absolute and relative; se, statistic and df of the test. Levels are those of the experiment's alpha.
p_value: two-sided, pooled z-test for conversions, Welch's t for the rest. p_adjusted: of the estimate that decides, corrected as ab_set_analysis() says. significant: by p_adjusted, in mode group_sequential at the looks taken, in mode bayesian by chance_to_win. method: which estimate decides.
sequential: p-value and interval that hold however often they are looked at (mode sequential), interval at the last look's bound (group_sequential). chance_to_win: probability of being better than control. expected_loss: what shipping costs on average over what is not known, in the metric's unit. cuped: the difference adjusted for the time before first exposure. covariate_balance_p_value: below 0.001 the users differed before.
capped_units, uncapped: what the metric's cap changed. guardrail: pass, fail, breach or inconclusive. sample_ratio_p_value: below 0.001 users were not split as weights say, by the weights of each phase. analysis_version: of the settings. note: no_denominator for a ratio to nothing; otherwise why a number is missing or to be read with care; incomplete where raw events had expired when the metric was added (see complete_from in ab.experiment_metric); not_final before the planned end of a fixed test, and in mode group_sequential before the last look; burn_in where a variant has too few users, conversions or others for a confidence sequence (100, 5 and 5).
Errors: experiment_not_found (42704).

Example: SELECT metric, variant, units, mean, lift, p_value FROM ab_results('checkout_button');$$;
