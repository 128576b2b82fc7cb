//! What must hold of assignment whatever the experiment: nobody is moved without need, and no stage knows of another.

use std::collections::HashSet;

use ab_core::bucket::bucket;
use ab_core::decision::{Environment, Evaluation, Reason, Subject};
use ab_core::memory::Memory;
use proptest::prelude::*;
use serde_json::json;

/// A workspace with this one experiment, its allocation as `ab_core::allocation` lays it out.
fn workspace(key: &str, traffic: u32, weights: &[u64], schedule: &[(i64, u32)]) -> Memory {
    let parts = ab_core::allocation::parts_per_million(weights).expect("weights");
    let steps: Vec<_> = schedule
        .iter()
        .map(|&(second, percent)| {
            json!({"at": format!("1970-01-01T00:{:02}:{:02}Z", second / 60, second % 60), "percent": percent})
        })
        .collect();
    let document = json!({
        "id": 1, "workspace": "default", "key": key, "salt": key, "status": "running", "traffic": traffic, "schedule": steps,
        "variants": (0..weights.len()).map(|index| json!({"key": format!("v{index}")})).collect::<Vec<_>>(),
        "ranges": ab_core::allocation::layout(&[], &parts),
    });
    let mut memory = Memory::new();
    let document = serde_json::value::to_raw_value(&document).expect("JSON");
    memory.put("experiment", &document).expect("a document");
    memory
}

fn decide(memory: &Memory, key: &str, user_id: &str, second: i64) -> (Option<usize>, Reason) {
    let subject = Subject::new(user_id, &(), second * 1_000_000);
    let decision = memory.experiment(key).expect("an experiment").decide(&Evaluation::new(subject, memory));
    (decision.variant, decision.reason)
}

fn users() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop_oneof!["[0-9]{1,12}", "[a-z]{1,8}@[a-z]{1,8}\\.com", "\\PC{1,40}"], 200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_same_user_is_answered_the_same(
        key in "[A-Za-z0-9][A-Za-z0-9_.-]{0,30}",
        weights in prop::collection::vec(1_u64..1000, 2..6),
        traffic in 0_u32..=1_000_000,
        users in users(),
    ) {
        let [first, second] = [workspace(&key, traffic, &weights, &[]), workspace(&key, traffic, &weights, &[])];
        let answers: Vec<_> = users.iter().map(|user| decide(&first, &key, user, 0)).collect();
        for (user, answer) in users.iter().zip(answers).rev() {
            prop_assert_eq!(decide(&second, &key, user, 1_000), answer);
        }
    }

    #[test]
    fn a_ramp_neither_takes_anybody_out_nor_moves_them(
        key in "[A-Za-z0-9][A-Za-z0-9_.-]{0,30}",
        weights in prop::collection::vec(1_u64..1000, 2..6),
        percents in prop::collection::btree_set(0_u32..=100, 1..8),
        raised in 0_u32..=1_000_000,
        users in users(),
    ) {
        // Steps at second 10, 20, …; before them the first percentage holds.
        let percents: Vec<u32> = percents.into_iter().collect();
        let steps: Vec<(i64, u32)> = (1..).map(|step| step * 10).zip(percents.iter().copied().skip(1)).collect();
        let base = percents[0] * 10_000;
        let ramp = workspace(&key, base, &weights, &steps);
        let higher = workspace(&key, base.max(raised), &weights, &[]);
        let lower = workspace(&key, base, &weights, &[]);
        for user in &users {
            let mut given = None;
            for second in [9, 10, 11, 19, 20, 30, 40, 50, 60, 70, 80] {
                let (variant, reason) = decide(&ramp, &key, user, second);
                prop_assert!(matches!(reason, Reason::Split | Reason::Traffic));
                prop_assert!(given.is_none() || variant == given);
                given = variant;
            }
            let (before, _) = decide(&lower, &key, user, 0);
            prop_assert!(before.is_none() || decide(&higher, &key, user, 0).0 == before);
        }
    }
}

const USERS: usize = 100_000;
const CUTS: [u32; 3] = [10_000, 100_000, 500_000];

fn shapes() -> [Vec<String>; 3] {
    let shapes: [fn(usize) -> String; 3] = [
        |n| n.to_string(),
        |n| uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &n.to_le_bytes()).to_string(),
        |n| format!("user.{n}@example.com"),
    ];
    shapes.map(|shape| (0..USERS).map(shape).collect())
}

/// The correlation of being below `left_cut` of the one and below `right_cut` of the other.
fn phi(left: &[u32], left_cut: u32, right: &[u32], right_cut: u32) -> f64 {
    let mut counts = [[0_f64; 2]; 2];
    for (a, b) in left.iter().zip(right) {
        counts[usize::from(*a < left_cut)][usize::from(*b < right_cut)] += 1.0;
    }
    let [[n00, n01], [n10, n11]] = counts;
    (n11 * n00 - n10 * n01) / ((n11 + n10) * (n01 + n00) * (n11 + n01) * (n10 + n00)).sqrt()
}

/// The bar is |phi| ≤ 0.02 at 100,000 ids, for every pair of salts and every pair of cuts.
fn assert_independent(salts: &[String]) {
    assert_eq!(salts.iter().collect::<HashSet<_>>().len(), salts.len());
    for ids in shapes() {
        let buckets: Vec<Vec<u32>> =
            salts.iter().map(|salt| ids.iter().map(|id| bucket(salt, id)).collect()).collect();
        for left in 0..salts.len() {
            for right in 0..left {
                for left_cut in CUTS {
                    for right_cut in CUTS {
                        let phi = phi(&buckets[left], left_cut, &buckets[right], right_cut);
                        assert!(
                            phi.abs() <= 0.02,
                            "{} below {left_cut} and {} below {right_cut}: phi {phi}, ids as {}",
                            salts[left],
                            salts[right],
                            ids[7]
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_stages_of_one_salt_are_independent() {
    for root in ["checkout_test", "a", "0", "exp-2026.01_long-key-of-an-experiment"] {
        assert_independent(
            &["layer", "holdout", "traffic", "variant", "rollout"].map(|stage| format!("{root}:{stage}")),
        );
    }
}

#[test]
fn random_experiments_are_independent_in_every_stage() {
    // A fixed generator, so that a failure stays one.
    let mut state = 20_261_123_u64;
    let mut key = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:x}", state >> 40)
    };
    for _ in 0..6 {
        let [one, other] = [key(), key()];
        let stages = |root: &str| ["traffic", "variant"].map(|stage| format!("{root}:{stage}"));
        assert_independent(&[stages(&one), stages(&other)].concat());
    }
}

/// Through whole decisions: whoever the traffic lets in is divided as the weights say, however few they are.
#[test]
fn traffic_says_nothing_about_the_variant() {
    let ids = &shapes()[0];
    for traffic in [10_000, 100_000, 500_000] {
        let memory = workspace("checkout_test", traffic, &[1, 1], &[]);
        let mut counts = [0_f64; 2];
        for variant in ids.iter().filter_map(|id| decide(&memory, "checkout_test", id, 0).0) {
            counts[variant] += 1.0;
        }
        let [a, b] = counts;
        // Four standard errors.
        assert!((a - b).abs() <= 4.0 * (a + b).sqrt(), "traffic {traffic}: {a} and {b}");
        assert!((a + b - f64::from(traffic) / 10.0).abs() <= 4.0 * (f64::from(traffic) / 10.0).sqrt());
    }
}
