//! Times as people write them in rules and schedules.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// Microseconds since 1970 of an RFC 3339 time with its offset, of a date and time without one (which is UTC), or of a
/// date (midnight UTC); `None` for any other text.
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    // Only forms that begin with a date of ten signs, so that what the library is generous about does not become ours.
    if bytes.len() < 10
        || bytes[4] != b'-'
        || bytes[7] != b'-'
        || !bytes[0].is_ascii_digit()
        || text.contains('[')
    {
        return None;
    }
    if bytes.len() == 10 {
        let date: Date = text.parse().ok()?;
        return utc(date.at(0, 0, 0, 0));
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_microsecond());
    }
    utc(text.parse().ok()?)
}

fn utc(time: DateTime) -> Option<i64> {
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn dates_and_times_with_and_without_offset() {
        for (text, seconds) in [
            ("1970-01-02", 86_400),
            ("1970-01-01T00:00:01Z", 1),
            ("1970-01-01T01:00:01+01:00", 1),
            ("1970-01-01 00:00:01", 1),
            ("1969-12-31T23:59:59", -1),
        ] {
            assert_eq!(parse(text), Some(seconds * 1_000_000), "{text}");
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
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
