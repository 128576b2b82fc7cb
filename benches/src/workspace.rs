//! The workspace that everything is measured in: 10,000 running experiments with rules, 1,000 flags with rules, and a
//! segment of a million members.

use postgres::Client;

/// How many experiments run.
pub const EXPERIMENTS: u32 = 10_000;
/// How many users the segment has.
pub const MEMBERS: u32 = 1_000_000;

/// Two of the experiments have no rule: `exp_5000` is what most people's look like, `exp_17` is asked for over HTTP.
pub fn prepare(client: &mut Client) -> anyhow::Result<()> {
    println!(
        "preparing {EXPERIMENTS} experiments with rules, 1,000 flags and a segment of {MEMBERS} members"
    );
    client.batch_execute(&format!(
        r#"select ab_create_segment('million');
        insert into ab.segment_member (segment_id, user_id)
            select segment_id, 'member_' || n from ab.segment, generate_series(1, {MEMBERS}) n where segment = 'million';
        insert into ab.experiment (experiment, targeting)
            select 'exp_' || n, case when n not in (17, 4711, 5000) then format(
                '{{"all": [{{"attribute": "country", "operator": "in", "values": ["DE", "FR", "NZ"]}},
                    {{"attribute": "plan", "operator": "equals", "values": ["pro"]}},
                    {{"attribute": "age", "operator": "greater", "values": [%s]}}]}}', n % 50)::jsonb end
            from generate_series(1, {EXPERIMENTS}) n;
        insert into ab.variant (experiment_id, variant) select experiment_id, v from ab.experiment, unnest('{{control,treatment}}'::text[]) v order by 1, 2;
        update ab.experiment set status = 'running';
        select count(ab_create_flag('flag_' || n, rules =>
            '[{{"when": {{"operator": "in_segment", "values": ["million"]}}, "value": true}}, {{"percent": 25, "value": true}}]'))
            from generate_series(1, 1000) n;
        analyze"#,
    ))?;
    Ok(())
}
