//! How workspaces, experiments, variants, metrics and salts may be spelt.
//!
//! A key never holds a colon: the colon separates the parts of what is hashed, and without this rule two
//! different pairs of salt and user could be the same text.

use crate::error::{Code, Error};

/// The longest key, in bytes.
pub const MAX_BYTES: usize = 128;

/// Whether `text` matches `[A-Za-z0-9][A-Za-z0-9_.-]*` and is at most [`MAX_BYTES`] long.
pub fn is_valid(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && text.len() <= MAX_BYTES
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Refuses a `text` that is no key, naming the `role` it was meant for ("experiment", "variant", …).
///
/// # Errors
/// [`Code::InvalidKey`].
pub fn check(role: &str, text: &str) -> Result<(), Error> {
    if is_valid(text) {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidKey,
        format!("{role} \"{}\" is not a valid key", crate::event::excerpt(text)),
        format!(
            "use letters, digits, \"_\", \".\" and \"-\", starting with a letter or digit, at most {MAX_BYTES} bytes"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_letters_digits_and_three_signs() {
        for good in ["a", "0", "checkout_test", "v1.2-beta", &"k".repeat(128)] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "_a", ".a", "-a", "a:b", "a b", "é", "a\0", &"k".repeat(129)] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
