//! Versions as people write them, in the order of <https://semver.org>.

use std::cmp::Ordering;

use semver::{BuildMetadata, Prerelease};

/// A semantic version without its build metadata, which does not count in comparisons.
#[derive(Debug)]
pub(super) struct Version(semver::Version);

impl Version {
    /// The version in `text`: `1.2.3-beta.1+build`, `v1.2.3`, `17.2`, `17`.
    ///
    /// What begins as a date does (`2024-1-1`) is none, though it could be read as a pre-release of version 2024.
    pub(super) fn parse(text: &str) -> Option<Version> {
        let bytes = text.as_bytes();
        if bytes.len() > 5
            && bytes[..4].iter().all(u8::is_ascii_digit)
            && bytes[4] == b'-'
            && bytes[5].is_ascii_digit()
        {
            return None;
        }
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(text, pre)| (text, Some(pre)));
        let mut parts = [0; 3];
        let mut written = numbers.split('.');
        for (index, part) in parts.iter_mut().enumerate() {
            match written.next() {
                Some(digits) => *part = number(digits)?,
                None if index > 0 => break,
                None => return None,
            }
        }
        if written.next().is_some() {
            return None;
        }
        let [major, minor, patch] = parts;
        let pre = match pre {
            Some("") => return None,
            Some(pre) => Prerelease::new(pre).ok()?,
            None => Prerelease::EMPTY,
        };
        if build.is_some_and(|build| build.is_empty() || BuildMetadata::new(build).is_err()) {
            return None;
        }
        Some(Version(semver::Version { major, minor, patch, pre, build: BuildMetadata::EMPTY }))
    }

    pub(super) fn compare(&self, other: &Version) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }
}

/// A part of a version: digits without a leading zero.
fn number(digits: &str) -> Option<u64> {
    let valid =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if valid { digits.parse().ok() } else { None }
}
