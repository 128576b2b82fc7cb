//! Who sends many events at once is told what became of each: stored, stored before, or refused and why.

use ab_tests::{Database, one};
use postgres::Client;

/// A batch of purchases, exposures and clicks, some of days without a partition; the answer as `item code`, in order.
fn send(client: &mut Client, numbers: &[i32]) -> Vec<String> {
    let rows = client
        .query(
            "select r.item || ' ' || r.code || coalesce(' ' || r.message, '')
             from (
                 select
                     array_agg('u' || n % 3 order by i) as users,
                     array_agg(('0190163d-8694-439b-aea5-' || lpad(to_hex(n), 12, '0'))::uuid order by i) as ids,
                     array_agg(date_trunc('day', now()) - n % 4 * interval '15 days' order by i) as times,
                     array_agg((array['custom', 'purchase', 'exposure'])[1 + n % 3] order by i) as types,
                     array_agg('buy'::text order by i) as names,
                     array_agg(n::float8 order by i) as amounts,
                     array_agg('{}'::text order by i) as properties,
                     array_agg(case when n < 0 then 'missing' when n % 3 = 2 then 'e' end order by i) as experiments,
                     array_agg(case when n % 3 = 2 then 'control' end order by i) as variants,
                     array_agg(null::text order by i) as sessions
                 from unnest($1::int[]) with ordinality t (n, i)
             ) b
             cross join lateral ab_track_batch(b.users, b.ids, b.times, b.types, b.names, b.amounts, b.properties, b.experiments, b.variants, b.sessions) r
             order by r.item",
            &[&numbers],
        )
        .expect("a batch");
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn events_stored_before_are_named_as_duplicates() {
    let database = Database::new();
    let mut client = database.connect();
    client.batch_execute("select ab_create_experiment('e'); select ab_start('e')").expect("an experiment");
    let first: Vec<i32> = (0..12).collect();
    assert_eq!(send(&mut client, &first), Vec::<String>::new());
    assert_eq!(
        one(&mut client, "select count(*) > 0 from ab.event_overflow").as_deref(),
        Some("t"),
        "some days have no partition"
    );
    let all_again: Vec<String> = (1..=12).map(|item| format!("{item} duplicate")).collect();
    assert_eq!(send(&mut client, &first), all_again);
    // New ones, the same ones, one twice in the batch, and one that cannot be stored.
    assert_eq!(
        send(&mut client, &[20, 3, 21, 20, -3, 5]),
        [
            "2 duplicate",
            "4 duplicate",
            "5 experiment_not_found experiment \"missing\" does not exist",
            "6 duplicate"
        ]
    );
    assert_eq!(one(&mut client, "select count(*) from ab.event").as_deref(), Some("14"));
    // What was rolled back was never there.
    client.batch_execute("begin").expect("begin");
    assert_eq!(send(&mut client, &[30]), Vec::<String>::new());
    assert_eq!(send(&mut client, &[30]), ["1 duplicate"]);
    client.batch_execute("rollback").expect("rollback");
    assert_eq!(send(&mut client, &[30]), Vec::<String>::new());
    // One at a time it is the same as ever: nothing is raised, and the id comes back.
    let id = one(&mut client, "select ab_track('ann', 'buy')").expect("an id");
    assert_eq!(one(&mut client, &format!("select ab_track('ann', 'buy', event_id => '{id}')")), Some(id));
}
