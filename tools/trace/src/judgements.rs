//! What was judged of calls, so that the same call is not judged again: a flood of refusals is mostly one call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::denial::Denial;
use crate::event;

/// A judgement holds for this long: what it rests on beside the event (a file, a limit) may change.
const STALE: Duration = Duration::from_secs(1);
/// Keys that are kept, with some 3 KB each; then all of them are forgotten, so that no container fills the memory.
const MOST: usize = 4096;

/// What was judged of the calls with one key.
enum Judged {
    /// At that time, under that id; `None` is not a refusal.
    As(Instant, u64, Option<Arc<Denial>>),
    /// It depends on what each process has for itself (files, limits): see the key with the process behind it.
    ByProcess,
}

/// Judgements by [`event::write_key`].
#[derive(Default)]
pub(crate) struct Judgements {
    kept: HashMap<Box<[u8]>, Judged>,
    ids: u64,
    /// The key that is looked up: one room for all.
    key: Vec<u8>,
}

impl Judgements {
    /// Forgets all where there are too many.
    pub(crate) fn begin(&mut self) {
        if self.kept.len() > MOST {
            self.kept.clear();
        }
    }

    /// What was judged of the same call within the last second, and its id.
    pub(crate) fn find(&mut self, record: &[u8], now: Instant) -> Option<(u64, Option<Arc<Denial>>)> {
        event::write_key(record, &mut self.key);
        let mut known = self.kept.get(self.key.as_slice())?;
        if matches!(known, Judged::ByProcess) {
            self.key.extend(event::task(record).1.to_ne_bytes());
            known = self.kept.get(self.key.as_slice())?;
        }
        match known {
            Judged::As(at, id, denial) if now.duration_since(*at) < STALE => Some((*id, denial.clone())),
            Judged::As(..) | Judged::ByProcess => None,
        }
    }

    /// Keeps a judgement, for this process alone where it depends on what the process has. Returns its id.
    pub(crate) fn keep(
        &mut self,
        record: &[u8],
        by_process: bool,
        denial: Option<Arc<Denial>>,
        now: Instant,
    ) -> u64 {
        event::write_key(record, &mut self.key);
        if by_process {
            self.kept.insert(Box::from(&*self.key), Judged::ByProcess);
            self.key.extend(event::task(record).1.to_ne_bytes());
        }
        self.ids += 1;
        self.kept.insert(Box::from(&*self.key), Judged::As(now, self.ids, denial));
        self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(pid: i32) -> Vec<u8> {
        let mut record = vec![0; event::SIZE];
        record[108..112].copy_from_slice(&pid.to_ne_bytes());
        record
    }

    #[test]
    fn processes_that_make_the_same_call_do_not_push_each_other_out() {
        let (mut judgements, now) = (Judgements::default(), Instant::now());
        let ids = [1, 2].map(|pid| judgements.keep(&record(pid), true, None, now));
        for (pid, id) in [1, 2].into_iter().zip(ids) {
            assert_eq!(judgements.find(&record(pid), now).map(|(id, _)| id), Some(id));
        }
        assert!(judgements.find(&record(3), now).is_none());
        // What does not depend on the process is everyone's.
        let id = judgements.keep(&record(1), false, None, now);
        assert_eq!(judgements.find(&record(3), now).map(|(id, _)| id), Some(id));
        assert!(judgements.find(&record(3), now + STALE).is_none());
    }

    #[test]
    fn there_are_no_more_than_so_many() {
        let (mut judgements, now) = (Judgements::default(), Instant::now());
        for pid in 0..i32::try_from(3 * MOST).expect("small") {
            judgements.begin();
            judgements.keep(&record(pid), true, None, now);
            assert!(judgements.kept.len() <= MOST + 2);
        }
    }
}
