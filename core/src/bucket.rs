//! The one hash on which every assignment rests.
//!
//! `bucket(salt, user_id) = XXH64(seed 0, utf8(salt || ':' || user_id)) mod 1_000_000`, the hash taken as an unsigned
//! 64-bit number. Anyone can reproduce it in another language; `tests/vectors/assignment/bucket.json` holds cases to check with.

use xxhash_rust::xxh64::xxh64;

/// How many buckets there are: a bucket is a millionth of the users.
pub const BUCKETS: u32 = 1_000_000;

/// Long enough for every key with a usual id; longer texts take the heap.
const INLINE_BYTES: usize = 128;

/// The bucket, `0..1_000_000`, of `user_id` under `salt`.
///
/// ```
/// assert_eq!(ab_core::bucket::bucket("checkout_test:variant", "user_123"), 353_587);
/// ```
pub fn bucket(salt: &str, user_id: &str) -> u32 {
    let mut prefix = Vec::with_capacity(salt.len() + 1);
    prefix.extend_from_slice(salt.as_bytes());
    prefix.push(b':');
    bucket_after(&prefix, user_id)
}

/// The bucket of `user_id` where the salt and its colon are already joined in `prefix`.
#[inline]
pub(crate) fn bucket_after(prefix: &[u8], user_id: &str) -> u32 {
    let user = user_id.as_bytes();
    let length = prefix.len() + user.len();
    let hash = if length <= INLINE_BYTES {
        let mut joined = [0_u8; INLINE_BYTES];
        joined[..prefix.len()].copy_from_slice(prefix);
        joined[prefix.len()..length].copy_from_slice(user);
        xxh64(&joined[..length], 0)
    } else {
        xxh64(&[prefix, user].concat(), 0)
    };
    (hash % u64::from(BUCKETS)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_vectors_of_another_implementation_agree() {
        let cases: Vec<(String, String, u32)> =
            serde_json::from_str(include_str!("../../tests/vectors/assignment/bucket.json")).unwrap();
        assert_eq!(cases.len(), 10_000);
        for (salt, user_id, expected) in cases {
            assert_eq!(bucket(&salt, &user_id), expected, "{salt} {user_id}");
        }
    }
}
