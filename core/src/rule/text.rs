//! Texts without regard to case, compared in place: nothing is copied to be lowered.

/// The characters of `text`, each lowered by itself.
fn lowered(text: &str) -> impl DoubleEndedIterator<Item = char> {
    text.chars().flat_map(char::to_lowercase)
}

/// A copy in lower case, as the other functions want to be given what they look for.
pub(super) fn to_lower(text: &str) -> String {
    lowered(text).collect()
}

/// Whether `text` is one of `values`, which are lowered and in order.
pub(super) fn is_among(text: &str, values: &[Box<str>]) -> bool {
    values.binary_search_by(|value| value.chars().cmp(lowered(text))).is_ok()
}

pub(super) fn starts_with(text: &str, value: &str) -> bool {
    let mut characters = lowered(text);
    value.chars().all(|character| characters.next() == Some(character))
}

pub(super) fn ends_with(text: &str, value: &str) -> bool {
    let mut characters = lowered(text);
    value.chars().rev().all(|character| characters.next_back() == Some(character))
}
