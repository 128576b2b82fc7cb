//! The statistics as aggregates over rows, for tables that no experiment of ours wrote.
//!
//! Most states are arrays of doubles: SQL can store and look into them, parallel workers hand them over as they are, and
//! what is done for a row is what `avg` does: change the array where it is. Those of the modules below, which need the
//! values themselves or a map, are Rust's own and travel as bytes.
//!
//! A row without an arm is no row of the test; one without a value is left out and counted in `n_null`. What must be the same
//! in every row, as `alpha`, is kept from the first and compared with that of the others, because PostgreSQL hands an
//! aggregate all its arguments with each row.

mod sample_ratio;
mod sketch;
mod values;

use ab_core::statistics::covariate::CovariateSample;
use ab_core::statistics::moments::{Moments, PairMoments};
use ab_core::statistics::{InvalidArgument, Note, check_probability};
use pgrx::prelude::*;

use super::covariate::cuped;
use super::mean::welch;
use super::proportion::pooled_z;
use super::{Found, NULL_INPUT, refuse};
use crate::call::{Call, row_function};

/// For aggregates called without one.
const ALPHA: f64 = 0.05;

#[cold]
fn raise(invalid: InvalidArgument) -> ! {
    refuse(invalid).report(PgLogLevel::ERROR);
    unreachable!("an error leaves the function")
}

#[inline(always)]
fn accepted<T>(outcome: Result<T, InvalidArgument>) -> T {
    match outcome {
        Ok(value) => value,
        Err(invalid) => raise(invalid),
    }
}

/// Refuses a state that is not of the aggregate whose function is called with it.
#[cold]
fn foreign() -> ! {
    raise(InvalidArgument::new("state", "another array", "what an aggregate of the same name made"))
}

/// An argument that must be the same in every row, as a double so that it fits into any state: 0 before the first row, −1
/// for NULL, which are both no value of a probability.
mod constant {
    use super::*;

    pub const UNSEEN: f64 = 0.0;
    pub const NULL: f64 = -1.0;

    /// Takes the argument of a row.
    #[inline(always)]
    pub fn keep(kept: &mut f64, name: &'static str, given: Option<f64>) {
        if !(*kept > UNSEEN && given == Some(*kept)) {
            settle(kept, name, given);
        }
    }

    #[cold]
    fn settle(kept: &mut f64, name: &'static str, given: Option<f64>) {
        if let Some(value) = given {
            accepted(check_probability(name, value));
        }
        let value = given.unwrap_or(NULL);
        if *kept == UNSEEN {
            *kept = value;
        } else if *kept != value {
            let shown = |value: f64| if value == NULL { "NULL".to_owned() } else { value.to_string() };
            let requirement = format!("the same in every row, {} as before", shown(*kept));
            raise(InvalidArgument::new(name, shown(value), &requirement));
        }
    }

    /// Takes that of another part of the rows.
    pub fn merge(kept: &mut f64, name: &'static str, part: f64) {
        if part != UNSEEN {
            settle(kept, name, (part != NULL).then_some(part));
        }
    }

    /// What it was, `None` if NULL.
    pub fn found(kept: f64, default: f64) -> Option<f64> {
        match kept {
            UNSEEN => Some(default),
            NULL => None,
            given => Some(given),
        }
    }
}

/// Columns of a row.
trait Columns {
    /// How many there are.
    const COUNT: usize;

    /// In their order.
    fn datums(self) -> Vec<Option<pg_sys::Datum>>;
}

macro_rules! columns {
    ($($column:ident)+) => {
        impl<$($column: IntoDatum),+> Columns for ($(Option<$column>,)+) {
            const COUNT: usize = [$(stringify!($column)),+].len();

            #[allow(non_snake_case, reason = "one name for a column and its type")]
            fn datums(self) -> Vec<Option<pg_sys::Datum>> {
                let ($($column,)+) = self;
                vec![$($column.into_datum()),+]
            }
        }
    };
}

columns!(A B C D);
columns!(A B C D E F G);
columns!(A B C D E F G H I J);
columns!(A B C D E F G H I J K L M N O P Q R S);

/// Ends the call with the columns of a test, how many rows had no value, the method and the note; `None` for a test of
/// which an argument was NULL.
fn answer<C: Columns>(call: &Call, found: Option<Found<C>>, n_null: f64) -> pg_sys::Datum {
    let (method, note, mut row) = match found.map(accepted) {
        Some((method, note, columns)) => (Some(method), note.map(Note::as_str), columns.datums()),
        None => (None, Some(NULL_INPUT), vec![None; C::COUNT]),
    };
    row.extend([(n_null as i64).into_datum(), method.into_datum(), note.into_datum()]);
    call.return_row(row)
}

/// What parallel workers need of a state that is Rust's own: to be added to another, and to travel.
macro_rules! internal_state {
    (
        $state:ty,
        $merge:ident $merge_info:ident,
        $to_bytes:ident $to_bytes_info:ident,
        $from_bytes:ident $from_bytes_info:ident
    ) => {
        $crate::call::row_function!(
            /// Adds another part of the rows.
            $merge,
            $merge_info,
            |call: &Call| match (call.argument(0), call.read::<$state>(1)) {
                (None, None) => call.return_null(),
                (Some(datum), None) => datum,
                (_, Some(part)) => {
                    let (datum, state) = call.kept::<$state>();
                    state.merge(part);
                    datum
                }
            }
        );

        $crate::call::row_function!(
            /// Leaves a worker.
            $to_bytes,
            $to_bytes_info,
            |call: &Call| match call.read::<$state>(0) {
                Some(state) => call.return_bytes(&state.to_bytes()),
                None => call.return_null(),
            }
        );

        $crate::call::row_function!(
            /// Comes from a worker.
            $from_bytes,
            $from_bytes_info,
            |call: &Call| match <$state>::from_bytes(call.bytes(0)) {
                Some(state) => call.hand_over(state),
                None => $crate::statistics::aggregate::foreign(),
            }
        );
    };
}
use internal_state;

/// Of which of the two arms a row is, from `is_treatment`.
#[inline(always)]
fn arm(call: &Call, index: usize) -> Option<usize> {
    call.argument(index).map(|datum| usize::from(datum.value() != 0))
}

/// The `index`-th block of `W` doubles behind the first two.
#[inline(always)]
fn block<const W: usize>(state: &mut [f64], index: usize) -> &mut [f64; W] {
    match state.get_mut(2 + W * index..).and_then(|rest| rest.first_chunk_mut()) {
        Some(block) => block,
        None => foreign(),
    }
}

/// The array of doubles that the call is given to change.
#[inline(always)]
fn state<const N: usize>(call: &Call) -> (pg_sys::Datum, &mut [f64; N]) {
    match call.state() {
        Some(found) => found,
        None => foreign(),
    }
}

/// The array of another part of the rows.
fn part<const N: usize>(call: &Call) -> &[f64; N] {
    match call.doubles(1).and_then(|part| part.try_into().ok()) {
        Some(part) => part,
        None => foreign(),
    }
}

/// What a final function is given.
fn gathered<const N: usize>(call: &Call) -> &[f64; N] {
    match call.doubles(0).and_then(|state| state.try_into().ok()) {
        Some(state) => state,
        None => foreign(),
    }
}

/// How moments are laid out in arrays that users store: the moments, then how many rows had no value.
const SINGLE: usize = 5;
const PAIR: usize = 9;

row_function!(
    /// A row of `ab_moments(y)`.
    moments_add,
    pg_finfo_moments_add,
    |call: &Call| {
        let (datum, state) = state::<SINGLE>(call);
        let [numbers @ .., n_null] = state;
        match call.double(1) {
            Some(y) => {
                let mut moments = Moments::of(*numbers);
                accepted(moments.add("y", y));
                *numbers = moments.numbers();
            }
            None => *n_null += 1.0,
        }
        datum
    }
);

row_function!(
    /// A row of `ab_moments(y, x)`.
    pair_moments_add,
    pg_finfo_pair_moments_add,
    |call: &Call| {
        let (datum, state) = state::<PAIR>(call);
        let [numbers @ .., n_null] = state;
        match (call.double(1), call.double(2)) {
            (Some(y), Some(x)) => {
                let mut moments = PairMoments::of(*numbers);
                accepted(moments.add(["y", "x"], y, x));
                *numbers = moments.numbers();
            }
            _ => *n_null += 1.0,
        }
        datum
    }
);

/// Adds stored moments to others of the same length.
fn merge_moments(state: &mut [f64], part: &[f64]) -> Result<(), InvalidArgument> {
    if state.len() != part.len() {
        let requirement = "of one value in every row, or of two in every row";
        return Err(InvalidArgument::new("state", format_args!("{} numbers", part.len()), requirement));
    }
    if let (Ok([numbers @ .., n_null]), Ok([others @ .., others_null])) =
        (<&mut [f64; SINGLE]>::try_from(&mut *state), <&[f64; SINGLE]>::try_from(part))
    {
        let mut moments = Moments::stored(*numbers)?;
        moments.merge(&Moments::stored(*others)?)?;
        *numbers = moments.numbers();
        *n_null += others_null;
    } else if let (Ok([numbers @ .., n_null]), Ok([others @ .., others_null])) =
        (<&mut [f64; PAIR]>::try_from(state), <&[f64; PAIR]>::try_from(part))
    {
        let mut moments = PairMoments::stored(*numbers)?;
        moments.merge(&PairMoments::stored(*others)?)?;
        *numbers = moments.numbers();
        *n_null += others_null;
    } else {
        return Err(unknown());
    }
    Ok(())
}

#[cold]
fn unknown() -> InvalidArgument {
    InvalidArgument::new("state", "another array", "what ab_moments answered")
}

row_function!(
    /// A row of `ab_moments_merge`, and the other parts of `ab_moments`.
    moments_merge,
    pg_finfo_moments_merge,
    |call: &Call| {
        let part = call.argument(1).map(|_| call.doubles(1).unwrap_or_else(|| raise(unknown())));
        match (call.argument(0), part) {
            (None, None) => call.return_null(),
            (None, Some(part)) => {
                // Merged with nothing, so that what is no state is refused.
                accepted(merge_moments(&mut vec![0.0; part.len()], part));
                call.argument(1).unwrap_or(pg_sys::Datum::null())
            }
            (Some(datum), None) => datum,
            (Some(_), Some(part)) => {
                let (datum, state) = call.numbers().unwrap_or_else(|| foreign());
                accepted(merge_moments(state, part));
                datum
            }
        }
    }
);

row_function!(
    /// The row that moments stand for.
    moments_row,
    pg_finfo_moments_row,
    |call: &Call| {
        let state = call.doubles(0).unwrap_or_else(|| raise(unknown()));
        let (sample, covariate, n_null) = if let Ok(&[ref numbers @ .., n_null]) =
            <&[f64; SINGLE]>::try_from(state)
        {
            (accepted(Moments::stored(*numbers)).sample(), None, n_null)
        } else if let Ok(&[ref numbers @ .., n_null]) = <&[f64; PAIR]>::try_from(state) {
            let pair = accepted(PairMoments::stored(*numbers)).sample();
            (pair.outcome(), Some(pair), n_null)
        } else {
            raise(unknown())
        };
        let n = sample.n;
        let mean_of = |mean: f64| (n > 0).then_some(mean);
        let spread_of = |spread: f64| (n > 1).then_some(spread);
        let x = |figure: fn(&CovariateSample) -> f64| covariate.as_ref().map(figure);
        let row = (
            Some(n),
            mean_of(sample.mean),
            spread_of(sample.variance),
            x(|pair| pair.covariate_mean).and_then(mean_of),
            x(|pair| pair.covariate_variance).and_then(spread_of),
            x(|pair| pair.covariance).and_then(spread_of),
            Some(n_null as i64),
        );
        call.return_row(row.datums())
    }
);

/// `alpha`, how many rows had no value, and the moments of either arm.
const TTEST: usize = 2 + 2 * 4;

row_function!(
    /// A row of `ab_ttest_agg`.
    ttest_add,
    pg_finfo_ttest_add,
    |call: &Call| {
        let (datum, state) = state::<TTEST>(call);
        keep_alpha(call, state, 3);
        if let Some(arm) = arm(call, 2) {
            match call.double(1) {
                Some(value) => {
                    let block = block(state, arm);
                    let mut moments = Moments::of(*block);
                    accepted(moments.add("value", value));
                    *block = moments.numbers();
                }
                None => state[1] += 1.0,
            }
        }
        datum
    }
);

#[inline(always)]
fn keep_alpha(call: &Call, state: &mut [f64], index: usize) {
    if call.count() > index {
        constant::keep(&mut state[0], "alpha", call.double(index));
    }
}

/// Adds what the states of tests begin with.
fn merge_head(state: &mut [f64], part: &[f64]) {
    constant::merge(&mut state[0], "alpha", part[0]);
    state[1] += part[1];
}

row_function!(
    /// Another part of `ab_ttest_agg`.
    ttest_merge,
    pg_finfo_ttest_merge,
    |call: &Call| {
        let (datum, state) = state::<TTEST>(call);
        let mut part = *part::<TTEST>(call);
        merge_head(state, &part);
        for arm in 0..2 {
            let own = block(state, arm);
            let mut moments = accepted(Moments::stored(*own));
            accepted(moments.merge(&accepted(Moments::stored(*block(&mut part, arm)))));
            *own = moments.numbers();
        }
        datum
    }
);

row_function!(
    /// The answer of `ab_ttest_agg`.
    ttest_row,
    pg_finfo_ttest_row,
    |call: &Call| {
        let mut state = *gathered::<TTEST>(call);
        let [c, t] = [0, 1].map(|arm| accepted(Moments::stored(*block(&mut state, arm))).sample());
        let found = constant::found(state[0], ALPHA)
            .map(|alpha| welch(c.n, c.mean, c.variance, t.n, t.mean, t.variance, alpha, "two-sided"));
        answer(call, found, state[1])
    }
);

/// `alpha`, how many rows had no value, and the moments of y and x of either arm.
const CUPED: usize = 2 + 2 * 8;

row_function!(
    /// A row of `ab_cuped_agg`.
    cuped_add,
    pg_finfo_cuped_add,
    |call: &Call| {
        let (datum, state) = state::<CUPED>(call);
        keep_alpha(call, state, 4);
        if let Some(arm) = arm(call, 3) {
            match (call.double(1), call.double(2)) {
                (Some(y), Some(x)) => {
                    let block = block(state, arm);
                    let mut moments = PairMoments::of(*block);
                    accepted(moments.add(["y", "x"], y, x));
                    *block = moments.numbers();
                }
                _ => state[1] += 1.0,
            }
        }
        datum
    }
);

row_function!(
    /// Another part of `ab_cuped_agg`.
    cuped_merge,
    pg_finfo_cuped_merge,
    |call: &Call| {
        let (datum, state) = state::<CUPED>(call);
        let mut part = *part::<CUPED>(call);
        merge_head(state, &part);
        for arm in 0..2 {
            let own = block(state, arm);
            let mut moments = accepted(PairMoments::stored(*own));
            accepted(moments.merge(&accepted(PairMoments::stored(*block(&mut part, arm)))));
            *own = moments.numbers();
        }
        datum
    }
);

row_function!(
    /// The answer of `ab_cuped_agg`.
    cuped_row,
    pg_finfo_cuped_row,
    |call: &Call| {
        let mut state = *gathered::<CUPED>(call);
        let [c, t] = [0, 1].map(|arm| accepted(PairMoments::stored(*block(&mut state, arm))).sample());
        let found = constant::found(state[0], ALPHA).map(|alpha| {
            cuped(
                c.n,
                c.mean,
                c.variance,
                c.covariate_mean,
                c.covariate_variance,
                c.covariance,
                t.n,
                t.mean,
                t.variance,
                t.covariate_mean,
                t.covariate_variance,
                t.covariance,
                alpha,
                None,
            )
        });
        answer(call, found, state[1])
    }
);

/// `alpha`, how many rows had no value, and the users and conversions of either arm.
const ZTEST: usize = 2 + 2 * 2;

/// Adds a row of `ab_ztest_agg`, or takes one away again, which counts allow.
#[inline(always)]
fn count_conversion(call: &Call, change: f64) -> pg_sys::Datum {
    let (datum, state) = state::<ZTEST>(call);
    keep_alpha(call, state, 3);
    if let Some(arm) = arm(call, 2) {
        match call.argument(1) {
            Some(converted) => {
                let [users, conversions] = block(state, arm);
                *users += change;
                *conversions += if converted.value() != 0 { change } else { 0.0 };
            }
            None => state[1] += change,
        }
    }
    datum
}

row_function!(
    /// A row of `ab_ztest_agg`.
    ztest_add,
    pg_finfo_ztest_add,
    |call: &Call| count_conversion(call, 1.0)
);

row_function!(
    /// A row that leaves the window of `ab_ztest_agg`.
    ztest_remove,
    pg_finfo_ztest_remove,
    |call: &Call| count_conversion(call, -1.0)
);

row_function!(
    /// Another part of `ab_ztest_agg`.
    ztest_merge,
    pg_finfo_ztest_merge,
    |call: &Call| {
        let (datum, state) = state::<ZTEST>(call);
        let part = part::<ZTEST>(call);
        merge_head(state, part);
        state[2..].iter_mut().zip(&part[2..]).for_each(|(own, part)| *own += part);
        datum
    }
);

row_function!(
    /// The answer of `ab_ztest_agg`.
    ztest_row,
    pg_finfo_ztest_row,
    |call: &Call| {
        let &[alpha, n_null, n1, x1, n2, x2] = gathered::<ZTEST>(call);
        let [n1, x1, n2, x2] = [n1, x1, n2, x2].map(|count| count as i64);
        let found = constant::found(alpha, ALPHA)
            .map(|alpha| pooled_z(n1, x1, n2, x2, alpha, "two-sided", "newcombe"));
        answer(call, found, n_null)
    }
);
