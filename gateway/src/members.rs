//! Who is on the list of a segment: an exact set of ids, compact, and cheap to change while others read it.
//!
//! The ids lie sorted and end to end in chunks of a few hundred, found by the first id of each in a persistent tree. An id
//! costs its bytes and four more. A change copies one chunk and the path to it, so a set of a million and its successor
//! share almost everything, and a copy of the whole set is one count.

use std::sync::Arc;

use imbl::OrdMap;

/// Ids in a chunk when a whole list is read.
const FILL: usize = 128;
/// A chunk that grows beyond this becomes two.
const MAX: usize = 256;

/// Bytes of ids that came in no order, after which they are put into order; more where there is more to merge them with.
const MERGE: usize = 4 << 20;
const MERGE_PER_MEMBER: usize = 8;

/// A set of ids.
#[derive(Debug, Clone, Default)]
pub struct Members {
    /// Each chunk under the first of its ids.
    chunks: OrdMap<Arc<str>, Arc<Chunk>>,
    count: usize,
}

/// Some ids that follow each other; never none.
#[derive(Debug)]
struct Chunk {
    bytes: Box<[u8]>,
    /// Where each id ends in the bytes.
    ends: Box<[u32]>,
}

impl Chunk {
    fn new<'a>(ids: impl Iterator<Item = &'a [u8]>) -> Chunk {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for id in ids {
            bytes.extend_from_slice(id);
            ends.push(end(&bytes));
        }
        Chunk { bytes: bytes.into(), ends: ends.into() }
    }

    fn id(&self, index: usize) -> &[u8] {
        let from = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[from..self.ends[index] as usize]
    }

    fn ids(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map(|index| self.id(index))
    }

    /// Where `id` is, or else where it would have to be put.
    fn position(&self, id: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.id(middle).cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }
}

/// A chunk holds a few hundred ids of bounded length.
fn end(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

impl Members {
    /// Whether `id` is in the set.
    pub fn contains(&self, id: &str) -> bool {
        self.chunks.get_prev(id).is_some_and(|(_, chunk)| chunk.position(id.as_bytes()).is_ok())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts `id` in.
    pub fn insert(&mut self, id: &str) {
        let Some((first, chunk)) =
            self.chunks.get_prev(id).or_else(|| self.chunks.get_min().map(|(first, chunk)| (first, chunk)))
        else {
            return self.put([id.as_bytes()].into_iter());
        };
        let Err(place) = chunk.position(id.as_bytes()) else { return };
        let (first, chunk) = (Arc::clone(first), Arc::clone(chunk));
        self.take(&first);
        let count = chunk.ends.len();
        let ids = || {
            (0..count + 1).map(|index| match index.cmp(&place) {
                std::cmp::Ordering::Less => chunk.id(index),
                std::cmp::Ordering::Equal => id.as_bytes(),
                std::cmp::Ordering::Greater => chunk.id(index - 1),
            })
        };
        if count < MAX {
            self.put(ids());
        } else {
            self.put(ids().take(count / 2));
            self.put(ids().skip(count / 2));
        }
    }

    /// Takes `id` out.
    pub fn remove(&mut self, id: &str) {
        let Some((first, chunk)) = self.chunks.get_prev(id) else { return };
        let Ok(place) = chunk.position(id.as_bytes()) else { return };
        let (first, chunk) = (Arc::clone(first), Arc::clone(chunk));
        self.take(&first);
        if chunk.ends.len() > 1 {
            self.put(chunk.ids().enumerate().filter(|(index, _)| *index != place).map(|(_, id)| id));
        }
    }

    fn take(&mut self, first: &str) {
        if let Some(chunk) = self.chunks.remove(first) {
            self.count -= chunk.ends.len();
        }
    }

    fn put<'a>(&mut self, ids: impl Iterator<Item = &'a [u8]>) {
        self.put_chunk(Chunk::new(ids));
    }

    fn put_chunk(&mut self, chunk: Chunk) {
        self.count += chunk.ends.len();
        // All ids came as text.
        let first = String::from_utf8_lossy(chunk.id(0)).as_ref().into();
        self.chunks.insert(first, Arc::new(chunk));
    }
}

/// Reads a whole list that is probably the one `held`, without a second copy of it.
#[derive(Debug)]
pub struct Comparison {
    held: Members,
    found: usize,
    with_new: Members,
}

impl Comparison {
    /// A comparison with the set that is `held`.
    pub fn new(held: Members) -> Comparison {
        Comparison { with_new: held.clone(), held, found: 0 }
    }

    /// Takes an id of the list, each of which comes once; `false` when so much is new that comparing is pointless.
    pub fn push(&mut self, id: &str) -> bool {
        if self.held.contains(id) {
            self.found += 1;
            return true;
        }
        self.with_new.insert(id);
        self.with_new.len() - self.held.len() <= self.held.len() / 16
    }

    /// The list as a set; none if it lacks something that is held.
    pub fn finish(self) -> Option<Members> {
        (self.found == self.held.len()).then_some(self.with_new)
    }
}

/// Reads a whole list into a set.
///
/// Ids in the order of their bytes go straight into chunks. Others wait until there are many and are then merged in, so
/// that no order costs much more than the set itself.
#[derive(Debug, Default)]
pub struct Builder {
    members: Members,
    /// What will be the last chunk, and where its greatest id begins.
    tail: Run,
    last: usize,
    /// What came after a greater id.
    late: Run,
}

/// Ids end to end.
#[derive(Debug, Default)]
struct Run {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Run {
    fn push(&mut self, id: &[u8]) {
        self.bytes.extend_from_slice(id);
        self.ends.push(end(&self.bytes));
    }

    fn id(&self, index: usize) -> &[u8] {
        let from = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[from..self.ends[index] as usize]
    }
}

impl Builder {
    /// Puts `id` in.
    pub fn push(&mut self, id: &str) {
        let id = id.as_bytes();
        let is_next = if self.tail.ends.is_empty() {
            let greatest = self.members.chunks.get_max();
            greatest.is_none_or(|(_, chunk)| chunk.id(chunk.ends.len() - 1) < id)
        } else {
            &self.tail.bytes[self.last..] < id
        };
        if is_next {
            self.append(id);
        } else {
            self.late.push(id);
            if self.late.bytes.len() >= MERGE.max(self.members.len() * MERGE_PER_MEMBER) {
                self.merge();
            }
        }
    }

    /// The set of all that was put in.
    pub fn finish(mut self) -> Members {
        self.merge();
        self.members
    }

    fn append(&mut self, id: &[u8]) {
        self.last = self.tail.bytes.len();
        self.tail.push(id);
        if self.tail.ends.len() == FILL {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.tail.ends.is_empty() {
            // Copies of the right size; the buffers stay for the next chunk.
            let Run { bytes, ends } = &self.tail;
            self.members.put_chunk(Chunk { bytes: bytes.as_slice().into(), ends: ends.as_slice().into() });
            self.tail.bytes.clear();
            self.tail.ends.clear();
        }
    }

    /// Makes one set of what is there and what came late.
    fn merge(&mut self) {
        self.flush();
        let late = std::mem::take(&mut self.late);
        if late.ends.is_empty() {
            return;
        }
        let mut order: Vec<usize> = (0..late.ends.len()).collect();
        order.sort_unstable_by(|left, right| late.id(*left).cmp(late.id(*right)));
        let mut late = order.into_iter().map(|index| late.id(index)).peekable();
        let mut before = std::mem::take(&mut self.members);
        // Chunk by chunk, so that what has been merged is freed.
        while let Some((first, chunk)) = before.chunks.get_min().cloned() {
            before.chunks.remove(&first);
            for id in chunk.ids() {
                while let Some(earlier) = late.next_if(|late| *late < id) {
                    self.append_new(earlier);
                }
                self.append_new(id);
            }
        }
        for id in late {
            self.append_new(id);
        }
        self.flush();
    }

    /// Appends an id that is not less than the last one, unless it is the same.
    fn append_new(&mut self, id: &[u8]) {
        let is_there = if self.tail.ends.is_empty() {
            let greatest = self.members.chunks.get_max();
            greatest.is_some_and(|(_, chunk)| chunk.id(chunk.ends.len() - 1) == id)
        } else {
            &self.tail.bytes[self.last..] == id
        };
        if !is_there {
            self.append(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn built<'a>(ids: impl Iterator<Item = &'a str>) -> Members {
        let mut builder = Builder::default();
        ids.for_each(|id| builder.push(id));
        builder.finish()
    }

    fn all(members: &Members) -> Vec<String> {
        members
            .chunks
            .values()
            .flat_map(|chunk| chunk.ids().map(|id| String::from_utf8(id.to_vec()).unwrap()))
            .collect()
    }

    #[test]
    fn a_list_is_read_in_any_order() {
        let mut ids: Vec<String> = (0..10_000).map(|id| format!("user_{id}")).collect();
        let in_writing = built(ids.iter().map(String::as_str));
        ids.sort();
        let sorted = built(ids.iter().map(String::as_str));
        assert_eq!((in_writing.len(), all(&in_writing)), (10_000, ids.clone()));
        assert_eq!((sorted.len(), all(&sorted)), (10_000, ids.clone()));
        for members in [&sorted, &in_writing] {
            assert_eq!(members.chunks.len(), 10_000_usize.div_ceil(FILL));
        }
        assert!(ids.iter().all(|id| sorted.contains(id) && in_writing.contains(id)));
        for other in ["", "user", "user_", "user_10000", "user_00", "zz", "é"] {
            assert!(!sorted.contains(other), "{other}");
        }
        assert!(!Members::default().contains("x") && Members::default().is_empty());
    }

    #[test]
    fn a_change_shares_what_it_does_not_touch() {
        let ids: Vec<String> = (0..10_000).map(|id| format!("{id:05}")).collect();
        let before = built(ids.iter().map(String::as_str));
        let mut after = before.clone();
        after.insert("05000x");
        after.remove("07000");
        after.insert("");
        assert!(after.contains("05000x") && !after.contains("07000") && after.contains(""));
        assert!(!before.contains("05000x") && before.contains("07000") && !before.contains(""));
        assert_eq!((before.len(), after.len()), (10_000, 10_001));
        let copied = after
            .chunks
            .values()
            .filter(|chunk| !before.chunks.values().any(|other| Arc::ptr_eq(chunk, other)))
            .count();
        assert_eq!(copied, 3);
    }

    #[test]
    fn a_list_that_is_held_is_not_copied() {
        let ids: Vec<String> = (0..1_000).map(|id| format!("{id:05}")).collect();
        let held = built(ids.iter().map(String::as_str));
        let compared = |ids: &[String]| {
            let mut comparison = Comparison::new(held.clone());
            ids.iter().all(|id| comparison.push(id)).then(|| comparison.finish()).flatten()
        };
        let same = compared(&ids).unwrap();
        assert!(same.chunks.values().zip(held.chunks.values()).all(|(same, held)| Arc::ptr_eq(same, held)));
        let more: Vec<String> = ids.iter().cloned().chain(["x".to_owned()]).collect();
        assert_eq!(compared(&more).map(|members| all(&members)), Some(more));
        assert!(compared(&ids[1..]).is_none());
        let others: Vec<String> = (0..1_000).map(|id| format!("other {id}")).collect();
        assert!(compared(&others).is_none());
    }

    proptest! {
        #[test]
        fn it_is_a_set(
            listed in prop::collection::vec("[a-cé]{0,4}", 0..600),
            changes in prop::collection::vec(("[a-cé]{0,4}", any::<bool>()), 0..600),
            asked in prop::collection::vec("[a-cé]{0,5}", 0..100),
        ) {
            let mut expected: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
            let mut members = built(listed.iter().map(String::as_str));
            prop_assert_eq!(members.len(), expected.len());
            for (id, is_member) in &changes {
                if *is_member {
                    members.insert(id);
                    expected.insert(id);
                } else {
                    members.remove(id);
                    expected.remove(id.as_str());
                }
            }
            prop_assert_eq!(members.len(), expected.len());
            prop_assert!(members.chunks.values().all(|chunk| (1..=MAX).contains(&chunk.ends.len())));
            for id in &asked {
                prop_assert_eq!(members.contains(id), expected.contains(id.as_str()));
            }
            prop_assert_eq!(all(&members), expected.into_iter().map(str::to_owned).collect::<Vec<_>>());
        }
    }
}
