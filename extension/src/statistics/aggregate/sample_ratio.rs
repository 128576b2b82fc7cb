//! Users and weights by arm.

use std::collections::BTreeMap;

use ab_core::statistics::InvalidArgument;

use super::{answer, internal_state, raise};
use crate::call::{Call, row_function};
use crate::statistics::sample_ratio::chi_square;

/// Enough for any experiment, and few enough that the wrong column does not fill the memory.
const MOST_ARMS: usize = 1000;

/// As `ab_srm` has it by default.
const THRESHOLD: f64 = 0.001;

/// Users and weight of each arm, in the order of the keys so that the sums round alike whatever came first.
#[derive(Default)]
struct Arms {
    arms: BTreeMap<Box<[u8]>, (i64, f64)>,
    n_null: i64,
}

impl Arms {
    fn add(&mut self, key: &[u8], users: i64, weight: f64) {
        if !weight.is_finite() {
            raise(InvalidArgument::new("weight", weight, "a finite number"));
        }
        let is_full = self.arms.len() >= MOST_ARMS;
        match self.arms.get_mut(key) {
            Some((observed, known)) if *known == weight => *observed += users,
            Some((_, known)) => {
                let requirement = format!("the same in every row of an arm, {known} as before");
                raise(InvalidArgument::new("weight", weight, &requirement));
            }
            None if is_full => {
                let requirement = format!("one of at most {MOST_ARMS} arms");
                raise(InvalidArgument::new("arm", "yet another", &requirement));
            }
            None => {
                self.arms.insert(key.into(), (users, weight));
            }
        }
    }

    fn merge(&mut self, part: &Arms) {
        self.n_null += part.n_null;
        part.arms.iter().for_each(|(key, (users, weight))| self.add(key, *users, *weight));
    }

    fn to_bytes(&self) -> Vec<u8> {
        let arms: Vec<(&[u8], i64, f64)> =
            self.arms.iter().map(|(key, (users, weight))| (&key[..], *users, *weight)).collect();
        serde_json::to_vec(&(self.n_null, arms)).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Arms> {
        let (n_null, arms): (i64, Vec<(Vec<u8>, i64, f64)>) = serde_json::from_slice(bytes).ok()?;
        let arms = arms.into_iter().map(|(key, users, weight)| (key.into(), (users, weight))).collect();
        Some(Arms { arms, n_null })
    }
}

internal_state!(
    Arms,
    srm_merge pg_finfo_srm_merge,
    srm_to_bytes pg_finfo_srm_to_bytes,
    srm_from_bytes pg_finfo_srm_from_bytes
);

/// Adds a row whose arm is told by these bytes.
fn add(call: &Call, key: &[u8]) -> pgrx::pg_sys::Datum {
    let (datum, state) = call.kept::<Arms>();
    match call.double(2) {
        _ if call.argument(1).is_none() => {}
        Some(weight) => state.add(key, 1, weight),
        None => state.n_null += 1,
    }
    datum
}

row_function!(
    /// A row of `ab_srm_agg(text, …)`.
    srm_add,
    pg_finfo_srm_add,
    |call: &Call| add(call, call.bytes(1))
);

row_function!(
    /// A row of `ab_srm_agg(bigint, …)`.
    srm_add_number,
    pg_finfo_srm_add_number,
    |call: &Call| {
        let number = call.argument(1).map_or(0, |number| number.value() as i64);
        add(call, &number.to_be_bytes())
    }
);

row_function!(
    /// The answer of `ab_srm_agg`.
    srm_row,
    pg_finfo_srm_row,
    |call: &Call| {
        let none = Arms::default();
        let state = call.read::<Arms>(0).map_or(&none, |state| state);
        let (observed, weights) = state.arms.values().copied().unzip();
        answer(call, Some(chi_square(observed, weights, THRESHOLD)), state.n_null as f64)
    }
);
