//! The whole configuration of a workspace as one immutable value.
//!
//! A request takes one look at one snapshot, so it never sees half of a change and never waits for anyone. What an
//! answer consists of is made when the snapshot is, not when the answer is: serving copies bytes.
//!
//! The next snapshot is a copy of this one with the changes made to it. Both share what is the same, so a change costs
//! what has changed, however much there is.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ab_core::decision::{Decision, Environment, FirstVariant, Reason};
use ab_core::experiment::{Experiment, Variant};
use ab_core::flag::Flag;
use ab_core::segment::Segment;
use ab_core::workspace::Workspace;
use ab_core::{Code, Error};
use imbl::{HashMap, OrdMap};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::{debug, error};

use crate::members::Members;
use crate::sticky::{FirstVariants, Known, Need, Open};

/// A workspace's configuration, compiled.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The configuration's version as the database counts it.
    pub version: i64,
    /// What has been read of stored variants since everything was last loaded.
    pub first_variants: Arc<FirstVariants>,
    workspace: Arc<Workspace>,
    experiments: HashMap<Arc<str>, Arc<Entry>>,
    /// Those that may give somebody a variant, by key.
    live: OrdMap<Arc<str>, Arc<Entry>>,
    flags: HashMap<Arc<str>, Arc<FlagEntry>>,
    flags_in_order: OrdMap<Arc<str>, Arc<FlagEntry>>,
    segments: HashMap<Arc<str>, Arc<SegmentEntry>>,
}

/// One state of an experiment, a flag, a segment or the workspace, as the database publishes it.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// Which of the four.
    pub kind: &'a str,
    /// Unique within the kind.
    pub key: &'a str,
    /// All of it; none where it has been deleted.
    pub document: Option<&'a str>,
}

/// What must be read besides the document of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: its document says all.
    Nothing,
    /// Everybody on its list.
    Members,
    /// What has changed on its list after this version.
    ChangesSince(i64),
}

impl Snapshot {
    /// A snapshot that will hold what there is at `version`.
    pub fn empty(version: i64) -> Snapshot {
        Snapshot { version, ..Snapshot::default() }
    }

    /// A copy of this snapshot that will hold what there is at `version`.
    pub fn at(&self, version: i64) -> Snapshot {
        Snapshot { version, ..self.clone() }
    }

    /// Takes over one change, and says what it leaves to be read.
    ///
    /// A document that cannot be used is refused with a log line, and the last usable one of that key stays: this
    /// snapshot's own, or else that of the one `before` it. What `before` has compiled from the same document is shared.
    pub fn apply(&mut self, change: Change<'_>, before: Option<&Snapshot>) -> Missing {
        let Change { kind, key, document } = change;
        match (kind, document) {
            ("experiment", Some(document)) => self.put_experiment(key, document, before),
            ("experiment", None) => {
                self.experiments.remove(key);
                self.live.remove(key);
            }
            ("flag", Some(document)) => self.put_flag(key, document, before),
            ("flag", None) => {
                self.flags.remove(key);
                self.flags_in_order.remove(key);
            }
            ("segment", Some(document)) => return self.put_segment(key, document, before),
            ("segment", None) => {
                self.segments.remove(key);
            }
            ("workspace", Some(document)) => match read(document).and_then(Workspace::compile) {
                Ok(workspace) => self.workspace = Arc::new(workspace),
                Err(refusal) => {
                    if let Some(before) = before {
                        self.workspace = Arc::clone(&before.workspace);
                    }
                    refuse(change, &refusal, before.is_some());
                }
            },
            ("workspace", None) => self.workspace = Arc::default(),
            // A later extension may have more to say than this gateway understands.
            _ => debug!(kind, key, "there is no such kind of configuration"),
        }
        Missing::Nothing
    }

    fn put_experiment(&mut self, key: &str, document: &str, before: Option<&Snapshot>) {
        let held = self.experiments.get(key).or_else(|| before?.experiments.get(key));
        let fingerprint = fingerprint(document);
        let entry = match held {
            Some(held) if held.fingerprint == fingerprint => Arc::clone(held),
            _ => match read(document).and_then(|document| Entry::compile(document, fingerprint)) {
                Ok(entry) => Arc::new(entry),
                Err(refusal) => {
                    let change = Change { kind: "experiment", key, document: Some(document) };
                    refuse(change, &refusal, held.is_some());
                    let Some(held) = held else { return };
                    Arc::clone(held)
                }
            },
        };
        let key: Arc<str> = key.into();
        if entry.experiment.is_live() && !entry.experiment.is_holdout() {
            self.live.insert(Arc::clone(&key), Arc::clone(&entry));
        } else {
            self.live.remove(&key);
        }
        self.experiments.insert(key, entry);
    }

    fn put_flag(&mut self, key: &str, document: &str, before: Option<&Snapshot>) {
        let held = self.flags.get(key).or_else(|| before?.flags.get(key));
        let fingerprint = fingerprint(document);
        let entry = match held {
            Some(held) if held.fingerprint == fingerprint => Arc::clone(held),
            _ => match read(document).and_then(Flag::compile) {
                Ok(flag) => Arc::new(FlagEntry { flag: Arc::new(flag), fingerprint }),
                Err(refusal) => {
                    let change = Change { kind: "flag", key, document: Some(document) };
                    refuse(change, &refusal, held.is_some());
                    let Some(held) = held else { return };
                    Arc::clone(held)
                }
            },
        };
        let key: Arc<str> = key.into();
        self.flags_in_order.insert(Arc::clone(&key), Arc::clone(&entry));
        self.flags.insert(key, entry);
    }

    fn put_segment(&mut self, key: &str, document: &str, before: Option<&Snapshot>) -> Missing {
        let mine = self.segments.get(key);
        match read(document).and_then(Segment::compile) {
            Ok(segment) => {
                let mut entry =
                    SegmentEntry { segment: Arc::new(segment), members: Members::default(), complete_at: 0 };
                let segment = &entry.segment;
                let missing = match mine {
                    _ if segment.rule().is_some() => Missing::Nothing,
                    Some(mine)
                        if mine.segment.rule().is_none()
                            && (mine.segment.id, mine.segment.generation)
                                == (segment.id, segment.generation) =>
                    {
                        entry.members = mine.members.clone();
                        entry.complete_at = mine.complete_at;
                        Missing::ChangesSince(mine.complete_at)
                    }
                    _ => Missing::Members,
                };
                self.segments.insert(key.into(), Arc::new(entry));
                missing
            }
            Err(refusal) => {
                let held = mine.or_else(|| before?.segments.get(key)).map(Arc::clone);
                refuse(Change { kind: "segment", key, document: Some(document) }, &refusal, held.is_some());
                if let Some(held) = held {
                    self.segments.insert(key.into(), held);
                }
                Missing::Nothing
            }
        }
    }

    /// Makes `members` those of a segment: all of them at this snapshot's version.
    pub fn set_members(&mut self, key: &str, members: Members) {
        if let Some(entry) = self.segments.get(key) {
            let entry =
                SegmentEntry { segment: Arc::clone(&entry.segment), members, complete_at: self.version };
            self.segments.insert(key.into(), Arc::new(entry));
        }
    }

    /// Who is on the list of a segment.
    pub fn members(&self, key: &str) -> Option<&Members> {
        self.segments.get(key).map(|entry| &entry.members)
    }

    /// The experiment with this key.
    pub fn find(&self, key: &str) -> Option<&Entry> {
        self.experiments.get(key).map(Arc::as_ref)
    }

    /// Every experiment that may give somebody a variant, by key; no holdouts.
    pub fn live(&self) -> impl Iterator<Item = &Entry> {
        self.live.values().map(Arc::as_ref)
    }

    /// The flag with this key.
    pub fn find_flag(&self, key: &str) -> Option<&Flag> {
        self.flags.get(key).map(|entry| entry.flag.as_ref())
    }

    /// Every flag, by key.
    pub fn flags(&self) -> impl Iterator<Item = &Flag> {
        self.flags_in_order.values().map(|entry| entry.flag.as_ref())
    }
}

/// Reads a document of the database.
fn read<'a, T: Deserialize<'a>>(document: &'a str) -> Result<T, Error> {
    serde_json::from_str(document).map_err(|error| {
        Error::new(
            Code::CorruptConfiguration,
            format!("document cannot be read: {error}"),
            "run the gateway and the extension in the same version",
        )
    })
}

fn refuse(Change { kind, key, .. }: Change<'_>, refusal: &Error, is_held: bool) {
    let kept = if is_held { "the one before it stays" } else { "there is none before it" };
    error!(kind, key, reason = %refusal, "refused a configuration document; {kept}");
}

/// Tells whether a document is the one that something was compiled from, without keeping the document.
fn fingerprint(document: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    document.hash(&mut hasher);
    hasher.finish()
}

#[derive(Debug)]
struct FlagEntry {
    flag: Arc<Flag>,
    fingerprint: u64,
}

#[derive(Debug)]
struct SegmentEntry {
    segment: Arc<Segment>,
    members: Members,
    /// The version up to which the members are known.
    complete_at: i64,
}

/// A snapshot as one request sees it, with what was asked of the database for this request.
#[derive(Debug)]
pub struct View<'a> {
    snapshot: &'a Snapshot,
    known: &'a Known,
    needs: RefCell<Vec<Need>>,
}

impl<'a> View<'a> {
    /// `snapshot` with what is `known` besides.
    pub fn new(snapshot: &'a Snapshot, known: &'a Known) -> View<'a> {
        View { snapshot, known, needs: RefCell::default() }
    }

    /// What would have to be asked to be sure of all that was decided; nothing in most requests.
    pub fn open(self) -> Option<Open> {
        let needs = self.needs.into_inner();
        (!needs.is_empty()).then(|| Open { needs, first_variants: Arc::clone(&self.snapshot.first_variants) })
    }
}

impl Environment for View<'_> {
    fn workspace(&self) -> &Workspace {
        &self.snapshot.workspace
    }

    fn experiment(&self, key: &str) -> Option<Arc<Experiment>> {
        self.snapshot.experiments.get(key).map(|entry| Arc::clone(&entry.experiment))
    }

    fn flag(&self, key: &str) -> Option<Arc<Flag>> {
        self.snapshot.flags.get(key).map(|entry| Arc::clone(&entry.flag))
    }

    fn segment(&self, key: &str) -> Option<Arc<Segment>> {
        self.snapshot.segments.get(key).map(|entry| Arc::clone(&entry.segment))
    }

    fn is_member(&self, segment: &Segment, user_id: &str) -> bool {
        self.snapshot.members(&segment.key).is_some_and(|members| members.contains(user_id))
    }

    fn first_variant(&self, experiment: &Experiment, unit: &str) -> FirstVariant {
        let of = |variant: &str| {
            experiment.variant_index(variant).map_or(FirstVariant::None, FirstVariant::Variant)
        };
        if let Some(answer) = self.known.get(experiment.id(), unit) {
            return answer.map_or(FirstVariant::None, of);
        }
        if let Some(variant) = self.snapshot.first_variants.get(experiment.id(), unit) {
            return of(&variant);
        }
        self.needs.borrow_mut().push(Need {
            experiment_id: experiment.id(),
            experiment: experiment.key().to_owned(),
            unit: unit.to_owned(),
        });
        FirstVariant::Unavailable
    }
}

/// One experiment with its answers, ready to copy.
#[derive(Debug)]
pub struct Entry {
    /// What decides.
    pub experiment: Arc<Experiment>,
    fingerprint: u64,
    /// Each answer up to its reason: first without a variant, then one for each variant.
    unassigned: Box<[u8]>,
    assigned: Box<[Box<[u8]>]>,
}

impl Entry {
    fn compile(document: ab_core::document::ExperimentDocument, fingerprint: u64) -> Result<Entry, Error> {
        let experiment = Experiment::compile(document)?;
        Ok(Entry {
            unassigned: beginning(experiment.key(), None),
            assigned: experiment
                .variants()
                .iter()
                .map(|variant| beginning(experiment.key(), Some(variant)))
                .collect(),
            experiment: Arc::new(experiment),
            fingerprint,
        })
    }

    /// Appends the answer that `decision`, taken by this experiment, amounts to.
    pub fn write_answer(&self, decision: Decision, out: &mut Vec<u8>) {
        let beginning = decision.variant.map_or(&self.unassigned, |index| &self.assigned[index]);
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

#[cfg(test)]
mod tests {
    use ab_core::decision::{Evaluation, Subject};

    use super::*;
    use crate::members::Builder;

    fn experiment(key: &str, to: u32, more: &str) -> String {
        format!(
            r#"{{"id":1,"workspace":"default","key":"{key}","salt":"{key}","status":"running","traffic":1000000,
            "variants":[{{"key":"a"}},{{"key":"b","name":"The \"B\"","config":{{"x":1.0}}}}],
            "ranges":[{{"from":0,"to":{to},"variant":0}},{{"from":500000,"to":1000000,"variant":1}}]{more}}}"#
        )
    }

    fn list(generation: i64, revision: i64) -> String {
        format!(
            r#"{{"id":7,"workspace":"default","key":"list","kind":"list","generation":{generation},"revision":{revision}}}"#
        )
    }

    /// The snapshot after these changes to the one `before`.
    fn after(before: &Snapshot, version: i64, changes: &[(&str, &str, Option<String>)]) -> Snapshot {
        let mut snapshot = before.at(version);
        for (kind, key, document) in changes {
            snapshot.apply(Change { kind, key, document: document.as_deref() }, Some(before));
        }
        snapshot
    }

    fn subject(user_id: &str) -> Subject<'_> {
        Subject::new(user_id, &(), 0)
    }

    fn answers(snapshot: &Snapshot, key: &str) -> Vec<serde_json::Value> {
        let known = Known::default();
        let view = View::new(snapshot, &known);
        let entry = snapshot.find(key).unwrap();
        (0..64)
            .map(|user| {
                let mut out = Vec::new();
                let decision = entry.experiment.decide(&Evaluation::new(subject(&user.to_string()), &view));
                entry.write_answer(decision, &mut out);
                serde_json::from_slice(&out).unwrap()
            })
            .collect()
    }

    #[test]
    fn answers_are_whole_json() {
        let snapshot =
            after(&Snapshot::default(), 1, &[("experiment", "t", Some(experiment("t", 500_000, "")))]);
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
        let usable = [
            ("experiment", "t", Some(experiment("t", 500_000, ""))),
            ("experiment", "u", Some(experiment("u", 500_000, ""))),
            ("segment", "list", Some(list(1, 1))),
        ];
        let mut first = after(&Snapshot::default(), 1, &usable);
        first.set_members("list", std::iter::once("m").fold(Builder::default(), add).finish());
        let changes = [
            ("experiment", "t", Some(experiment("t", 400_000, ""))),
            ("experiment", "u", Some(experiment("u", 500_000, ""))),
            ("experiment", "new", Some(experiment("new", 1, ""))),
            ("segment", "list", Some("{\"later\":true}".to_owned())),
            ("flag", "f", Some("{\"later\":true}".to_owned())),
            ("workspace", "default", Some("7".to_owned())),
            ("of a later version", "x", Some("{}".to_owned())),
        ];
        // A change to what is held, and everything loaded anew.
        for begin in [first.clone(), Snapshot::default()] {
            let mut second = begin;
            second.version = 2;
            for (kind, key, document) in &changes {
                let missing = second.apply(Change { kind, key, document: document.as_deref() }, Some(&first));
                assert_eq!(missing, Missing::Nothing);
            }
            assert_eq!(answers(&second, "t"), answers(&first, "t"));
            assert!(std::ptr::eq(second.find("u").unwrap(), first.find("u").unwrap()), "shared");
            assert!(second.find("new").is_none() && second.find_flag("f").is_none());
            assert!(second.members("list").is_some_and(|members| members.contains("m")));
            let third = after(&second, 3, &[("experiment", "t", None), ("segment", "list", None)]);
            assert!(third.find("t").is_none() && third.members("list").is_none());
            assert_eq!(third.live().map(|entry| entry.experiment.key()).collect::<Vec<_>>(), ["u"]);
            assert!(second.find("t").is_some(), "others keep what they hold");
        }
    }

    fn add(mut builder: Builder, id: &str) -> Builder {
        builder.push(id);
        builder
    }

    #[test]
    fn live_ones_are_in_order_and_without_drafts_and_holdouts() {
        let with = |key: &str, from: &str, to: &str| Some(experiment(key, 500_000, "").replace(from, to));
        let first = after(
            &Snapshot::default(),
            1,
            &[
                ("experiment", "z", with("z", "", "")),
                ("experiment", "draft", with("draft", "running", "draft")),
                ("experiment", "held", Some(experiment("held", 500_000, r#","kind":"holdout""#))),
                ("experiment", "a", with("a", "", "")),
            ],
        );
        let keys = |snapshot: &Snapshot| -> Vec<String> {
            snapshot.live().map(|entry| entry.experiment.key().to_owned()).collect()
        };
        assert_eq!(keys(&first), ["a", "z"]);
        let second = after(&first, 2, &[("experiment", "z", with("z", "running", "paused"))]);
        assert_eq!(keys(&second), ["a"]);
        assert!(second.find("z").is_some() && second.find("held").is_some());
    }

    #[test]
    fn a_list_is_read_anew_or_only_its_changes() {
        let mut first = Snapshot::empty(5);
        let change =
            |document: &'static str| Change { kind: "segment", key: "list", document: Some(document) };
        let [one, two, renewed] = [list(1, 1), list(1, 2), list(2, 3)].map(|text| &*text.leak());
        assert_eq!(first.apply(change(one), None), Missing::Members);
        first.set_members("list", ["a", "b"].into_iter().fold(Builder::default(), add).finish());
        // Other changes do not move the version up to which its members are known.
        let mut second = first.at(9);
        assert_eq!(second.apply(change(two), Some(&first)), Missing::ChangesSince(5));
        assert_eq!(second.apply(change(renewed), Some(&first)), Missing::Members);
        let by_rule = r#"{"id":7,"workspace":"default","key":"list","kind":"rule","rule":{"all":[]}}"#;
        assert_eq!(second.apply(change(by_rule), Some(&first)), Missing::Nothing);
        assert_eq!(Snapshot::default().apply(change(two), Some(&first)), Missing::Members);
    }

    #[test]
    fn what_is_stored_is_asked_for_once_and_only_where_it_matters() {
        let sticky = r#","sticky":{"contested":[[0,1000000]],"traffic":1000000}"#;
        let snapshot =
            after(&Snapshot::default(), 1, &[("experiment", "s", Some(experiment("s", 500_000, sticky)))]);
        let entry = snapshot.find("s").unwrap();
        let decide = |known: &Known| {
            let view = View::new(&snapshot, known);
            let evaluation = Evaluation::new(subject("u"), &view);
            let decision = entry.experiment.decide(&evaluation);
            let is_unconfirmed = evaluation.is_unconfirmed();
            (decision, is_unconfirmed, view.open().map(|open| open.needs))
        };
        let mut known = Known::default();
        let (by_hash, is_unconfirmed, needs) = decide(&known);
        assert!(is_unconfirmed && by_hash.reason == Reason::Split);
        let need = Need { experiment_id: 1, experiment: "s".into(), unit: "u".into() };
        assert_eq!(needs, Some(vec![need]));
        known.put(1, "u", None);
        assert_eq!(decide(&known), (by_hash, false, None));
        let other = 1 - by_hash.variant.unwrap();
        known.put(1, "u", Some(entry.experiment.variants()[other].key.as_str().into()));
        assert_eq!(decide(&known), (Decision { variant: Some(other), reason: Reason::Sticky }, false, None));
    }
}
