//! Segments: members by function, by plain DML, by COPY and by query, and what those who keep a copy are told.

use std::io::Write;

use ab_tests::{Database, one, sql_error};
use postgres::Client;

fn run(client: &mut Client, statements: &str) {
    client.batch_execute(statements).expect(statements);
}

fn code(client: &mut Client, statement: &str) -> String {
    sql_error(client.batch_execute(statement)).code
}

/// Members, generation and revision of a segment.
fn state(client: &mut Client, segment: &str) -> String {
    let query = format!(
        "select concat_ws(' ', members, generation, revision) from ab.segment where segment = '{segment}'"
    );
    one(client, &query).unwrap_or_default()
}

fn changes(client: &mut Client, segment: &str, since: &str) -> String {
    let query = format!(
        "select string_agg(user_id || case when is_member then '+' else '-' end, ' ') from ab_segment_changes('{segment}', {since})"
    );
    one(client, &query).unwrap_or_default()
}

#[test]
fn members_are_counted_and_changes_noted_however_they_come() {
    let mut client = Database::new().connect();
    run(&mut client, "select ab_create_segment('list')");
    assert_eq!(state(&mut client, "list"), "0 1 0");
    assert_eq!(one(&mut client, "select ab_add_members('list', '{a,b,a}')").as_deref(), Some("2"));
    assert_eq!(one(&mut client, "select ab_add_members('list', '{b,c}')").as_deref(), Some("1"));
    assert_eq!(one(&mut client, "select ab_remove_members('list', '{a,z}')").as_deref(), Some("1"));
    let version = one(&mut client, "select ab_config_version()").unwrap();
    run(
        &mut client,
        "insert into ab.segment_member select segment_id, 'd' from ab.segment;
         update ab.segment_member set user_id = 'e' where user_id = 'd';
         delete from ab.segment_member where user_id = 'b'",
    );
    let mut copy = client.copy_in("copy ab.segment_member from stdin").expect("COPY");
    copy.write_all(b"1\tf\n1\tg\n").expect("rows");
    copy.finish().expect("the end of COPY");
    assert_eq!(changes(&mut client, "list", "0"), "a+ b+ c+ a- d+ d- e+ b- f+ g+");
    assert_eq!(changes(&mut client, "list", &version), "d+ d- e+ b- f+ g+");
    let members = one(&mut client, "select string_agg(m, ' ' order by m) from ab_segment_members('list') m");
    assert_eq!(members.as_deref(), Some("c e f g"));
    assert!(state(&mut client, "list").starts_with("4 1 "));
    let published = one(
        &mut client,
        "select document - 'id' - 'revision' from ab_config_changes() where kind = 'segment' and version = ab_config_version()",
    );
    assert_eq!(
        published.as_deref(),
        Some(r#"{"key": "list", "kind": "list", "workspace": "default", "generation": 1}"#)
    );
    run(&mut client, "truncate ab.segment_member");
    assert!(state(&mut client, "list").starts_with("0 2 "));
    assert_eq!(changes(&mut client, "list", "0"), "");
}

#[test]
fn many_changes_at_once_make_copies_anew() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        "select ab_create_segment('list'); select ab_add_members('list', '{a}');
         insert into ab.segment_member select segment_id, 'u' || n from ab.segment, generate_series(1, 10000) n",
    );
    assert_eq!(state(&mut client, "list"), "10001 1 2");
    assert_eq!(
        one(&mut client, "select count(*) from ab_segment_changes('list', 0)").as_deref(),
        Some("10001")
    );
    run(
        &mut client,
        "insert into ab.segment_member select segment_id, 'v' || n from ab.segment, generate_series(1, 10001) n",
    );
    assert_eq!(state(&mut client, "list"), "20002 2 3");
    assert_eq!(changes(&mut client, "list", "0"), "");
    run(
        &mut client,
        "do $$ begin for i in 1..11 loop
             insert into ab.segment_member select segment_id, i || 'w' || n from ab.segment, generate_series(1, 10000) n;
         end loop; end $$",
    );
    assert_eq!(state(&mut client, "list"), "130002 3 14", "an endless list of changes is no help");
    run(&mut client, "delete from ab.segment");
    let left =
        "select (select count(*) from ab.segment_member) + (select count(*) from ab_internal.segment_change)";
    assert_eq!(one(&mut client, left).as_deref(), Some("0"));
}

#[test]
fn a_query_finds_its_members_with_the_rights_of_its_author() {
    let database = Database::new();
    let mut owner = database.connect();
    run(
        &mut owner,
        "create table customer (id text, spent numeric); insert into customer select 'c' || n, n from generate_series(1, 100) n;
         create role segment_author login password 'secret'; create role segment_reader login password 'secret';
         grant select on customer to segment_author;
         select ab_grant('segment_author', 'admin'), ab_grant('segment_reader', 'admin')",
    );
    let mut author = database.connect_as("segment_author", "secret");
    let mut reader = database.connect_as("segment_reader", "secret");
    let rich = "select ab_create_segment('rich', query => 'select id from public.customer where spent > 90')";
    assert_eq!(code(&mut reader, rich), "invalid_query", "the reader may not read it");
    run(&mut author, rich);
    assert_eq!(state(&mut owner, "rich"), "10 1 1");
    run(&mut owner, "update customer set spent = spent + 5; insert into customer values (null, 1000)");
    assert_eq!(one(&mut reader, "select ab_refresh_segment('rich')").as_deref(), Some("15"));
    run(&mut owner, "insert into customer values ('', 1000)");
    assert_eq!(
        code(&mut author, "select ab_refresh_segment('rich')"),
        "invalid_query",
        "nobody has an empty id"
    );
    run(&mut owner, "delete from customer where id in ('', 'c100')");
    run(&mut reader, "select ab_refresh_segment('rich')");
    assert_eq!(changes(&mut owner, "rich", "ab_config_version() - 1"), "c100-");
    for (statement, expected) in [
        ("insert into ab.segment_member select segment_id, 'x' from ab.segment", "invalid_segment"),
        ("delete from ab.segment_member", "invalid_segment"),
        ("select ab_add_members('rich', '{x}')", "invalid_segment"),
        (
            "select ab_create_segment('s', query => 'delete from public.customer returning id')",
            "invalid_query",
        ),
        (
            "select ab_create_segment('s', query => 'select pg_catalog.set_config(''ab.workspace'', ''x'', false)')",
            "invalid_query",
        ),
        ("select ab_create_segment('s', query => 'select 1; select 2')", "invalid_query"),
    ] {
        assert_eq!(code(&mut author, statement), expected, "{statement}");
    }
    let stolen = "update ab.segment set query = 'select id from public.customer'";
    run(&mut reader, stolen);
    assert_eq!(one(&mut owner, "select owner_role from ab.segment").as_deref(), Some("segment_reader"));
    assert_eq!(
        code(&mut author, "select ab_refresh_segment('rich')"),
        "invalid_query",
        "it is the reader's query now"
    );
    for forged in [
        "update ab.segment set owner_role = 'segment_author'",
        "update ab.segment set query = 'select 1', owner_role = 'postgres'",
        "insert into ab.segment (segment, kind, query, owner_role) values ('s', 'query', 'select 1', 'postgres')",
        "insert into ab.segment (segment, kind, query, owner_role) values ('s', 'query', 'select 1', 'nobody_at_all')",
    ] {
        assert_eq!(sql_error(reader.batch_execute(forged)).sqlstate, "42501", "{forged}");
    }
    drop((author, reader));
    run(&mut owner, "drop owned by segment_author, segment_reader; drop role segment_author, segment_reader");
}

#[test]
fn segments_of_segments_end_somewhere() {
    let mut client = Database::new().connect();
    let within = |segment: &str| format!(r#"{{"operator": "in_segment", "values": ["{segment}"]}}"#);
    run(&mut client, "select ab_create_segment('list')");
    for (segment, inner) in [("a", "list"), ("b", "a"), ("c", "b")] {
        run(&mut client, &format!("select ab_create_segment('{segment}', '{}')", within(inner)));
    }
    let circle = format!("update ab.segment set rule = '{}' where segment = 'a'", within("c"));
    let error = sql_error(client.batch_execute(&circle));
    assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "segment_cycle"));
    let own = format!("insert into ab.segment (segment, kind, rule) values ('d', 'rule', '{}')", within("d"));
    assert_eq!(code(&mut client, &own), "segment_cycle");
    let unknown = format!("update ab.segment set rule = '{}' where segment = 'a'", within("nowhere"));
    assert_eq!(code(&mut client, &unknown), "segment_not_found");
    run(
        &mut client,
        &format!(
            "select ab_create_experiment('x', targeting => '{}'); select ab_start('x'); select ab_add_members('list', '{{u}}')",
            within("c")
        ),
    );
    assert_eq!(one(&mut client, "select ab_assign_reason('u', 'x')").as_deref(), Some("split"));
    assert_eq!(one(&mut client, "select ab_assign_reason('v', 'x')").as_deref(), Some("not_targeted"));
}

#[test]
fn opting_out_ends_everything_and_can_be_taken_back() {
    let mut client = Database::new().connect();
    run(&mut client, "select ab_create_experiment('x'); select ab_start('x'); select ab_opt_in('u')");
    let reason = |client: &mut Client| one(client, "select ab_assign_reason('u', 'x')").unwrap();
    let workspace = |client: &mut Client| {
        one(client, "select document from ab_config_changes() where kind = 'workspace'").unwrap()
    };
    assert_eq!(workspace(&mut client), r#"{"workspace": "default"}"#);
    run(&mut client, "select ab_opt_out('u'), ab_opt_out('u')");
    assert_eq!(reason(&mut client), "opted_out");
    assert_eq!(workspace(&mut client), r#"{"opt_outs": true, "workspace": "default"}"#);
    assert_eq!(one(&mut client, "select ab_expose('u', 'x')"), None);
    run(&mut client, "select ab_opt_in('u')");
    assert_eq!(reason(&mut client), "split");
    run(
        &mut client,
        r#"select ab_exclude(bots => true, rule => '{"attribute": "ip", "operator": "in_cidr", "values": ["10.0.0.0/8"]}')"#,
    );
    let excluded = r#"select ab_assign_reason('u', 'x', '{"ip": "10.1.2.3"}')"#;
    assert_eq!(one(&mut client, excluded).as_deref(), Some("excluded"));
    run(&mut client, "select ab_exclude(rule => 'null')");
    assert_eq!(one(&mut client, excluded).as_deref(), Some("split"));
    assert_eq!(
        workspace(&mut client),
        r#"{"opt_outs": true, "workspace": "default", "excludes_bots": true}"#
    );
}
