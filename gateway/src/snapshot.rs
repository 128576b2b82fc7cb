//! The whole configuration of a workspace as one immutable value.
//!
//! A request takes one look at one snapshot, so it never sees half of a change and never waits for anyone. What an
//! answer consists of is made when the snapshot is, not when the answer is: serving copies bytes.

use std::collections::HashMap;
use std::sync::Arc;

use ab_core::document::ExperimentDocument;
use ab_core::experiment::{Decision, Experiment, Reason, Variant};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::error;

/// A workspace's experiments, compiled.
#[derive(Debug)]
pub struct Snapshot {
    /// The configuration's version as the database counts it.
    pub version: i64,
    experiments: HashMap<Box<str>, Arc<Entry>>,
    in_order: Vec<Arc<Entry>>,
}

impl Snapshot {
    /// Compiles `documents`, taking over from `previous` what has not changed.
    ///
    /// A document that cannot be used is refused with a log line, and the last usable one of that experiment stays.
    pub fn build(version: i64, documents: Vec<Box<RawValue>>, previous: Option<&Snapshot>) -> Snapshot {
        let mut in_order: Vec<Arc<Entry>> =
            documents.into_iter().filter_map(|document| entry(document, previous)).collect();
        in_order.sort_by(|left, right| left.experiment.key().cmp(right.experiment.key()));
        let experiments =
            in_order.iter().map(|entry| (entry.experiment.key().into(), Arc::clone(entry))).collect();
        Snapshot { version, experiments, in_order }
    }

    /// The experiment with this key.
    pub fn find(&self, key: &str) -> Option<&Entry> {
        self.experiments.get(key).map(Arc::as_ref)
    }

    /// Every experiment, by key.
    pub fn all(&self) -> impl Iterator<Item = &Entry> {
        self.in_order.iter().map(Arc::as_ref)
    }
}

/// One experiment with its answers, ready to copy.
#[derive(Debug)]
pub struct Entry {
    /// What decides.
    pub experiment: Experiment,
    document: Box<RawValue>,
    /// Each answer up to its reason: first without a variant, then one for each variant.
    unassigned: Box<[u8]>,
    assigned: Box<[Box<[u8]>]>,
}

impl Entry {
    fn compile(document: Box<RawValue>) -> Result<Entry, ab_core::Error> {
        let parsed: ExperimentDocument = serde_json::from_str(document.get()).map_err(|error| {
            ab_core::Error::new(
                ab_core::Code::CorruptConfiguration,
                format!("document cannot be read: {error}"),
                "run the gateway and the extension in the same version",
            )
        })?;
        let experiment = Experiment::compile(parsed)?;
        Ok(Entry {
            unassigned: beginning(experiment.key(), None),
            assigned: experiment
                .variants()
                .iter()
                .map(|variant| beginning(experiment.key(), Some(variant)))
                .collect(),
            experiment,
            document,
        })
    }

    /// Appends the answer that `decision`, taken by this experiment, amounts to.
    pub fn write_answer(&self, decision: &Decision<'_>, out: &mut Vec<u8>) {
        let beginning = decision
            .variant
            .and_then(|chosen| {
                // There are few variants, and the decision points to one of them.
                self.experiment.variants().iter().position(|variant| std::ptr::eq(variant, chosen))
            })
            .map_or(&self.unassigned, |index| &self.assigned[index]);
        out.extend_from_slice(beginning);
        end_answer(decision.reason, out);
    }
}

/// Appends the answer for an experiment that does not exist.
pub fn write_not_found(key: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&beginning(key, None));
    end_answer(Reason::NotFound, out);
}

fn end_answer(reason: Reason, out: &mut Vec<u8>) {
    out.extend_from_slice(reason.as_str().as_bytes());
    out.extend_from_slice(b"\"}");
}

#[derive(Serialize)]
struct Answer<'a> {
    experiment_id: &'a str,
    variant_id: Option<&'a str>,
    variant_name: Option<&'a str>,
    config: Option<&'a RawValue>,
    reason: &'static str,
}

/// An answer without what differs from user to user: everything up to the text of its reason.
fn beginning(key: &str, variant: Option<&Variant>) -> Box<[u8]> {
    let answer = Answer {
        experiment_id: key,
        variant_id: variant.map(|variant| variant.key.as_str()),
        variant_name: variant.map(|variant| variant.name.as_deref().unwrap_or(&variant.key)),
        config: variant.and_then(|variant| variant.config.as_deref()),
        reason: "",
    };
    // Texts and JSON that was read as JSON: there is nothing in it that could not be written.
    let mut json = serde_json::to_vec(&answer).unwrap_or_default();
    json.truncate(json.len().saturating_sub(2));
    json.into_boxed_slice()
}

fn entry(document: Box<RawValue>, previous: Option<&Snapshot>) -> Option<Arc<Entry>> {
    #[derive(Deserialize)]
    struct Keyed {
        key: String,
    }
    let key = serde_json::from_str(document.get()).map_or_else(|_| String::new(), |keyed: Keyed| keyed.key);
    let before = previous.and_then(|snapshot| snapshot.experiments.get(key.as_str()));
    if let Some(before) = before
        && before.document.get() == document.get()
    {
        return Some(Arc::clone(before));
    }
    match Entry::compile(document) {
        Ok(entry) => Some(Arc::new(entry)),
        Err(refusal) => {
            let kept = if before.is_some() { "the one before it stays" } else { "there is none before it" };
            error!(experiment = key, reason = %refusal, "refused a configuration document; {kept}");
            before.map(Arc::clone)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(key: &str, to: u32) -> Box<RawValue> {
        RawValue::from_string(format!(
            r#"{{"workspace":"default","key":"{key}","name":null,"salt":"{key}","status":"running","starts_at":null,
            "ends_at":null,"traffic":1000000,"variants":[{{"key":"a","name":null,"config":null}},
            {{"key":"b","name":"The \"B\"","config":{{"x":1.0}}}}],
            "ranges":[{{"from":0,"to":{to},"variant":0}},{{"from":500000,"to":1000000,"variant":1}}]}}"#
        ))
        .unwrap()
    }

    fn answers(snapshot: &Snapshot, key: &str) -> Vec<serde_json::Value> {
        let entry = snapshot.find(key).unwrap();
        (0..64)
            .map(|user| {
                let mut out = Vec::new();
                entry.write_answer(&entry.experiment.decide(&user.to_string(), 0), &mut out);
                serde_json::from_slice(&out).unwrap()
            })
            .collect()
    }

    #[test]
    fn answers_are_whole_json() {
        let snapshot = Snapshot::build(1, vec![document("t", 500_000)], None);
        let answers = answers(&snapshot, "t");
        let a = serde_json::json!({"experiment_id": "t", "variant_id": "a", "variant_name": "a", "config": null, "reason": "split"});
        let b = serde_json::json!({"experiment_id": "t", "variant_id": "b", "variant_name": "The \"B\"", "config": {"x": 1.0}, "reason": "split"});
        assert!(answers.contains(&a) && answers.contains(&b));
        assert!(answers.iter().all(|answer| *answer == a || *answer == b));
        let mut out = Vec::new();
        write_not_found("no \"such\"", &mut out);
        let answer: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            answer,
            serde_json::json!({"experiment_id": "no \"such\"", "variant_id": null, "variant_name": null, "config": null, "reason": "not_found"})
        );
    }

    #[test]
    fn an_unusable_document_leaves_the_one_before_it() {
        let first = Snapshot::build(1, vec![document("t", 500_000), document("u", 500_000)], None);
        let broken = vec![
            document("t", 400_000),
            document("u", 500_000),
            document("new", 1),
            RawValue::from_string("{\"later\":true}".into()).unwrap(),
        ];
        let second = Snapshot::build(2, broken, Some(&first));
        assert_eq!(second.version, 2);
        assert_eq!(answers(&second, "t"), answers(&first, "t"));
        assert!(std::ptr::eq(second.find("u").unwrap(), first.find("u").unwrap()));
        assert!(second.find("new").is_none());
        let third = Snapshot::build(3, vec![document("u", 500_000)], Some(&second));
        assert!(third.find("t").is_none());
        assert_eq!(third.all().count(), 1);
    }
}
