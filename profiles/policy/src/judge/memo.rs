//! Answers that many targets share, each worked out once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The most answers that are kept; what is asked beyond them is worked out each time.
const KEPT: usize = 1024;

/// Answers by all that they depend on. Threads that ask the same wait for the first, others do not.
pub(super) struct Memo<K, V>(Mutex<HashMap<K, Arc<OnceLock<V>>>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Memo<K, V> {
        Memo(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Memo<K, V> {
    pub(super) fn get(&self, key: K, work: impl FnOnce() -> V) -> V {
        match self.place(key) {
            Some(place) => place.get_or_init(work).clone(),
            None => work(),
        }
    }

    fn place(&self, key: K) -> Option<Arc<OnceLock<V>>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = kept.len() < KEPT || kept.contains_key(&key);
        room.then(|| kept.entry(key).or_default().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn an_answer_is_worked_out_once_until_there_are_too_many() {
        let memo = Memo::default();
        let worked = Cell::new(0);
        let ask = |key: usize| {
            memo.get(key, || {
                worked.set(worked.get() + 1);
                key * 2
            })
        };
        for _ in 0..3 {
            assert!((0..KEPT).all(|key| ask(key) == key * 2));
        }
        assert_eq!(worked.get(), KEPT);
        assert_eq!((ask(KEPT), ask(KEPT)), (KEPT * 2, KEPT * 2));
        assert_eq!(worked.get(), KEPT + 2);
    }
}
