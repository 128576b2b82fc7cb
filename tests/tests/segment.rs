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

#[test]
fn what_a_query_finds_among_a_million_rows_is_targeted_exactly() {
    let database = Database::new();
    let mut owner = database.connect();
    run(
        &mut owner,
        r#"create table customer (id bigint primary key, spent integer);
           insert into customer select n, n % 1000 from generate_series(1, 1000000) n;
           select ab_create_segment('rich', query => 'select id from public.customer where spent < 1000');
           select ab_create_experiment('x', targeting => '{"operator": "in_segment", "values": ["rich"]}'); select ab_start('x');
           select ab_create_flag('f', rules => '[{"when": {"operator": "in_segment", "values": ["rich"]}, "value": true}]')"#,
    );
    assert_eq!(state(&mut owner, "rich"), "1000000 2 1");
    let gateway = ab_embedded::Gateway::start(&database.url()).expect("a gateway");
    run(&mut owner, "update customer set spent = 5000 where id % 4 = 0");
    assert_eq!(one(&mut owner, "select ab_refresh_segment('rich')").as_deref(), Some("750000"));
    assert_eq!(one(&mut owner, "select count(*) from ab_segment_members('rich')").as_deref(), Some("750000"));
    // Beyond the table, too.
    let counts = one(
        &mut owner,
        "select concat_ws(' ', count(ab_assign(n, 'x')), count(*) filter (where ab_flag_enabled(n::text, 'f')), count(*) filter (where ab_assign(n, 'x') is not null and n % 4 = 0))
         from generate_series(1, 1100000, 57) n",
    );
    let expected = one(
        &mut owner,
        "select concat_ws(' ', count(*), count(*), 0) from generate_series(1, 1100000, 57) n where n <= 1000000 and n % 4 <> 0",
    );
    assert_eq!(counts, expected);
    let http = reqwest::blocking::Client::new();
    let is_given = |user: u32| -> bool {
        let ask = |path: &str, body: serde_json::Value| -> serde_json::Value {
            let answer = http.post(format!("{}/api/v1/{path}", gateway.url())).json(&body).send();
            answer
                .and_then(reqwest::blocking::Response::error_for_status)
                .and_then(reqwest::blocking::Response::json)
                .expect("an answer")
        };
        let user = user.to_string();
        let assigned = ask("assign", serde_json::json!({"user_id": user, "experiments": ["x"]}));
        let flag = ask("flags/f", serde_json::json!({ "user_id": user }));
        let is_assigned = assigned["assignments"][0]["reason"] == "split";
        assert_eq!(flag["value"] == true, is_assigned, "{user}");
        is_assigned
    };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while is_given(1_000_000) {
        assert!(std::time::Instant::now() < end, "the refreshed members never reached the gateway");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    for user in (1..=1_100_000).step_by(1_373) {
        assert_eq!(is_given(user), user <= 1_000_000 && user % 4 != 0, "{user}");
    }
}

#[test]
fn an_owner_who_may_no_longer_read_stops_a_refresh_and_not_the_members() {
    let database = Database::new();
    let mut owner = database.connect();
    run(
        &mut owner,
        "create table customer (id uuid); insert into customer select gen_random_uuid() from generate_series(1, 100);
         create role segment_loser login password 'secret'; create role segment_helper login password 'secret';
         grant select on customer to segment_loser;
         select ab_grant('segment_loser', 'admin'), ab_grant('segment_helper', 'admin')",
    );
    let mut loser = database.connect_as("segment_loser", "secret");
    let mut helper = database.connect_as("segment_helper", "secret");
    run(&mut loser, "select ab_create_segment('all', query => 'select id from public.customer')");
    run(&mut owner, "insert into customer values (gen_random_uuid())");
    assert_eq!(one(&mut helper, "select ab_refresh_segment('all')").as_deref(), Some("101"));
    run(
        &mut owner,
        "revoke select on customer from segment_loser; insert into customer values (gen_random_uuid())",
    );
    let before = (state(&mut owner, "all"), one(&mut owner, "select ab_config_version()"));
    // Whoever asks, also somebody who may read the table.
    for session in [&mut loser, &mut helper, &mut owner] {
        let error = sql_error(session.batch_execute("select ab_refresh_segment('all')"));
        assert_eq!((error.sqlstate.as_str(), error.code.as_str()), ("22023", "invalid_query"));
        assert!(error.message.contains("permission denied for table customer"), "{}", error.message);
    }
    assert_eq!((state(&mut owner, "all"), one(&mut owner, "select ab_config_version()")), before);
    assert_eq!(one(&mut owner, "select count(*) from ab_segment_members('all')").as_deref(), Some("101"));
    for forged in [
        "update ab.segment set owner_role = 'postgres'",
        "update ab.segment set owner_role = 'pg_read_all_data'",
        "insert into ab.segment (segment, kind, query, owner_role) values ('s', 'query', 'select 1', 'pg_database_owner')",
    ] {
        assert_eq!(sql_error(helper.batch_execute(forged)).sqlstate, "42501", "{forged}");
    }
    drop((loser, helper));
    run(&mut owner, "drop owned by segment_loser, segment_helper; drop role segment_loser, segment_helper");
}

#[test]
fn a_query_can_do_nothing_but_read() {
    let database = Database::new();
    let mut owner = database.connect();
    run(
        &mut owner,
        "create table customer (id text, spent numeric); insert into customer values ('c1', 1), ('c2', 2);
         create sequence number;
         create role hostile login password 'secret'; grant select, insert, update, delete on customer to hostile;
         grant all on sequence number to hostile; grant create on schema public to hostile;
         select ab_grant('hostile', 'admin')",
    );
    let mut hostile = database.connect_as("hostile", "secret");
    run(
        &mut hostile,
        "create function writes() returns text volatile language plpgsql as $$ begin insert into public.customer values ('written'); return 'x'; end $$;
         create function hidden_write() returns text stable language plpgsql as $$ begin return public.writes(); end $$;
         create function direct_write() returns text stable language plpgsql as $$ begin delete from public.customer; return 'x'; end $$;
         create function makes() returns text volatile language plpgsql as $$ begin create temporary table made (x integer); return 'x'; end $$;
         create function hidden_table() returns text stable language plpgsql as $$ begin return public.makes(); end $$;
         create function numbers() returns text volatile language plpgsql as $$ begin return nextval('public.number')::text; end $$;
         create function hidden_number() returns text stable language plpgsql as $$ begin return public.numbers(); end $$;
         create function becomes() returns text stable language plpgsql as $$ begin perform set_config('role', 'postgres', false); return 'x'; end $$;
         create function unlocks() returns text volatile language plpgsql as $$ begin set transaction read write; insert into public.customer values ('written'); return 'x'; end $$;
         create function hidden_unlock() returns text stable language plpgsql as $$ begin perform set_config('transaction_read_only', 'off', false); return public.writes(); end $$;
         create function hidden_unlock_2() returns text stable language plpgsql as $$ begin return public.unlocks(); end $$;
         create function commits() returns text volatile language plpgsql as $$ begin commit; return 'x'; end $$;
         create function hidden_commit() returns text stable language plpgsql as $$ begin return public.commits(); end $$",
    );
    let before = one(&mut owner, "select ab_config_version()");
    let too_long = "select repeat(''x'', 513)";
    for query in [
        "with gone as (delete from public.customer returning id) select id from gone",
        "with new as (insert into public.customer values (''y'') returning id) select id from new",
        "insert into public.customer values (''y'') returning id",
        "update public.customer set spent = 0 returning id",
        "select ''a''; select ''b''",
        "select ''a''; drop table public.customer",
        "select pg_sleep(1)",
        "select id from public.customer where pg_sleep(1) is not null",
        "select random()::text",
        "select nextval(''public.number'')::text",
        "select pg_advisory_lock(1)::text",
        "select set_config(''ab.workspace'', ''x'', false)",
        "select set_config(''role'', ''postgres'', false)",
        "select lo_import(''/etc/passwd'')::text",
        "select query_to_xml(''delete from public.customer'', true, true, '''')::text",
        "select id from public.customer for update",
        "select id from public.customer for share",
        "select id from (select id from public.customer for no key update) x",
        "select public.writes()",
        "select public.hidden_write()",
        "select public.direct_write()",
        "select public.hidden_table()",
        "select public.hidden_number()",
        "select public.becomes()",
        "select public.hidden_unlock()",
        "select public.hidden_unlock_2()",
        "select public.hidden_commit()",
        "select id into temporary stolen from public.customer",
        "create temporary table stolen as select id from public.customer",
        "copy public.customer to stdout",
        "copy public.customer to program ''true''",
        "do $x$ begin null; end $x$",
        "explain select 1",
        "show all",
        "begin",
        "commit",
        "call public.nothing()",
        "listen x",
        "set role postgres",
        "truncate public.customer",
        "select id, spent from public.customer",
        "select from public.customer",
        "select ''''",
        too_long,
        "select id from public.customer where",
        "select id from public.nowhere",
        "select user_id from ab.segment_member, ab_internal.config_version",
        "select $1",
        "",
        ";",
        "-- nothing",
    ] {
        let statement = format!("select ab_create_segment('s', query => '{query}')");
        let error = sql_error(hostile.batch_execute(&statement));
        assert_eq!(
            (error.sqlstate.as_str(), error.code.as_str()),
            ("22023", "invalid_query"),
            "{query}: {error:?}"
        );
        assert!(!error.message.is_empty() && !error.hint.is_empty(), "{query}");
        run(&mut hostile, "rollback");
    }
    let kept = one(
        &mut owner,
        "select concat_ws(' ', (select string_agg(id || spent, ' ' order by id) from customer), (select is_called from number), (select count(*) from ab.segment), (select count(*) from ab.segment_member),
            (select count(*) from pg_class where relname in ('made', 'stolen')))",
    );
    assert_eq!(kept.as_deref(), Some("c11 c22 f 0 0 0"));
    assert_eq!(one(&mut owner, "select ab_config_version()"), before);
    assert_eq!(one(&mut hostile, "select current_user").as_deref(), Some("hostile"));
    // What only looks unusual is read.
    for (query, members) in [
        ("select 9223372036854775807", "9223372036854775807"),
        ("select ''0190163d-8694-439b-aea5-000000000001''::uuid", "0190163d-8694-439b-aea5-000000000001"),
        ("values (''b''), (null), (''a''), (''a'')", "a b"),
        ("with x as materialized (select id from public.customer) table x", "c1 c2"),
        ("select repeat(''x'', 4);", "xxxx"),
        ("select null::text", ""),
    ] {
        run(&mut hostile, &format!("select ab_create_segment('s', query => '{query}')"));
        let found = one(
            &mut owner,
            "select coalesce(string_agg(m, ' ' order by m), '') from ab_segment_members('s') m",
        );
        assert_eq!(found.as_deref(), Some(members), "{query}");
        run(&mut hostile, "delete from ab.segment");
    }
    drop(hostile);
    run(&mut owner, "drop owned by hostile cascade; drop role hostile");
}

#[test]
fn a_query_leaves_no_setting_behind_for_whoever_refreshes() {
    let database = Database::new();
    let mut owner = database.connect();
    run(
        &mut owner,
        "create role settler login password 'secret'; grant create on schema public to settler; select ab_grant('settler', 'admin');
         insert into ab.workspace (workspace) values ('trap')",
    );
    let mut settler = database.connect_as("settler", "secret");
    run(
        &mut settler,
        "create function settles() returns text stable language plpgsql as $$
         begin
             perform set_config('ab.workspace', 'trap', false), set_config('statement_timeout', '7777', false), set_config('search_path', 'trap', false);
             return 'x';
         end $$;
         select ab_create_segment('s', query => 'select public.settles()')",
    );
    let settings = "select concat_ws(' ', current_setting('ab.workspace', true), current_setting('statement_timeout'), current_setting('search_path'))";
    let before = one(&mut owner, settings);
    assert_eq!(one(&mut owner, "select ab_refresh_segment('s')").as_deref(), Some("1"));
    assert_eq!(one(&mut owner, settings), before);
    drop(settler);
    run(&mut owner, "drop owned by settler cascade; drop role settler");
}

#[test]
fn nobody_writes_a_query_that_runs_with_the_rights_of_another() {
    let database = Database::new();
    let mut client = database.connect();
    let role = format!("mallory_{}", std::process::id());
    run(
        &mut client,
        &format!(
            "create role {role}; select ab_grant('{role}', 'admin'); grant create, usage on schema public to {role};
            create table public.secret as select 's1' as user_id;
            set session authorization {role};
            create table public.trapped (id integer);
            create function public.plant() returns void language plpgsql as $$ begin
                insert into ab.segment (segment, kind, query) values ('loot', 'query', 'select user_id from public.secret') on conflict do nothing;
            end $$;
            create function public.trap(i integer) returns integer language plpgsql immutable as $$ begin
                if session_user <> current_user then perform public.plant(); end if;
                return i;
            end $$;
            create index on public.trapped (public.trap(id));
            insert into public.trapped select generate_series(1, 100);
            create function public.definer() returns text language plpgsql security definer as $$ begin
                insert into ab.segment (segment, kind, query) values ('loot3', 'query', 'select user_id from public.secret');
                return ab_create_segment('loot2', query => 'select n::text from generate_series(1, 3) n');
            end $$;
            grant execute on function public.definer() to public;
            reset session authorization;
            analyze public.trapped;
            select public.definer()",
        ),
    );
    let owners = one(
        &mut client,
        "select string_agg(format('%s by %s', segment, owner_role), ', ' order by segment) from ab.segment",
    );
    assert_eq!(
        owners.as_deref(),
        Some(format!("loot by {role}, loot2 by {role}, loot3 by {role}").as_str()),
        "whoever is tricked into running it"
    );
    run(&mut client, &format!("set session authorization {role}"));
    assert_eq!(one(&mut client, "select ab_refresh_segment('loot2')").as_deref(), Some("3"));
    assert_eq!(code(&mut client, "select ab_refresh_segment('loot')"), "invalid_query");
    for refused in [
        "insert into ab.segment (segment, kind, query, owner_role) values ('mine', 'query', 'select 1', 'postgres')",
        "update ab.segment set owner_role = 'postgres' where segment = 'loot2'",
        "select ab_internal.segment_query('select user_id from public.secret', 'postgres')",
    ] {
        assert_eq!(sql_error(client.batch_execute(refused)).sqlstate, "42501", "{refused}");
    }
    let error = sql_error(client.batch_execute(
        "insert into ab.segment_member select segment_id, 'u' from ab.segment where segment = 'loot2'",
    ));
    assert_eq!(error.code, "invalid_segment");
    run(&mut client, "reset session authorization");
    // What one wrote, and another takes over by rewriting, is the other's from then on.
    run(&mut client, "select ab_create_segment('ours', query => 'select user_id from public.secret')");
    assert_eq!(one(&mut client, "select ab_refresh_segment('ours')").as_deref(), Some("1"));
    run(
        &mut client,
        &format!(
            "set session authorization {role}; update ab.segment set query = query || ' ' where segment = 'ours'"
        ),
    );
    assert_eq!(code(&mut client, "select ab_refresh_segment('ours')"), "invalid_query");
    run(&mut client, &format!("reset session authorization; drop owned by {role} cascade; drop role {role}"));
}

#[test]
fn nobody_waits_for_a_query_or_for_a_list_on_its_way() {
    let database = Database::new();
    let mut client = database.connect();
    run(
        &mut client,
        "select ab_create_flag('f', default_value => 'true'), ab_create_segment('list');
        create function public.slow() returns text language plpgsql stable as $$ begin perform pg_sleep(3); return 'u'; end $$",
    );
    let mut other = database.connect();
    let creating = std::thread::spawn(move || {
        run(&mut other, "select ab_create_segment('slow', query => 'select public.slow()')")
    });
    let mut loading = database.connect();
    let mut copy = loading.copy_in("copy ab.segment_member from stdin").expect("COPY");
    copy.write_all(b"1\tf\n").expect("a row");
    copy.flush().expect("a row on its way");
    std::thread::sleep(std::time::Duration::from_millis(500));
    run(&mut client, "set lock_timeout = '1s'; select ab_kill('f')");
    assert!(!creating.is_finished(), "the query was over before the flag was killed");
    creating.join().expect("a segment");
    copy.finish().expect("the end of COPY");
    assert_eq!(state(&mut client, "list"), "1 1 1");
    assert_eq!(state(&mut client, "slow"), "1 1 1");
}

#[test]
fn what_something_names_stays() {
    let mut client = Database::new().connect();
    run(
        &mut client,
        r#"select ab_create_segment(s) from unnest('{a,b,c,d,e}'::text[]) s;
        select ab_create_segment('r', '{"not": {"operator": "in_segment", "values": ["a"]}}');
        select ab_create_experiment('x', targeting => '{"any": [{"operator": "in_segment", "values": ["z", "b"]}]}') from (select ab_create_segment('z')) z;
        select ab_exclude(rule => '{"operator": "in_segment", "values": ["c"]}');
        select ab_create_flag('gate');
        select ab_create_flag('f', rules => '[{"when": {"operator": "in_segment", "values": ["d"]}, "value": true}]');
        select ab_override('x', 'control', segment => 'e');
        select ab_create_experiment('y'), ab_create_experiment('needed');
        select ab_set_prerequisites('y', '[{"flag": "gate", "values": [true]}, {"experiment": "needed", "assigned": true}]')"#,
    );
    for statement in [
        "delete from ab.segment where segment = 'a'",
        "delete from ab.segment where segment = 'b'",
        "delete from ab.segment where segment = 'c'",
        "delete from ab.segment where segment = 'd'",
        "delete from ab.segment where segment = 'e'",
        "select ab_delete_flag('gate')",
        "delete from ab.experiment where experiment = 'needed'",
    ] {
        assert_eq!(code(&mut client, statement), "in_use", "{statement}");
    }
    let error = sql_error(client.batch_execute("delete from ab.segment where segment = 'a'"));
    assert_eq!(error.message, "segment \"a\" is named in the rule of segment \"r\"");
    run(
        &mut client,
        "delete from ab.segment where segment in ('a', 'r'); select ab_set_prerequisites('y', '[]'); select ab_delete_flag('gate');
        delete from ab.experiment where experiment = 'needed'; select ab_start('x'), ab_stop('x');
        delete from ab.segment where segment = 'b'",
    );
}
