//! The reference that `\df+` and `\d+` show: every function says what it does and gives an example that runs.

use ab_tests::{Database, one};
use postgres::Client;

fn public_functions(client: &mut Client) -> Vec<(String, Option<String>)> {
    client
        .query(
            "select p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc') from pg_proc p
             join pg_depend d on d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
             join pg_extension e on e.oid = d.refobjid and e.extname = 'pg_ab'
             where p.pronamespace = 'public'::regnamespace order by 1",
            &[],
        )
        .expect("the list of functions")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect()
}

fn examples(comment: &str) -> Vec<String> {
    comment.lines().filter_map(|line| line.strip_prefix("Example: ")).map(str::to_owned).collect()
}

#[test]
fn every_public_function_explains_itself_by_an_example() {
    let mut client = Database::new().connect();
    let functions = public_functions(&mut client);
    assert!(functions.len() > 20, "{functions:?}");
    for (function, comment) in &functions {
        let comment = comment.as_deref().unwrap_or_default();
        assert!(function.starts_with("ab_"), "{function}");
        assert!(comment.len() > 40, "{function} says too little: {comment}");
        assert_eq!(examples(comment).len(), 1, "{function} has one line that starts with \"Example: \"");
        let name = function.split('(').next().unwrap_or_default();
        assert!(examples(comment)[0].contains(&format!("{name}(")), "{function} shows something else");
        assert!(examples(comment)[0].ends_with(';'), "{function}");
    }
}

#[test]
fn every_example_runs() {
    let mut client = Database::new().connect();
    let functions = public_functions(&mut client);
    let example = |name: &str| -> String {
        functions
            .iter()
            .find(|(function, _)| function.starts_with(name))
            .and_then(|(_, comment)| examples(comment.as_deref()?).pop())
            .unwrap_or_else(|| panic!("no example of {name}"))
    };
    // As a reader would go through them: what makes things, then what uses them, then the end of their lives.
    let first = ["ab_create_experiment(", "ab_create_metric(", "ab_add_metric(", "ab_start("];
    let last = ["ab_rollup(", "ab_rebuild(", "ab_results(", "ab_pause(", "ab_resume(", "ab_stop("];
    let ordered = |function: &str, names: &[&str]| names.iter().any(|name| function.starts_with(name));
    let mut script: Vec<String> = first.iter().map(|name| example(name)).collect();
    for (function, comment) in &functions {
        if !ordered(function, &first) && !ordered(function, &last) {
            script.extend(examples(comment.as_deref().unwrap_or_default()));
        }
    }
    script.extend(last.iter().map(|name| example(name)));
    for statement in &script {
        client.batch_execute(statement).unwrap_or_else(|error| panic!("{statement}\n{error:?}"));
    }
    assert_eq!(script.len(), functions.len());
    let counted = one(
        &mut client,
        "select string_agg(distinct metric, ' ') from ab_results('checkout_button') where units > 0",
    );
    assert_eq!(counted.as_deref(), Some("order_value"), "the examples tell one story");
}

#[test]
fn every_table_and_view_says_what_it_holds() {
    let mut client = Database::new().connect();
    client.batch_execute("select ab_create_experiment('x')").unwrap();
    let silent = one(
        &mut client,
        "select string_agg(c.relname, ' ' order by c.relname) from pg_class c
         where c.relnamespace = 'ab'::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition and obj_description(c.oid, 'pg_class') is null",
    );
    assert_eq!(silent, None);
    let silent = one(
        &mut client,
        "select string_agg(p.oid::regprocedure::text, ' ') from pg_proc p
         where p.pronamespace = 'ab_internal'::regnamespace and obj_description(p.oid, 'pg_proc') is null",
    );
    assert_eq!(silent, None);
    let silent = one(
        &mut client,
        "select string_agg(n, ' ') from unnest('{ab,ab_internal}'::text[]) n where obj_description(n::regnamespace, 'pg_namespace') is null",
    );
    assert_eq!(silent, None);
}
