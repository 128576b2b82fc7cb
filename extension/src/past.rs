//! What would have been answered at another time: the same engine over the documents and rows of then.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ab_core::decision::{Environment, Evaluation, FirstVariant, Reason};
use ab_core::experiment::Experiment;
use ab_core::flag::Flag;
use ab_core::segment::Segment;
use ab_core::workspace::Workspace;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

use crate::configuration::{self, Published};
use crate::context::JsonbContext;
use crate::statement::POSTGRES_EPOCH;
use crate::{owner, workspace};

/// In microseconds from 1970; beyond it every time is the same to whoever looks for what was stored before it.
const FARTHEST: i64 = 1 << 53;

/// What would have been answered at `at`, why, and what of it is not known for sure.
#[pg_extern]
fn ab_as_of(
    at: Option<TimestampWithTimeZone>,
    user_id: Option<&str>,
    experiment: Option<&str>,
    context: Option<JsonbContext<'_>>,
) -> TableIterator<
    'static,
    (name!(variant, Option<String>), name!(reason, String), name!(note, Option<String>)),
> {
    let Some(at) = at else { return TableIterator::new(Vec::new()) };
    let past = Past {
        at: pg_sys::TimestampTz::from(at),
        workspace_key: workspace::current(),
        settings: Workspace::default(),
        asked_today: RefCell::default(),
        experiments: RefCell::default(),
    };
    let key = past.workspace_key.clone();
    let past = Past { settings: past.document(&key).unwrap_or_default(), ..past };
    // What never ends has not ended at the end of time either.
    let now = past.at.saturating_add(POSTGRES_EPOCH).min(i64::MAX - 1);
    let subject = crate::assignment::subject(user_id, context.as_ref()).at(now);
    let (variant, reason) = match past.experiment(experiment.unwrap_or_default()) {
        None => (None, Reason::NotFound),
        Some(found) => {
            let decision = found.decide(&Evaluation::new(subject, &past));
            (decision.variant.map(|variant| found.variants()[variant].key.clone()), decision.reason)
        }
    };
    let asked = past.asked_today.into_inner();
    let note = (!asked.is_empty()).then(|| {
        let segments: Vec<&str> = asked.iter().map(String::as_str).collect();
        format!("past members are not kept, so those of today were taken: {}", segments.join(", "))
    });
    TableIterator::new(vec![(variant, reason.as_str().to_owned(), note)])
}

struct Past {
    /// Microseconds since 2000, as PostgreSQL counts.
    at: i64,
    workspace_key: String,
    settings: Workspace,
    /// Segments whose members were asked for.
    asked_today: RefCell<BTreeSet<String>>,
    experiments: RefCell<HashMap<String, Option<Arc<Experiment>>>>,
}

impl Past {
    fn document<T: Published>(&self, key: &str) -> Option<T> {
        let document = owner::first_text(
            c"select ab_internal.document_as_of($1, $2, $3, $4)",
            &[&self.workspace_key, T::KIND, key, &self.at()],
            false,
        )?;
        configuration::compile(&document)
    }

    /// The time in microseconds since 1970, as near as SQL can reckon with it: nothing was ever stored outside the years 1684
    /// to 2255, within which microseconds are exact in floating point too.
    fn at(&self) -> String {
        self.at.saturating_add(POSTGRES_EPOCH).clamp(-FARTHEST, FARTHEST).to_string()
    }
}

impl Environment for Past {
    fn workspace(&self) -> &Workspace {
        &self.settings
    }

    fn experiment(&self, key: &str) -> Option<Arc<Experiment>> {
        if let Some(known) = self.experiments.borrow().get(key) {
            return known.clone();
        }
        let found = self.document(key).map(Arc::new);
        self.experiments.borrow_mut().insert(key.to_owned(), found.clone());
        found
    }

    fn flag(&self, key: &str) -> Option<Arc<Flag>> {
        self.document(key).map(Arc::new)
    }

    fn segment(&self, key: &str) -> Option<Arc<Segment>> {
        self.document(key).map(Arc::new)
    }

    fn is_member(&self, segment: &Segment, user_id: &str) -> bool {
        self.asked_today.borrow_mut().insert(segment.key.clone());
        crate::environment::is_member(segment, user_id)
    }

    fn first_variant(&self, experiment: &Experiment, unit: &str) -> FirstVariant {
        owner::first_text(
            c"select s.variant::pg_catalog.text from ab.sticky_assignment s
                where s.experiment_id operator(pg_catalog.=) $1::pg_catalog.int4 and s.user_id operator(pg_catalog.=) $2
                    and s.assigned_at operator(pg_catalog.<=) (pg_catalog.to_timestamp(0)
                        operator(pg_catalog.+) ($3::pg_catalog.float8 operator(pg_catalog.*) '1 us'::pg_catalog.interval))",
            &[&experiment.id().to_string(), unit, &self.at()],
            false,
        )
        .and_then(|variant| experiment.variant_index(&variant))
        .map_or(FirstVariant::None, FirstVariant::Variant)
    }
}
