-- From results to what to do, and in what words.
create or replace function ab_internal.due_look(analysis jsonb, units bigint, treatments integer, past_information double precision[], past_bounds double precision[], is_over boolean)
    returns table (information double precision, alpha_spent double precision, z_bound double precision, p_bound double precision)
    language c
    strict
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'due_look_wrapper';

comment on function ab_internal.due_look(jsonb, bigint, integer, double precision[], double precision[], boolean) is 'the look to take at so many users, after those taken, the last one where no more will come; no row where none is due';

create or replace function ab_internal.recommend(evidence jsonb)
    returns table (decision text, variant text, reasons text[])
    language c
    strict
    immutable
    parallel safe
    rows 1
    as 'MODULE_PATHNAME',
    'recommend_wrapper';

comment on function ab_internal.recommend(jsonb) is 'what core/src/statistics/recommendation.rs makes of the evidence';

create or replace function ab_internal.take_looks()
    returns void
    language plpgsql
    volatile
    parallel unsafe
    set search_path = pg_catalog, pg_temp
    as $$
declare
    watched record;
    due record;
begin
    -- Few experiments are of this mode, and an index leads to them.
    for watched in
        select
            x.experiment_id,
            x.experiment,
            x.analysis,
            (select sum(s.units)::bigint from ab.variant_statistic s where s.experiment_id = x.experiment_id) as units,
            (select count(*)::integer - 1 from ab.variant v where v.experiment_id = x.experiment_id) as treatments,
            coalesce(x.ends_at + coalesce(d.window_end, '0') <= now() and x.ends_at <= coalesce(x.stopped_at, 'infinity'), false) as is_over,
            coalesce(p.look, 0) as look,
            coalesce(p.information, '{}') as information,
            coalesce(p.bounds, '{}') as bounds
        from ab.experiment x
        -- Not before all that is to be looked at is counted: a look cannot be taken back.
        join ab.experiment_metric m on m.experiment_id = x.experiment_id and m.role = 'primary' and m.is_counted
        join ab.metric d on d.metric_id = m.metric_id
        cross join lateral (
            select max(l.look) as look, array_agg(l.information order by l.look) as information, array_agg(l.z_bound order by l.look) as bounds
            from (select distinct on (k.look) k.look, k.information, k.z_bound from ab.look k where k.experiment_id = x.experiment_id order by k.look) l
        ) p
        where x.analysis ->> 'mode' = 'group_sequential'
            and x.status <> 'draft'
            -- Whoever stops has seen the results. Only a planned end before the stop may still be waiting, for the metric's window.
            and coalesce(x.stopped_at, 'infinity') > now() - interval '100 days'
            and (x.stopped_at is null or x.ends_at <= x.stopped_at)
    loop
        -- What is wrong with one experiment must not stop the counting of all.
        begin
            for due in
                select d.* from ab_internal.due_look(ab_internal.complete_analysis(watched.experiment, watched.analysis), watched.units, watched.treatments, watched.information, watched.bounds, watched.is_over) d
            loop
                insert into ab.look (experiment_id, look, variant, units, information, alpha_spent, z_bound, p_bound, diff, p_value, is_crossed)
                select
                    watched.experiment_id, watched.look + 1, r.variant, watched.units, due.information, due.alpha_spent, due.z_bound, due.p_bound, e.diff, e.p_value,
                    coalesce(e.p_value < due.p_bound, false)
                from ab.experiment_results r
                cross join lateral (
                    select case r.method when 'cuped' then r.cuped_diff else r.diff end as diff, case r.method when 'cuped' then r.cuped_p_value else r.p_value end as p_value
                ) e
                where r.experiment_id = watched.experiment_id
                    and r.role = 'primary'
                    and not r.is_control;
            end loop;
        exception
            when others then
                raise warning 'the look at experiment "%" failed: %', watched.experiment, sqlerrm;
        end;
    end loop;
end
$$;

comment on function ab_internal.take_looks() is 'takes the looks that are due at experiments analysed in mode group_sequential, once all events are counted';

create or replace function ab_internal.evidence(experiment_id integer)
    returns jsonb
    language sql
    stable
    parallel safe
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $$
    with result as materialized (
        select r.* from ab.experiment_results r where r.experiment_id = evidence.experiment_id
    )
    select jsonb_build_object(
        'least_units', u.least,
        'minimum_units', (k.settings ->> 'minimum_units')::bigint,
        'units', u.units,
        'planned_units', (k.settings ->> 'planned_units')::bigint,
        'days', greatest(extract(epoch from least(x.stopped_at, x.ends_at, now()) - x.started_at) / 86400, 0),
        'minimum_days', (k.settings ->> 'minimum_days')::integer,
        'is_stopped', x.status = 'stopped' or coalesce(x.ends_at <= now(), false),
        'is_final', f.is_final,
        'alpha', (k.settings ->> 'alpha')::double precision,
        'is_bayesian', k.settings ->> 'mode' = 'bayesian',
        'minimum_effect', (k.settings ->> 'minimum_effect')::double precision,
        'sample_ratio_p_value', t.p_value,
        'sample_ratio_threshold', (k.settings ->> 'sample_ratio_threshold')::double precision,
        'multiple_share', coalesce(u.multiple_units::double precision / nullif(u.units, 0), 0),
        'treatments', coalesce((
            select jsonb_agg(
                jsonb_build_object(
                    'variant', v.variant,
                    'metric', r.metric,
                    'units', r.units,
                    'mean', r.mean,
                    'variance', r.variance,
                    'lower_is_better', coalesce(d.lower_is_better, false),
                    -- A test for one end decides there and not before.
                    'significant', r.significant and (f.is_final or k.settings ->> 'mode' <> 'fixed'),
                    'diff', case when r.method like '%cuped' then r.cuped_diff else r.diff end,
                    'lift', case when r.method like '%cuped' then r.cuped_lift else r.lift end,
                    -- What holds at all looks where there are several.
                    'lift_low', case when r.sequential_low is not null then ab_internal.to_double(r.sequential_low::numeric / nullif(abs(c.mean), 0)::numeric) when r.method = 'cuped' then r.cuped_lift_low else r.lift_low end,
                    'lift_high', case when r.sequential_high is not null then ab_internal.to_double(r.sequential_high::numeric / nullif(abs(c.mean), 0)::numeric) when r.method = 'cuped' then r.cuped_lift_high else r.lift_high end,
                    'chance_to_win', r.chance_to_win,
                    'expected_loss', ab_internal.to_double(r.expected_loss::numeric / nullif(abs(c.mean), 0)::numeric),
                    'accepted_loss', (k.settings ->> 'accepted_loss')::double precision,
                    'covariate_balance_p_value', r.covariate_balance_p_value,
                    'guardrails', coalesce((
                        select jsonb_agg(jsonb_build_array(g.metric, g.guardrail) order by g.metric)
                        from result g
                        where g.variant = v.variant
                            and g.role = 'guardrail'
                    ), '[]')
                )
                order by v.variant_id
            )
            from ab.variant v
            join (select distinct g.variant, g.is_control from result g) b on b.variant = v.variant
            left join result r on r.variant = v.variant and r.role = 'primary'
            left join result c on c.is_control and c.role = 'primary'
            left join ab.metric d on d.metric_id = r.metric_id
            where v.experiment_id = x.experiment_id
                and not b.is_control
        ), '[]')
    )
    from ab.experiment x
    cross join lateral (select ab_internal.complete_analysis(x.experiment, x.analysis) as settings) k
    cross join lateral (
        select coalesce(min(coalesce(s.units, 0)), 0) as least, coalesce(sum(s.units), 0)::bigint as units, coalesce(sum(s.multiple_units), 0) as multiple_units
        from ab.variant v
        left join ab.variant_statistic s on s.experiment_id = v.experiment_id and s.variant = v.variant
        where v.experiment_id = x.experiment_id
    ) u
    cross join lateral (
        select coalesce(x.status = 'stopped' or x.ends_at <= now() or u.units >= (k.settings ->> 'planned_units')::bigint, false) as is_final
    ) f
    cross join lateral ab_internal.sample_ratio(x.experiment_id, (k.settings ->> 'sample_ratio_threshold')::double precision) t
    where x.experiment_id = evidence.experiment_id
$$;

comment on function ab_internal.evidence(integer) is 'what is known of an experiment, as core/src/statistics/recommendation.rs reads it';

create or replace function @extschema@.ab_decide(experiment text)
    returns table (decision text, variant text, reasons text[])
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    return query
    select r.decision, r.variant, r.reasons
    from ab_internal.recommend(ab_internal.evidence(ab_internal.experiment_id(ab_decide.experiment))) r;
end
$$;

comment on function @extschema@.ab_decide(text) is $$What the results say to do, with which variant, and why.

decision, the first of these that holds: collecting (fewer users than minimum_units in a variant, or no primary metric), broken (sample ratio mismatch, more than 1 % of users in several variants, or unequal before they were exposed), stop_harm (a guardrail is harmed), stop (worse), suspicious (better by more than half: check first), ship, ship_with_risk (better, but guardrails stayed open to the end), keep_running, no_effect (an effect of minimum_effect is ruled out), inconclusive.
Better and worse are by what ab_results() calls significant, in mode fixed at its end only; in mode bayesian better is an expected loss below accepted_loss. Nothing is shipped before minimum_days, from a week on whole weeks, unless it is over.
Errors: experiment_not_found (42704).

Example: SELECT decision, variant, reasons FROM ab_decide('checkout_button');$$;

create or replace function @extschema@.ab_summary(experiment text)
    returns table (
        status text,
        mode text,
        started_at timestamptz,
        days double precision,
        units bigint,
        planned_units bigint,
        sample_ratio_p_value double precision,
        multiple_share double precision,
        decision text,
        variant text,
        reasons text[],
        analysis_version integer
    )
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    as $$
#variable_conflict use_column
begin
    return query
    select
        x.status, coalesce(x.analysis ->> 'mode', 'fixed'), x.started_at,
        (e.evidence ->> 'days')::double precision,
        (e.evidence ->> 'units')::bigint,
        (e.evidence ->> 'planned_units')::bigint,
        (e.evidence ->> 'sample_ratio_p_value')::double precision,
        (e.evidence ->> 'multiple_share')::double precision,
        r.decision, r.variant, r.reasons, x.analysis_version
    from ab.experiment x
    cross join lateral (select ab_internal.evidence(x.experiment_id) as evidence offset 0) e
    cross join lateral ab_internal.recommend(e.evidence) r
    where x.experiment_id = ab_internal.experiment_id(ab_summary.experiment);
end
$$;

comment on function @extschema@.ab_summary(text) is $$An experiment in one row: how long it has run, with how many users of those planned, whether they were split as they should be, and what ab_decide() says.

multiple_share: of users who saw more than one variant. analysis_version: of its settings.
Errors: experiment_not_found (42704).

Example: SELECT status, days, units, decision FROM ab_summary('checkout_button');$$;

create or replace function ab_internal.percent(fraction double precision)
    returns text
    language sql
    immutable
    parallel safe
    as $$
    select case when abs(fraction) < 1e6 then to_char(100 * fraction, 'FMSG999999990.00') || ' %' else coalesce(to_char(100 * fraction, '9.99EEEE') || ' %', 'unknown') end
$$;

comment on function ab_internal.percent(double precision) is 'a fraction as people read it, with its sign';

create or replace function ab_internal.figure(number double precision)
    returns text
    language sql
    immutable
    parallel safe
    as $$
    select case
        when number is null then 'unknown'
        when number = 0 then '0'
        when abs(number) between 1e-4 and 1e9 then trim_scale(round(number::numeric, 4 - least(floor(log(abs(number)))::integer, 4)))::text
        else trim(to_char(number, '9.999EEEE'))
    end
$$;

comment on function ab_internal.figure(double precision) is 'a number as people read it, with five digits';

create or replace function @extschema@.ab_report(experiment text)
    returns text
    language plpgsql
    stable
    parallel safe
    security definer
    set search_path = pg_catalog, pg_temp
    set jit = off
    as $$
#variable_conflict use_column
declare
    wanted constant integer := ab_internal.experiment_id(ab_report.experiment);
    reported record;
    lines text[];
begin
    select s.*, x.experiment, x.hypothesis, k.settings into reported
    from @extschema@.ab_summary(ab_report.experiment) s
    join ab.experiment x on x.experiment_id = wanted
    cross join lateral (select ab_internal.complete_analysis(x.experiment, x.analysis) as settings) k;
    lines := array[
        format('%s: %s%s', reported.experiment, reported.status, case when reported.started_at is null then '' else format(', %s days, %s users%s',
            round(reported.days::numeric, 1), reported.units, coalesce(' of ' || reported.planned_units, '')) end),
        'Hypothesis: ' || reported.hypothesis,
        format('Analysis: %s, alpha %s, version %s%s', reported.mode, reported.settings ->> 'alpha', reported.analysis_version,
            case when (reported.settings ->> 'cuped')::boolean then ', adjusted for the time before (CUPED)' else '' end),
        format('Sample ratio: %s', case
            when reported.sample_ratio_p_value is null then 'nothing to test yet'
            when reported.sample_ratio_p_value < (reported.settings ->> 'sample_ratio_threshold')::double precision then format('MISMATCH (p %s): the results cannot be trusted', ab_internal.figure(reported.sample_ratio_p_value))
            else format('as the weights say (p %s)', ab_internal.figure(reported.sample_ratio_p_value))
        end)
    ];
    lines := array_remove(lines, null) || (
        select array_agg(t.line order by t.place, t.metric, t.is_control desc, t.variant_id, t.part)
        from (
            select
                array_position(array['primary', 'secondary', 'guardrail', 'exploratory'], r.role) as place,
                r.metric, r.is_control, r.variant_id, l.part, l.line
            from ab.experiment_results r
            cross join lateral (
                values
                    (0, case when r.is_control then format(E'\n%s (%s)', r.metric, r.role) end),
                    (1, format('  %s: %s users, %s%s', r.variant, r.units, ab_internal.figure(r.mean), case when r.is_control then ', control' else '' end)),
                    (2, case when not r.is_control and r.diff is not null then format('    difference %s [%s, %s], lift %s [%s, %s], p %s%s%s',
                        ab_internal.figure(r.diff), ab_internal.figure(r.diff_low), ab_internal.figure(r.diff_high),
                        ab_internal.percent(r.lift), ab_internal.percent(r.lift_low), ab_internal.percent(r.lift_high), ab_internal.figure(r.p_value),
                        case when r.p_adjusted <> r.p_value then format(' (%s decides)', ab_internal.figure(r.p_adjusted)) else '' end,
                        case when r.significant then ', significant' else '' end) end),
                    (3, case when r.sequential_low is not null then format('    at any time: [%s, %s]%s', ab_internal.figure(r.sequential_low), ab_internal.figure(r.sequential_high),
                        coalesce(', p ' || ab_internal.figure(r.sequential_p_value), '')) end),
                    (4, case when r.cuped_diff is not null then format('    adjusted for the time before: %s [%s, %s], p %s, variance less by %s',
                        ab_internal.figure(r.cuped_diff), ab_internal.figure(r.cuped_low), ab_internal.figure(r.cuped_high), ab_internal.figure(r.cuped_p_value), ab_internal.percent(r.variance_reduction)) end),
                    (5, case when r.chance_to_win is not null then format('    chance to win %s %%, expected loss %s', round(100 * r.chance_to_win::numeric, 1), ab_internal.figure(r.expected_loss)) end),
                    (6, case when r.capped_units > 0 then format('    %s users capped; without the cap %s', r.capped_units, ab_internal.figure(r.uncapped_mean)) end),
                    (7, '    guardrail: ' || r.guardrail),
                    (8, '    note: ' || r.note)
            ) l (part, line)
            where r.experiment_id = wanted
        ) t
        where t.line is not null
    );
    return array_to_string(lines || format(E'\nDecision: %s%s', reported.decision, coalesce(' ' || reported.variant, '')) || array(select '  ' || e.reason from unnest(reported.reasons) e (reason)), E'\n');
end
$$;

comment on function @extschema@.ab_report(text) is $$The results of an experiment as a person in psql wants to read them: how it was judged, each metric and variant, and what to do and why.

Errors: experiment_not_found (42704).

Example: SELECT ab_report('checkout_button');$$;
