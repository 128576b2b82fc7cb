//! Points in time as people write them in rules and schedules.

use jiff::SignedDuration;
use jiff::civil::date;
use jiff::fmt::temporal::Pieces;

/// A point in time, as what has passed since 1970 (or, negative, what had yet to).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(SignedDuration);

impl Time {
    /// The time in `text`: `2026-11-23`, `2026-11-23T08:44`, `2026-11-23 08:44:41.123456`, each of the latter two also
    /// with an offset (`Z`, `+13`, `+13:00`). Without one it is UTC; a date is its midnight. `None` for any other text.
    pub fn parse(text: &str) -> Option<Time> {
        let bytes = text.as_bytes();
        // The library reads more forms than these: dates without hyphens, which would be versions too, years of six
        // digits, and names of zones, whose rules nobody here has.
        if bytes.len() < 10
            || bytes[4] != b'-'
            || bytes[7] != b'-'
            || !bytes[0].is_ascii_digit()
            || text.contains('[')
        {
            return None;
        }
        let pieces = Pieces::parse(text).ok()?;
        let offset = pieces.to_numeric_offset();
        if pieces.time().is_none() && bytes.len() > 10 {
            return None;
        }
        // Reckoned with plain durations: a zoned time would end before 9999-12-31, where people write "for ever".
        let local = pieces.date().to_datetime(pieces.time().unwrap_or_default());
        let since = local.duration_since(date(1970, 1, 1).at(0, 0, 0, 0));
        let east = SignedDuration::from_secs(offset.map_or(0, |offset| i64::from(offset.seconds())));
        since.checked_sub(east).map(Time)
    }

    /// Microseconds since 1970.
    pub fn microseconds(self) -> i64 {
        i64::try_from(self.0.as_nanos().div_euclid(1_000)).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn dates_and_times_with_and_without_offset() {
        for (text, seconds) in [
            ("1970-01-02", 86_400),
            ("1970-01-01T00:00:01Z", 1),
            ("1970-01-01T01:00:01+01:00", 1),
            ("1970-01-01t01:00:01+01", 1),
            ("1970-01-01 00:00:01", 1),
            ("1969-12-31T23:59:59", -1),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(Time::parse(text).map(Time::microseconds), Some(seconds * 1_000_000), "{text}");
        }
        for none in [
            "",
            "1.2.3",
            "tomorrow",
            "2024-13-01",
            "2024-02-30",
            "20240101",
            "12:00",
            "1970-01-01T00:00:01Z[UTC]",
            "2024-01-01Z",
        ] {
            assert_eq!(Time::parse(none), None, "{none}");
        }
    }
}
