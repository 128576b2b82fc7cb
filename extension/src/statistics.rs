//! The engine's statistics as SQL functions: sufficient statistics in, one row out.
//!
//! A NULL where a number must be, in an array too, is no mistake in a query over many experiments: the row then holds
//! NULLs and the note `null_input`. Numbers that no data can have are an error.
//!
//! What all of them share is [`statistic!`]; the modules say, by subject, which figure goes to which column.

mod aggregate;
mod bandit;
mod bayes;
mod covariate;
mod design;
mod effect;
mod mean;
mod multiplicity;
mod proportion;
mod rank;
mod result;
mod sample_ratio;
mod sequential;
mod simulation;

use ab_core::statistics::mean::Sample;
use ab_core::statistics::{InvalidArgument, Note};
use ab_core::{Code, Error};
use pgrx::pg_sys::panic::ErrorReport;

use crate::error::report;

const NULL_INPUT: &str = "null_input";

pub(crate) fn refuse(invalid: InvalidArgument) -> ErrorReport {
    report(Error::new(Code::InvalidArgument, invalid.message, format!("correct {}", invalid.argument)))
}

/// What an argument is once nothing is missing of it.
trait Argument: Sized {
    /// How SQL hands it over.
    type Given;

    /// `None` where it must be known and is NULL, or an element of it is.
    fn complete(given: Self::Given) -> Option<Self>;
}

macro_rules! required {
    ($($kind:ty),+) => {
        $(impl Argument for $kind {
            type Given = Option<$kind>;

            fn complete(given: Option<$kind>) -> Option<$kind> {
                given
            }
        })+
    };
}

required!(bool, i32, i64, f64);

impl<'a> Argument for &'a str {
    type Given = Option<&'a str>;

    fn complete(given: Option<&'a str>) -> Option<&'a str> {
        given
    }
}

impl<'a> Argument for &'a [u8] {
    type Given = Option<&'a [u8]>;

    fn complete(given: Option<&'a [u8]>) -> Option<&'a [u8]> {
        given
    }
}

impl<T> Argument for Vec<T> {
    type Given = Option<Vec<Option<T>>>;

    fn complete(given: Option<Vec<Option<T>>>) -> Option<Vec<T>> {
        given?.into_iter().collect()
    }
}

/// One that NULL is a value of.
impl<T> Argument for Option<T> {
    type Given = Option<T>;

    fn complete(given: Option<T>) -> Option<Option<T>> {
        Some(given)
    }
}

/// A row but for the shape of its columns: the method's name, why a figure is missing, and the figures.
type Found<Columns> = Result<(&'static str, Option<Note>, Columns), InvalidArgument>;

/// Declares a SQL function of one row: its arguments, its columns without `method` and `note`, which every table ends
/// with, and a body that gives the method, the note and the columns in that order. `as` names the body, for the aggregate
/// that answers the same from rows.
macro_rules! statistic {
    (
        $(#[$documentation:meta])*
        $name:ident as $found:ident($($argument:ident: $kind:ty),+ $(,)?)
            -> ($($column:ident: $value:ty),+ $(,)?) $body:block
    ) => {
        #[allow(clippy::too_many_arguments, clippy::type_complexity, reason = "the shape of a SQL function")]
        pub(super) fn $found($($argument: $kind),+) -> $crate::statistics::Found<($(Option<$value>,)+)> $body

        $crate::statistics::statistic! {
            $(#[$documentation])*
            $name($($argument: $kind),+) -> ($($column: $value),+) { $found($($argument),+) }
        }
    };
    (
        $(#[$documentation:meta])*
        $name:ident($($argument:ident: $kind:ty),+ $(,)?) -> ($($column:ident: $value:ty),+ $(,)?) $body:block
    ) => {
        $(#[$documentation])*
        #[pgrx::pg_extern]
        #[allow(clippy::too_many_arguments, clippy::type_complexity, reason = "the shape of a SQL function")]
        fn $name(
            $($argument: <$kind as $crate::statistics::Argument>::Given),+
        ) -> Result<
            pgrx::iter::TableIterator<
                'static,
                ($(Option<$value>,)+ Option<&'static str>, Option<&'static str>),
            >,
            pgrx::pg_sys::panic::ErrorReport,
        > {
            let ($(Some($argument),)+) =
                ($(<$kind as $crate::statistics::Argument>::complete($argument),)+)
            else {
                return Ok(pgrx::iter::TableIterator::once((
                    $(None::<$value>,)+
                    None,
                    Some($crate::statistics::NULL_INPUT),
                )));
            };
            let find = || -> $crate::statistics::Found<($(Option<$value>,)+)> { $body };
            let (method, note, ($($column,)+)) = find().map_err($crate::statistics::refuse)?;
            let note = note.map(|note| note.as_str());
            Ok(pgrx::iter::TableIterator::once(($($column,)+ Some(method), note)))
        }
    };
}

use statistic;

/// Refuses an array that is not as long as the first of those it goes with.
fn check_length(
    name: &'static str,
    length: usize,
    first: &str,
    expected: usize,
) -> Result<(), InvalidArgument> {
    if length == expected { Ok(()) } else { Err(InvalidArgument::length(name, length, first, expected)) }
}

/// Users, means and variances of several arms or strata, which SQL gives as an array each; `names` are theirs.
fn samples(
    names: [&'static str; 3],
    n: &[i64],
    mean: &[f64],
    variance: &[f64],
) -> Result<Vec<Sample>, InvalidArgument> {
    check_length(names[1], mean.len(), names[0], n.len())?;
    check_length(names[2], variance.len(), names[0], n.len())?;
    let rows = n.iter().zip(mean).zip(variance);
    Ok(rows.map(|((&n, &mean), &variance)| Sample { n, mean, variance }).collect())
}

/// Degrees of freedom and days are counted over an array, which never has more elements than an `integer` counts.
fn integer(count: Option<i64>) -> Option<i32> {
    count.and_then(|count| i32::try_from(count).ok())
}
