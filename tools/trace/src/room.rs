//! Room that targets share.

/// Each target may take as much as is left free, as in the ring of the programs: one that floods leaves half of it to the others.
#[derive(Debug)]
pub(crate) struct Room {
    most: u64,
    taken: u64,
    by_target: Vec<u64>,
}

impl Room {
    pub(crate) fn new(most: u64) -> Room {
        Room { most, taken: 0, by_target: Vec::new() }
    }

    /// Takes room for a target where it may have it.
    pub(crate) fn take(&mut self, slot: u32, amount: u64) -> bool {
        let at = usize::try_from(slot).unwrap_or(usize::MAX);
        if self.by_target.len() <= at {
            self.by_target.resize(at + 1, 0);
        }
        let own = &mut self.by_target[at];
        if *own + amount + self.taken > self.most {
            return false;
        }
        *own += amount;
        self.taken += amount;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_takes_all_that_it_gets_leaves_room_for_others() {
        let mut room = Room::new(1000);
        while room.take(0, 1) {}
        while room.take(1, 1) {}
        assert_eq!(room.by_target, [500, 250]);
        assert!((0..125).all(|_| room.take(2, 1)));
        assert!(room.taken <= 1000);
    }
}
