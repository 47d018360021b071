//! A fast hash for small integer keys that no stranger chooses to make collide at will: the keys are handles given out in order.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A multiplicative mix of one word into a state, good enough to spread handles over a table.
pub(super) fn mix(state: u64, word: u64) -> u64 {
    (state.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// [`mix`] as a [`Hasher`].
#[derive(Default)]
pub(crate) struct Mixer(u64);

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix(self.0, u64::from(*byte));
        }
    }

    fn write_u16(&mut self, word: u16) {
        self.0 = mix(self.0, u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.0 = mix(self.0, u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mix(self.0, word);
    }

    fn write_u8(&mut self, word: u8) {
        self.0 = mix(self.0, u64::from(word));
    }

    // Which variant an enum is.
    fn write_isize(&mut self, word: isize) {
        self.0 = mix(self.0, word.cast_unsigned() as u64);
    }

    fn write_usize(&mut self, word: usize) {
        self.0 = mix(self.0, word as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes low bits, the multiplication leaves its best ones high.
        self.0 ^ (self.0 >> 32)
    }
}

pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;
