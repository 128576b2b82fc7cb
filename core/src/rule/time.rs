//! Points in time as texts write them.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};

/// A point in time, as what has passed since 1970 (or, negative, what had yet to).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(SignedDuration);

impl Time {
    /// The time in `text`: `2026-11-23`, `2026-11-23T08:44`, `2026-11-23 08:44:41.123456`, each of the latter two also
    /// with an offset (`Z`, `+13`, `+1300`, `+13:00`). Without one it is UTC; a date is its midnight.
    ///
    /// The forms are taken apart here rather than by [`jiff`], which knows many more (weeks, names of zones, `20261123`,
    /// which would be a version too), and reckons no further than 9999-12-30, where people like to write "for ever".
    pub(super) fn parse(text: &str) -> Option<Time> {
        let mut rest = text.as_bytes();
        let year = digits(&mut rest, 4)?;
        sign(&mut rest, b"-")?;
        let month = digits(&mut rest, 2)?;
        sign(&mut rest, b"-")?;
        let day = digits(&mut rest, 2)?;
        let date = Date::new(i16::try_from(year).ok()?, month as i8, day as i8).ok()?;
        if rest.is_empty() {
            return Some(Time(since_1970(date.at(0, 0, 0, 0))));
        }
        sign(&mut rest, b"Tt ")?;
        let hour = digits(&mut rest, 2)?;
        sign(&mut rest, b":")?;
        let minute = digits(&mut rest, 2)?;
        let (mut second, mut nanoseconds) = (0, 0);
        if sign(&mut rest, b":").is_some() {
            second = digits(&mut rest, 2)?;
            if sign(&mut rest, b".").is_some() {
                let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                if !(1..=9).contains(&length) {
                    return None;
                }
                nanoseconds = digits(&mut rest, length)? * 10_i32.pow(9 - length as u32);
            }
        }
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let offset = offset(&mut rest)?;
        if !rest.is_empty() {
            return None;
        }
        // A leap second is the first one of the next minute, as it is to PostgreSQL.
        let within =
            SignedDuration::new(i64::from(hour * 3_600 + minute * 60 + second - offset), nanoseconds);
        since_1970(date.at(0, 0, 0, 0)).checked_add(within).map(Time)
    }
}

fn since_1970(time: DateTime) -> SignedDuration {
    time.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0))
}

/// The offset from UTC in seconds; none is zero.
fn offset(rest: &mut &[u8]) -> Option<i32> {
    if rest.is_empty() || sign(rest, b"Zz").is_some() {
        return Some(0);
    }
    let east = sign(rest, b"+-")? == b'+';
    let hours = digits(rest, 2)?;
    let minutes = if rest.is_empty() {
        0
    } else {
        sign(rest, b":");
        digits(rest, 2)?
    };
    let seconds = hours * 3_600 + minutes * 60;
    (hours <= 23 && minutes <= 59).then_some(if east { seconds } else { -seconds })
}

/// Takes exactly `count` digits, at most nine.
fn digits(rest: &mut &[u8], count: usize) -> Option<i32> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    taken.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i32::from(byte - b'0')))
}

/// Takes one byte that is among `signs`.
fn sign(rest: &mut &[u8], signs: &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    signs.contains(first).then(|| {
        *rest = after;
        *first
    })
}
