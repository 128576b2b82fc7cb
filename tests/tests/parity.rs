//! SQL and HTTP and the engine answer alike, and as an independent implementation says they must.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ab_core::context::JsonContext;
use ab_core::decision::{Environment, Evaluation, Reason, Subject};
use ab_core::flag::FlagReason;
use ab_core::memory::Memory;
use ab_embedded::Gateway;
use ab_tests::Database;
use postgres::Client;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What decisions.json holds.
struct Vectors {
    steps: Vec<(String, BTreeMap<String, Value>, Option<String>)>,
    requests: Vec<(Option<String>, Option<Box<RawValue>>)>,
    experiments: Vec<Answers<(Option<String>, String)>>,
    flags: Vec<Answers<(Value, String)>>,
}

/// A key, its different answers, and for each request the index of its answer.
type Answers<T> = (String, Vec<T>, Vec<usize>);

fn vectors() -> Vectors {
    let parts: HashMap<String, Box<RawValue>> =
        serde_json::from_str(include_str!("../vectors/assignment/decisions.json")).expect("valid JSON");
    Vectors {
        steps: serde_json::from_str(parts["steps"].get()).expect("steps"),
        requests: serde_json::from_str(parts["requests"].get()).expect("requests"),
        experiments: serde_json::from_str(parts["experiments"].get()).expect("experiments"),
        flags: serde_json::from_str(parts["flags"].get()).expect("flags"),
    }
}

/// Builds the workspace of the vectors through the public functions, as a user would.
fn build(client: &mut Client, vectors: &Vectors) {
    for (function, arguments, answer) in &vectors.steps {
        let arguments: Vec<String> =
            arguments.iter().map(|(name, value)| format!("{name} => {}", literal(value))).collect();
        let call = format!("select {function}({})", arguments.join(", "));
        let rows = client.simple_query(&call).unwrap_or_else(|error| panic!("{call}: {error:?}"));
        if function == "ab_expose" {
            let found = rows.iter().find_map(|message| match message {
                postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
                _ => None,
            });
            assert_eq!(found, Some(answer.clone()), "{call}");
        }
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Array(texts) => {
            format!("array[{}]", texts.iter().map(literal).collect::<Vec<_>>().join(", "))
        }
        bare => bare.to_string(),
    }
}

/// The engine with what the database publishes.
fn engine(client: &mut Client) -> Memory {
    let mut memory = Memory::new();
    for row in
        client.query("select kind, document::text from ab_config_changes()", &[]).expect("the configuration")
    {
        let document: Box<RawValue> = serde_json::from_str(row.get(1)).expect("a document");
        memory.put(row.get(0), &document).expect("a sound document");
    }
    for row in client
        .query(
            "select s.segment::text, m.user_id from ab.segment s, ab_segment_members(s.segment) m (user_id)",
            &[],
        )
        .expect("the members")
    {
        memory.members.insert((row.get(0), row.get(1)));
    }
    memory.first_variants = Some(
        client
            .query(
                "select x.experiment::text, s.user_id, s.variant::text
                from ab.sticky_assignment s join ab.experiment x using (experiment_id)",
                &[],
            )
            .expect("the first variants")
            .iter()
            .map(|row| ((row.get(0), row.get(1)), row.get(2)))
            .collect(),
    );
    memory
}

/// Compares and says which key of which request differs.
fn compare(
    side: &str,
    vectors: &Vectors,
    request: usize,
    experiments: &[(Option<String>, String)],
    flags: &[(Value, String)],
) {
    let (user_id, context) = &vectors.requests[request];
    assert_eq!(experiments.len(), vectors.experiments.len());
    assert_eq!(flags.len(), vectors.flags.len());
    let mut wrong = Vec::new();
    for ((key, answers, indexes), found) in vectors.experiments.iter().zip(experiments) {
        let expected = &answers[indexes[request]];
        if expected != found {
            wrong.push(format!("experiment {key}: {found:?} instead of {expected:?}"));
        }
    }
    for ((key, answers, indexes), found) in vectors.flags.iter().zip(flags) {
        let expected = &answers[indexes[request]];
        if (same_numbers(&expected.0), &expected.1) != (same_numbers(&found.0), &found.1) {
            wrong.push(format!("flag {key}: {found:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{side}: user {user_id:?}, context {context:?}:\n{}", wrong.join("\n"));
}

/// 1.50 is 1.5.
fn same_numbers(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(values) => values.iter().map(same_numbers).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), same_numbers(value))).collect()
        }
        other => other.clone(),
    }
}

type Experiments = Vec<(Option<String>, String)>;
type Flags = Vec<(Value, String)>;
/// Every experiment that gives the user a variant, with its configuration.
type All = BTreeMap<String, (String, Value)>;

fn ask_engine(
    memory: &Memory,
    vectors: &Vectors,
    user_id: &str,
    context: Option<&RawValue>,
) -> (Experiments, Flags) {
    let context = context.map(JsonContext::new).unwrap_or_default();
    let subject = Subject::new(user_id, &context, now_in_microseconds());
    let experiments = vectors.experiments.iter().map(|(key, _, _)| {
        let Some(experiment) = memory.experiment(key) else {
            return (None, Reason::NotFound.as_str().to_owned());
        };
        let decision = experiment.decide(&Evaluation::new(subject, memory));
        (
            decision.variant.map(|index| experiment.variants()[index].key.clone()),
            decision.reason.as_str().to_owned(),
        )
    });
    let flags = vectors.flags.iter().map(|(key, _, _)| {
        let Some(flag) = memory.flag(key) else {
            return (Value::Null, FlagReason::NotFound.as_str().to_owned());
        };
        let decision = flag.evaluate(&Evaluation::new(subject, memory));
        (serde_json::from_str(decision.value.get()).expect("a value"), decision.reason.as_str().to_owned())
    });
    (experiments.collect(), flags.collect())
}

fn ask_sql(
    client: &mut Client,
    vectors: &Vectors,
    user_id: Option<&str>,
    context: Option<&str>,
) -> (Experiments, Flags, All) {
    let keys = |answers: &mut dyn Iterator<Item = &String>| {
        answers.map(String::as_str).collect::<Vec<_>>().join("\n")
    };
    let experiments = client
        .query(
            "select ab_assign($1::text, a.key, $2::text::jsonb), ab_assign_reason($1::text, a.key, $2::text::jsonb)
            from string_to_table($3, e'\n') with ordinality a (key, n) order by n",
            &[&user_id, &context, &keys(&mut vectors.experiments.iter().map(|(key, _, _)| key))],
        )
        .expect("answers")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let flags = client
        .query(
            "select ab_flag($1, a.key, $2::text::jsonb), ab_flag_reason($1, a.key, $2::text::jsonb), ab_flag_enabled($1, a.key, $2::text::jsonb)
            from string_to_table($3, e'\n') with ordinality a (key, n) order by n",
            &[&user_id, &context, &keys(&mut vectors.flags.iter().map(|(key, _, _)| key))],
        )
        .expect("answers")
        .iter()
        .map(|row| {
            let value = row.get::<_, Option<Value>>(0).unwrap_or_default();
            assert_eq!(row.get::<_, bool>(2), value == json!(true));
            (value, row.get(1))
        })
        .collect();
    let all = client
        .query(
            "select experiment, variant, config from ab_assign_all($1, $2::text::jsonb)",
            &[&user_id, &context],
        )
        .expect("answers")
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get::<_, Option<Value>>(2).unwrap_or_default())))
        .collect();
    (experiments, flags, all)
}

fn ask_http(
    http: &Http,
    vectors: &Vectors,
    user_id: Option<&str>,
    context: Option<&RawValue>,
) -> (Experiments, Flags, All) {
    let user_id = json!(user_id);
    let context = context.map_or(String::new(), |context| format!(r#","context":{context}"#));
    let keys = |keys: Vec<&String>| json!(keys);
    let experiments = keys(vectors.experiments.iter().map(|(key, _, _)| key).collect());
    let flags = keys(vectors.flags.iter().map(|(key, _, _)| key).collect());
    let listed =
        http.post("assign", &format!(r#"{{"user_id":{user_id},"experiments":{experiments}{context}}}"#));
    let unlisted = http.post("assign", &format!(r#"{{"user_id":{user_id}{context}}}"#));
    let flagged = http.post("flags", &format!(r#"{{"user_id":{user_id},"flags":{flags}{context}}}"#));
    let list = |value: &Value, name: &str| value[name].as_array().expect("a list").clone();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let listed = list(&listed, "assignments");
    for (answer, (key, _, _)) in listed.iter().zip(&vectors.experiments) {
        assert_eq!(answer["experiment_id"], **key);
    }
    let flagged = list(&flagged, "flags");
    for (answer, (key, _, _)) in flagged.iter().zip(&vectors.flags) {
        assert_eq!(answer["flag"], **key);
    }
    (
        listed
            .iter()
            .map(|answer| (text(&answer["variant_id"]), text(&answer["reason"]).expect("a reason")))
            .collect(),
        flagged
            .iter()
            .map(|answer| (answer["value"].clone(), text(&answer["reason"]).expect("a reason")))
            .collect(),
        list(&unlisted, "assignments")
            .iter()
            .map(|answer| {
                let key = text(&answer["experiment_id"]).expect("a key");
                (key, (text(&answer["variant_id"]).expect("a variant"), answer["config"].clone()))
            })
            .collect(),
    )
}

/// A gateway and how to ask it.
struct Http {
    gateway: Gateway,
    client: reqwest::blocking::Client,
}

impl Http {
    fn new(database: &Database) -> Http {
        Http {
            gateway: Gateway::start(&database.url()).expect("a gateway"),
            client: reqwest::blocking::Client::new(),
        }
    }

    fn post(&self, path: &str, body: &str) -> Value {
        self.client
            .post(format!("{}/api/v1/{path}", self.gateway.url()))
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .and_then(reqwest::blocking::Response::error_for_status)
            .and_then(reqwest::blocking::Response::json)
            .unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }
}

#[test]
fn engine_sql_and_http_agree_with_the_vectors() {
    let vectors = vectors();
    let database = Database::new();
    let mut client = database.connect();
    build(&mut client, &vectors);
    let memory = engine(&mut client);
    let http = Http::new(&database);
    for (index, (user_id, context)) in vectors.requests.iter().enumerate() {
        let user_id = user_id.as_deref();
        let context = context.as_deref();
        let (experiments, flags) = ask_engine(&memory, &vectors, user_id.unwrap_or_default(), context);
        compare("engine", &vectors, index, &experiments, &flags);
        let (experiments, flags, all) = ask_sql(&mut client, &vectors, user_id, context.map(RawValue::get));
        compare("SQL", &vectors, index, &experiments, &flags);
        let (experiments, flags, all_over_http) = ask_http(&http, &vectors, user_id, context);
        compare("HTTP", &vectors, index, &experiments, &flags);
        let expected: BTreeSet<(&String, &String)> = vectors
            .experiments
            .iter()
            .filter(|(key, _, _)| memory.experiment(key).is_some_and(|experiment| !experiment.is_holdout()))
            .filter_map(|(key, answers, indexes)| Some((key, answers[indexes[index]].0.as_ref()?)))
            .collect();
        let found: BTreeSet<(&String, &String)> =
            all.iter().map(|(key, (variant, _))| (key, variant)).collect();
        assert_eq!(found, expected, "unasked: user {user_id:?}, context {context:?}");
        assert_eq!(all, all_over_http, "unasked: user {user_id:?}, context {context:?}");
    }
}

#[test]
fn the_vectors_hold_every_reason() {
    let vectors = vectors();
    let found: BTreeSet<&str> = vectors
        .experiments
        .iter()
        .flat_map(|(_, answers, _)| answers)
        .map(|(_, reason)| reason.as_str())
        .collect();
    let reasons = [
        Reason::NotFound,
        Reason::Shipped,
        Reason::OptedOut,
        Reason::Override,
        Reason::NotRunning,
        Reason::NoUnit,
        Reason::Excluded,
        Reason::Prerequisite,
        Reason::Sticky,
        Reason::NotTargeted,
        Reason::Holdout,
        Reason::Layer,
        Reason::Traffic,
        Reason::Split,
    ];
    assert_eq!(found, reasons.map(Reason::as_str).into());
    let found: BTreeSet<&str> =
        vectors.flags.iter().flat_map(|(_, answers, _)| answers).map(|(_, reason)| reason.as_str()).collect();
    let reasons = [
        FlagReason::NotFound,
        FlagReason::Killed,
        FlagReason::Prerequisite,
        FlagReason::Rule,
        FlagReason::Rollout,
        FlagReason::Split,
        FlagReason::Experiment,
        FlagReason::Default,
    ];
    assert_eq!(found, reasons.map(FlagReason::as_str).into());
}

/// Of the contexts of rules.json, those with a number that jsonb cannot hold; HTTP takes them.
const UNSTORABLE: usize = 20;

/// Every rule is that of a flag, and what it must say of a user is whether the flag is on.
#[test]
fn every_rule_vector_holds_in_sql_and_over_http() {
    let cases: Vec<HashMap<&str, &RawValue>> =
        serde_json::from_str(include_str!("../vectors/assignment/rules.json")).expect("valid JSON");
    let mut flags: HashMap<&str, String> = HashMap::new();
    let mut rows = Vec::new();
    for case in &cases {
        let number = flags.len();
        let flag = flags.entry(case["rule"].get()).or_insert_with(|| format!("rule_{number}")).clone();
        let user_id: String = serde_json::from_str(case["user_id"].get()).expect("a user");
        let member_of: BTreeMap<String, bool> =
            serde_json::from_str(case["segments"].get()).expect("segments");
        let member_of: Vec<String> =
            member_of.into_iter().filter_map(|(segment, is_member)| is_member.then_some(segment)).collect();
        let mut context = case["context"].get().to_owned();
        if !member_of.is_empty() {
            // The segments of a user differ from case to case, so the context says which they are.
            let separator = if context == "{}" { "" } else { "," };
            context.replace_range(..1, &format!(r#"{{"member of":{}{separator}"#, json!(member_of)));
        }
        rows.push((flag, user_id, context, case["expected"].get() == "true"));
    }
    let database = Database::new();
    let mut client = database.connect();
    for segment in ["s", "S", "t.u-v_w", "beta"] {
        let rule = json!({"attribute": "member of", "operator": "any_of", "values": [segment]});
        client.execute("select ab_create_segment($1, rule => $2)", &[&segment, &rule]).expect("a segment");
    }
    let (rules, keys): (Vec<String>, Vec<&str>) = flags
        .iter()
        .map(|(rule, key)| (format!(r#"[{{"when":{rule},"value":true}}]"#), key.as_str()))
        .unzip();
    client
        .execute(
            "select ab_create_flag(f.key, rules => f.rules::jsonb) from unnest($1::text[], $2::text[]) f (key, rules)",
            &[&keys, &rules],
        )
        .expect("the flags");

    client
        .batch_execute(
            "create function pg_temp.is_storable(json text) returns boolean language plpgsql as
            'begin perform json::jsonb; return true; exception when others then return false; end'",
        )
        .expect("a function");
    let columns: (Vec<&str>, Vec<&str>, Vec<&str>) = (
        rows.iter().map(|(flag, _, _, _)| flag.as_str()).collect(),
        rows.iter().map(|(_, user_id, _, _)| user_id.as_str()).collect(),
        rows.iter().map(|(_, _, context, _)| context.as_str()).collect(),
    );
    let answers = client
        .query(
            "select case when pg_temp.is_storable(c.context) then ab_flag_enabled(c.user_id, c.flag, c.context::jsonb) end
            from unnest($1::text[], $2::text[], $3::text[]) with ordinality c (flag, user_id, context, n) order by n",
            &[&columns.0, &columns.1, &columns.2],
        )
        .expect("answers");
    let mut unstorable = 0;
    for ((case, row), (_, _, context, expected)) in cases.iter().zip(&answers).zip(&rows) {
        match row.get::<_, Option<bool>>(0) {
            Some(found) => assert_eq!(found, *expected, "SQL: {case:?}"),
            None => {
                println!("cannot be stored: {context}");
                unstorable += 1;
            }
        }
    }
    assert!(unstorable <= UNSTORABLE, "{unstorable} contexts cannot be stored");

    let http = Http::new(&database);
    let mut requests: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (index, (_, user_id, context, _)) in rows.iter().enumerate() {
        requests.entry((user_id, context)).or_default().push(index);
    }
    let mut compared = 0;
    for ((user_id, context), indexes) in requests {
        let keys: Vec<&str> = indexes.iter().map(|&index| rows[index].0.as_str()).collect();
        let body = format!(r#"{{"user_id":{},"flags":{},"context":{context}}}"#, json!(user_id), json!(keys));
        let response = http.post("flags", &body);
        let answers = response["flags"].as_array().expect("flags");
        assert_eq!(answers.len(), indexes.len());
        for (&index, answer) in indexes.iter().zip(answers) {
            assert_eq!(answer["value"], rows[index].3, "HTTP: {:?}", cases[index]);
            compared += 1;
        }
    }
    assert_eq!(compared, cases.len());
}

#[test]
fn every_bucket_vector_holds_in_sql() {
    let database = Database::new();
    let mut client = database.connect();
    let vectors: Value =
        serde_json::from_str(include_str!("../vectors/assignment/bucket.json")).expect("valid JSON");
    let row = client
        .query_one(
            "select count(*), count(*) filter (where ab_bucket(v ->> 0, v ->> 1) = (v ->> 2)::integer)
            from jsonb_array_elements($1::jsonb) v",
            &[&vectors],
        )
        .expect("the counts");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (10_000, 10_000));
}

fn now_in_microseconds() -> i64 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_micros()).expect("a clock before 290000")
}
