//! Pseudo-random numbers that are the same on every machine (splitmix64).

/// A sequence of numbers.
pub(crate) struct Dice(u64);

impl Dice {
    /// The sequence of this round: each round has its own, so that one can be repeated alone.
    pub(crate) fn of(seed: u64, round: u64) -> Dice {
        let mut dice = Dice(seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when there is none.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end.max(1)
    }

    /// One of them.
    pub(crate) fn of_these<'t, T: ?Sized>(&mut self, these: &[&'t T]) -> &'t T {
        these[self.below(these.len())]
    }
}
