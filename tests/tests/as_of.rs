//! What `ab_as_of` says of the past is what was answered then.

use std::thread;
use std::time::Duration;

use ab_tests::{Database, assert_calm_log, one};
use postgres::Client;

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

/// Writes down what everybody is answered now.
fn note(client: &mut Client, step: &str) {
    let noted = client
        .execute(
            "insert into noted
             select $1, clock_timestamp(), u.id, x.key, c.context, ab_assign(u.id, x.key, c.context), ab_assign_reason(u.id, x.key, c.context)
             from (select n::text from generate_series(1, 60) n) u (id),
                 unnest('{plain,ramped,kept,shipping,gone,after_flag}'::text[]) x (key),
                 unnest('{\"{}\",\"{\\\"country\\\": \\\"DE\\\"}\"}'::jsonb[]) c (context)",
            &[&step],
        )
        .expect(step);
    assert_eq!(noted, 720);
}

#[test]
fn the_past_is_answered_as_it_was() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "create table noted (step text, at timestamptz, user_id text, experiment text, context jsonb, variant text, reason text)",
    );
    note(&mut client, "nothing");
    run(
        &mut client,
        r#"select ab_create_flag('open', default_value => 'false');
           select ab_create_experiment('plain'), ab_create_experiment('ramped', traffic => 5), ab_create_experiment('kept', sticky => true),
               ab_create_experiment('shipping'), ab_create_experiment('gone'),
               ab_create_experiment('after_flag', prerequisites => '[{"flag": "open", "values": [true]}]')"#,
    );
    note(&mut client, "drafts");
    run(&mut client, "select ab_start(experiment) from ab.experiment");
    note(&mut client, "started");
    // Of these alone a first variant is stored, by and by.
    run(&mut client, "select ab_expose(n::text, 'kept') from generate_series(1, 20) n");
    note(&mut client, "20 exposed");
    run(
        &mut client,
        r#"select ab_set_weights('plain', '{"control": 10, "treatment": 90}'), ab_set_weights('kept', '{"control": 10, "treatment": 90}');
           select ab_kill('open')"#,
    );
    note(&mut client, "reweighted");
    run(&mut client, "select ab_expose(n::text, 'kept') from generate_series(21, 40) n");
    note(&mut client, "40 exposed");
    run(
        &mut client,
        r#"select ab_set_weights('kept', '{"control": 90, "treatment": 10}'); select ab_set_traffic('plain', 50);
           select ab_set_targeting('kept', '{"attribute": "country", "operator": "equals", "values": ["DE"]}'),
               ab_set_targeting('gone', '{"not": {"attribute": "country", "operator": "equals", "values": ["DE"]}}');
           select ab_revive('open'); select ab_set_flag('open', '[{"when": {"attribute": "country", "operator": "exists"}, "value": true}]')"#,
    );
    note(&mut client, "targeted");
    run(
        &mut client,
        "select ab_schedule('ramped', jsonb_build_array(jsonb_build_object('at', now() + interval '2 seconds', 'percent', 60)));
         select ab_pause('plain')",
    );
    note(&mut client, "scheduled");
    thread::sleep(Duration::from_secs(3));
    note(&mut client, "ramped");
    run(
        &mut client,
        "select ab_resume('plain'); select ab_override('plain', 'control', '7'); select ab_stop('gone'), ab_stop('shipping', ship => 'treatment')",
    );
    note(&mut client, "shipped");
    run(
        &mut client,
        "select ab_set_prerequisites('after_flag', '[]'); select ab_delete_flag('open'); delete from ab.experiment where experiment = 'gone'",
    );
    note(&mut client, "deleted");
    run(&mut client, "select ab_create_experiment('gone'); select ab_start('gone')");
    note(&mut client, "made again");

    let met = one(&mut client, "select string_agg(distinct reason, ' ' order by reason) from noted");
    assert_eq!(
        met.as_deref(),
        Some("not_found not_running not_targeted override prerequisite shipped split sticky traffic"),
        "the steps lead everywhere"
    );
    let different = one(
        &mut client,
        "select string_agg(format('%s: %s %s %s was %s (%s), is said to have been %s (%s)', step, n.user_id, n.experiment, n.context,
             n.variant, n.reason, p.variant, p.reason), E'\\n')
         from noted n, lateral ab_as_of(n.at, n.user_id, n.experiment, n.context) p
         where (n.variant, n.reason) is distinct from (p.variant, p.reason) or p.note is not null",
    );
    assert_eq!(different, None);
    assert_calm_log();
}

#[test]
fn for_ever_and_never_are_times_too() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_experiment('open'), ab_create_experiment('kept', sticky => true), ab_create_experiment('ended', ends_at => now() + interval '1 day');
           select ab_start(experiment) from ab.experiment; select ab_expose('u', 'kept'); select ab_set_targeting('kept', '{"any": []}')"#,
    );
    let mut reasons = |at: &str| {
        one(
            &mut client,
            &format!(
                "select string_agg(p.reason, ' ' order by x.place) from unnest('{{open,kept,ended,nothing}}'::text[]) with ordinality x (key, place),
                     lateral ab_as_of('{at}', 'u', x.key) p"
            ),
        )
    };
    for late in ["infinity", "294276-12-31", "2900-01-01"] {
        assert_eq!(reasons(late).as_deref(), Some("split sticky not_running not_found"), "{late}");
    }
    for early in ["-infinity", "4713-01-01 BC", "1066-10-14", "1970-01-01"] {
        assert_eq!(reasons(early).as_deref(), Some("not_found not_found not_found not_found"), "{early}");
    }
    assert_eq!(one(&mut client, "select count(*) from ab_as_of(null, 'u', 'open')").as_deref(), Some("0"));
    assert_calm_log();
}

#[test]
fn members_of_today_are_said_to_be() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_segment('team'); select ab_create_experiment('x', targeting => '{"operator": "in_segment", "values": ["team"]}'); select ab_start('x')"#,
    );
    run(
        &mut client,
        "create table before as select clock_timestamp() as at; select ab_add_members('team', '{ann}')",
    );
    let answer = one(
        &mut client,
        "select concat_ws(' ', p.reason, p.note) from before b, ab_as_of(b.at, 'ann', 'x') p",
    );
    assert_eq!(
        answer.as_deref(),
        Some("split past members are not kept, so those of today were taken: team")
    );
}
