//! The one hash on which every assignment rests.
//!
//! `bucket(salt, user_id) = XXH64(seed 0, utf8(salt || ':' || user_id)) mod 1_000_000`, the hash taken as an unsigned
//! 64-bit number. Anyone can reproduce it in another language; `tests/vectors/assignment/bucket.json` holds cases to check with.

use xxhash_rust::xxh64::xxh64;

/// How many buckets there are: a bucket is a millionth of the users.
pub const BUCKETS: u32 = 1_000_000;

/// Long enough for a usual salt with a usual id, and copied whole with every user: longer texts take the heap.
const INLINE_BYTES: usize = 80;

/// The bucket, `0..1_000_000`, of `user_id` under `salt`.
///
/// ```
/// assert_eq!(ab_core::bucket::bucket("checkout_test:variant", "user_123"), 353_587);
/// ```
pub fn bucket(salt: &str, user_id: &str) -> u32 {
    Salt::new(salt).bucket(user_id)
}

/// A salt with the colon that follows it, ready to be joined with one id after the other.
#[derive(Debug)]
pub(crate) struct Salt {
    prefix: Box<[u8]>,
    /// The prefix, where it fits, and room for an id behind it.
    inline: [u8; INLINE_BYTES],
}

impl Salt {
    pub(crate) fn new(salt: &str) -> Salt {
        let mut prefix = Vec::with_capacity(salt.len() + 1);
        prefix.extend_from_slice(salt.as_bytes());
        prefix.push(b':');
        let mut inline = [0; INLINE_BYTES];
        if prefix.len() <= INLINE_BYTES {
            inline[..prefix.len()].copy_from_slice(&prefix);
        }
        Salt { prefix: prefix.into_boxed_slice(), inline }
    }

    /// The salt of one stage of an experiment or flag, whose own is the `root`.
    pub(crate) fn stage(root: &str, stage: &str) -> Salt {
        Salt::new(&format!("{root}:{stage}"))
    }

    /// The bucket of `user_id` under this salt.
    #[inline]
    pub(crate) fn bucket(&self, user_id: &str) -> u32 {
        let user = user_id.as_bytes();
        let from = self.prefix.len();
        let to = from + user.len();
        let hash = if to <= INLINE_BYTES {
            let mut joined = self.inline;
            joined[from..to].copy_from_slice(user);
            xxh64(&joined[..to], 0)
        } else {
            xxh64(&[&self.prefix, user].concat(), 0)
        };
        (hash % u64::from(BUCKETS)) as u32
    }
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
