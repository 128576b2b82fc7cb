-- A/A tests by the thousand; the mathematics is in core/src/statistics/simulation.rs.
create or replace function @extschema@.ab_simulate_aa(
    n_per_arm bigint,
    baseline double precision,
    sd double precision default null,
    simulations integer default 1000,
    alpha double precision default 0.05,
    looks integer default 1,
    mode text default 'fixed',
    seed bigint default 1
)
    returns table (
        simulations integer,
        false_positives integer,
        rate double precision,
        expected double precision,
        band_low double precision,
        band_high double precision,
        p_uniform double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    cost 1000000
    rows 1
    as 'MODULE_PATHNAME',
    'ab_simulate_aa_wrapper';

comment on function @extschema@.ab_simulate_aa(bigint, double precision, double precision, integer, double precision, integer, text, bigint) is $$How often experiments without an effect find one: makes up that many, each of two arms of n_per_arm users of the same kind, and tests them as results are tested.

baseline: the conversion rate; with sd the mean of normal values with that standard deviation. looks: how often each experiment is looked at, equally far
apart; it counts as a false positive when any look is significant. mode: fixed tests each look as if it were the only one, sequential by the confidence
sequence planned for all users. rate: the share of false positives; expected: alpha, of which a sequential test may stay below. One test in a thousand that
keeps its promise has a rate outside of band_low to band_high. p_uniform: the p-value of Kolmogorov and Smirnov's test that the p-values (of the last look)
are uniform, as they must be; those of a handful of conversions are not, because they take few values. NULL when sequential. note: peeking where a fixed test
is looked at several times; too_few_units where no experiment had users enough. The same seed makes the same experiments.
100 simulations or more. Their looks together, and one more for each, may be 1,000,000, which takes some ten seconds; how many users costs nothing.
Errors: invalid_argument (22023).

Example: SELECT rate, band_low, band_high FROM ab_simulate_aa(10000, 0.10);$$;

create or replace function ab_internal.simulate_split(
    users text[],
    "values" double precision[],
    denominators double precision[],
    converted boolean[],
    kind text,
    shares double precision[],
    simulations integer
)
    returns table (
        simulations integer,
        false_positives integer,
        rate double precision,
        expected double precision,
        band_low double precision,
        band_high double precision,
        p_uniform double precision,
        method text,
        note text
    )
    language c
    immutable
    parallel safe
    cost 1000000
    rows 1
    as 'MODULE_PATHNAME',
    'simulate_split_wrapper';

comment on function ab_internal.simulate_split(text[], double precision[], double precision[], boolean[], text, double precision[], integer) is 'the A/A tests of users split into shares by ab_bucket(''aa:'' || number of the simulation, user), compared as ab_internal.compare_arms does';

create or replace function ab_internal.simulate_experiment(experiment text, times integer)
    returns table (
        simulations integer,
        false_positives integer,
        rate double precision,
        expected double precision,
        band_low double precision,
        band_high double precision,
        p_uniform double precision,
        method text,
        note text
    )
    language plpgsql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
declare
    wanted constant integer := ab_internal.experiment_id(simulate_experiment.experiment);
    -- As MOST_STEPS and SIMULATION_STEPS in core/src/statistics/simulation.rs, which refuses as well, but only once all users are in memory.
    most constant bigint := 100000000;
    measured record;
    units bigint;
    shares double precision[];
begin
    perform ab_internal.check_units(wanted);
    select d.metric_id, d.kind, d.cap into measured
    from ab.experiment_metric m
    join ab.metric d using (metric_id)
    where m.experiment_id = wanted
        and m.role = 'primary';
    if not found then
        return query select null::integer, null::integer, null::double precision, null::double precision, null::double precision, null::double precision,
            null::double precision, null, 'no_primary_metric';
        return;
    end if;
    select coalesce(sum(s.units), 0) into units from ab.variant_statistic s where s.experiment_id = wanted;
    if (units + 100) * simulate_experiment.times > most then
        perform ab_internal.raise('invalid_argument', format('simulations must be at most %s for %s users, or it would take minutes', most / (units + 100), units),
            'ask for fewer');
    end if;
    -- Of more than two variants, control and the first treatment; the others take their share of the users.
    select array_agg(v.share order by v.place) into shares
    from (
        select
            (w.weight / sum(w.weight) over ())::double precision as share,
            row_number() over (order by w.is_control desc, w.variant = 'control' desc, w.variant_id) as place
        from ab.variant w
        where w.experiment_id = wanted
    ) v
    where v.place <= 2;
    return query
    select r.*
    from (
        select
            coalesce(array_agg(x.user_id), '{}') as users,
            coalesce(array_agg(coalesce(ab_internal.to_double(least(u.total, measured.cap)), case when u.user_id is null then 0 end)), '{}') as "values",
            coalesce(array_agg(coalesce(ab_internal.to_double(u.denominator), case when u.denominator is null then 0 end)), '{}') as denominators,
            coalesce(array_agg(coalesce(u.event_count, 0) > 0), '{}') as converted
        from ab.exposure x
        left join ab.unit_metric u on u.user_id = x.user_id and u.experiment_id = wanted and u.metric_id = measured.metric_id
        where x.experiment_id = wanted
    ) a
    cross join lateral ab_internal.simulate_split(
        a.users, a."values", a.denominators, a.converted, measured.kind, shares, simulate_experiment.times
    ) r;
end
$$;

comment on function ab_internal.simulate_experiment(text, integer) is 'what ab_simulate_aa(experiment) answers, where a parameter cannot have the name of a column';

create or replace function @extschema@.ab_simulate_aa(experiment text, simulations integer default 1000)
    returns table (
        simulations integer,
        false_positives integer,
        rate double precision,
        expected double precision,
        band_low double precision,
        band_high double precision,
        p_uniform double precision,
        method text,
        note text
    )
    language sql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    rows 1
    as $$
    select * from ab_internal.simulate_experiment(ab_simulate_aa.experiment, ab_simulate_aa.simulations)
$$;

comment on function @extschema@.ab_simulate_aa(text, integer) is $$How often the primary metric of an experiment is significant where nothing differs: splits the experiment's exposed users anew that many times and tests each split as ab_results() does. The A/A test of the real data, with its outliers.

Simulation number i puts a user into an arm by ab_bucket('aa:' || i, user_id), the hash that assigns, with the weights that the experiment has now; of more
than two variants the control and the first treatment are compared. What the treatment did is in the users' values, and goes to both arms alike. The columns
are those of ab_simulate_aa(n_per_arm, …): a rate outside of band_low to band_high, or a small p_uniform, says that the test does not suit the metric.
note: no_primary_metric, or too_few_units before there are users.
It reads all users of the experiment, and each simulation hashes them all: some 50 ms for a million. 100 simulations or more. The
users of all together, and a hundred more for each, may be 100,000,000.
Errors: experiment_not_found (42704), invalid_argument (22023), units_expired (55000) where users' rows went some time after the experiment's stop.

Example: SELECT rate, band_low, band_high, note FROM ab_simulate_aa('checkout_button', 200);$$;
