//! Records that wait to be judged, served in turn: a target that floods waits for itself and not the others for it.

use std::collections::VecDeque;

/// A line for each target. The kernel's half bounds what all of them hold: see `record_of` in `bpf/tell.h`.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Vec<VecDeque<Box<[u8]>>>,
    /// Targets with records, in the order in which they get their turn.
    turns: VecDeque<u32>,
}

impl Lines {
    fn line(&mut self, slot: u32) -> &mut VecDeque<Box<[u8]>> {
        let at = usize::try_from(slot).unwrap_or(usize::MAX);
        if self.lines.len() <= at {
            self.lines.resize_with(at + 1, VecDeque::new);
        }
        &mut self.lines[at]
    }

    /// Whether no record of the target waits.
    pub(crate) fn is_empty(&self, slot: u32) -> bool {
        self.lines.get(usize::try_from(slot).unwrap_or(usize::MAX)).is_none_or(VecDeque::is_empty)
    }

    /// Whether none waits at all.
    pub(crate) fn are_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Puts a record at the end of its target's line.
    pub(crate) fn push(&mut self, slot: u32, record: Box<[u8]>) {
        let line = self.line(slot);
        line.push_back(record);
        if line.len() == 1 {
            self.turns.push_back(slot);
        }
    }

    /// The first record of the target whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<(u32, Box<[u8]>)> {
        let slot = self.turns.pop_front()?;
        let line = self.line(slot);
        let record = line.pop_front()?;
        if line.is_empty() {
            // What a flood took is given back.
            *line = VecDeque::new();
        } else {
            self.turns.push_back(slot);
        }
        Some((slot, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_served_in_turn_and_each_in_its_order() {
        let mut lines = Lines::default();
        let record = |byte: u8| Box::from([byte]);
        for byte in 0..4 {
            lines.push(7, record(byte));
        }
        assert!(lines.is_empty(0) && !lines.is_empty(7));
        lines.push(0, record(10));
        lines.push(2, record(20));
        let served: Vec<(u32, u8)> =
            std::iter::from_fn(|| lines.pop()).map(|(slot, record)| (slot, record[0])).collect();
        assert_eq!(served, [(7, 0), (0, 10), (2, 20), (7, 1), (7, 2), (7, 3)]);
        assert!(lines.are_empty());
    }
}
