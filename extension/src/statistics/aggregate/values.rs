//! Aggregates that need all values: the exact quantile and the Mann–Whitney test, at eight bytes a row.

use ab_core::statistics::InvalidArgument;

use super::{ALPHA, answer, constant, internal_state, raise};
use crate::call::{Call, row_function};
use crate::statistics::rank::{mann_whitney, order_statistics};

/// What such an aggregate has seen.
#[derive(Default)]
struct Values {
    q: f64,
    alpha: f64,
    n_null: f64,
    /// Of the control and the treatment; a quantile's are all in the first.
    arms: [Vec<f64>; 2],
}

impl Values {
    #[inline]
    fn add(&mut self, arm: usize, value: Option<f64>) {
        let Some(value) = value else {
            self.n_null += 1.0;
            return;
        };
        if !value.is_finite() {
            raise(InvalidArgument::new("value", value, "a finite number"));
        }
        self.reserve(arm, 1);
        self.arms[arm].push(value);
    }

    /// Running out of memory must not end the server.
    #[inline]
    fn reserve(&mut self, arm: usize, more: usize) {
        if self.arms[arm].try_reserve(more).is_err() {
            pgrx::ereport!(
                ERROR,
                pgrx::PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
                format!("out of memory for {} values", self.arms[arm].len()),
                "ab_quantile_sketch needs a few kilobytes however many values there are"
            );
        }
    }

    fn merge(&mut self, part: &mut Values) {
        constant::merge(&mut self.q, "q", part.q);
        constant::merge(&mut self.alpha, "alpha", part.alpha);
        self.n_null += part.n_null;
        for arm in 0..2 {
            self.reserve(arm, part.arms[arm].len());
            self.arms[arm].append(&mut part.arms[arm]);
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let head = [self.q, self.alpha, self.n_null, self.arms[0].len() as f64];
        let numbers = head.iter().chain(&self.arms[0]).chain(&self.arms[1]);
        numbers.flat_map(|number| number.to_le_bytes()).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Values> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let mut numbers = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes));
        let [q, alpha, n_null, first] = [numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?];
        let control = numbers.by_ref().take(first as usize).collect();
        Some(Values { q, alpha, n_null, arms: [control, numbers.collect()] })
    }
}

internal_state!(
    Values,
    values_merge pg_finfo_values_merge,
    values_to_bytes pg_finfo_values_to_bytes,
    values_from_bytes pg_finfo_values_from_bytes
);

row_function!(
    /// A row of `ab_quantile(value, q, alpha)`.
    quantile_add,
    pg_finfo_quantile_add,
    |call: &Call| {
        let (datum, state) = call.kept::<Values>();
        constant::keep(&mut state.q, "q", call.double(2));
        if call.count() > 3 {
            constant::keep(&mut state.alpha, "alpha", call.double(3));
        }
        state.add(0, call.double(1));
        datum
    }
);

row_function!(
    /// The answer of `ab_quantile`.
    quantile_row,
    pg_finfo_quantile_row,
    |call: &Call| {
        let mut none = Values::default();
        let state = call.read::<Values>(0).unwrap_or(&mut none);
        // Sorted where they are: that loses nothing if more rows come.
        state.arms[0].sort_unstable_by(f64::total_cmp);
        // Without rows any quantile is as good.
        let asked = constant::found(state.q, 0.5).zip(constant::found(state.alpha, ALPHA));
        let found = asked.map(|(q, alpha)| order_statistics(&state.arms[0], q, alpha));
        answer(call, found, state.n_null)
    }
);

row_function!(
    /// A row of `ab_mannwhitney_agg`.
    mannwhitney_add,
    pg_finfo_mannwhitney_add,
    |call: &Call| {
        let (datum, state) = call.kept::<Values>();
        match call.argument(2).map(|arm| arm.value() as i32) {
            Some(arm @ 1..=2) => state.add(arm as usize - 1, call.double(1)),
            Some(arm) => raise(InvalidArgument::new("arm", arm, "1 (control) or 2 (treatment)")),
            None => {}
        }
        datum
    }
);

row_function!(
    /// The answer of `ab_mannwhitney_agg`.
    mannwhitney_row,
    pg_finfo_mannwhitney_row,
    |call: &Call| {
        let none = Values::default();
        let state = call.read::<Values>(0).map_or(&none, |state| state);
        let [control, treatment] = &state.arms;
        answer(call, Some(mann_whitney(control, treatment)), state.n_null)
    }
);
