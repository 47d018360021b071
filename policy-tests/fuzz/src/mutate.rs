//! An input from other inputs.

use crate::dice::Dice;

/// What breaks readers, whatever they read.
const WORDS: [&str; 30] = [
    "\0",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "-1",
    "0",
    "9223372036854775808",
    "99999999999999999999999",
    "1e999",
    "null",
    "true",
    "\u{202e}",
    "\u{feff}",
    "%s",
    "/",
    "..",
    "=",
    "\u{1b}[2J",
];

/// Bytes changed, taken away, repeated, moved in from another seed, or words put in.
pub(crate) fn mutate(seeds: &[Vec<u8>], words: &[&str], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + dice.below(48)).min(bytes.len());
        match dice.below(8) {
            0 if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).unwrap_or(0),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            2 if dice.below(4) == 0 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let part = bytes[at..end].repeat(1 + dice.below(3));
                bytes.splice(at..at, part);
            }
            5 => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len() + 1);
                let to = (from + dice.below(48)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            6 if !words.is_empty() => drop(bytes.splice(at..at, dice.of_these(words).bytes())),
            _ => drop(bytes.splice(at..at, dice.of_these(&WORDS).bytes())),
        }
    }
    bytes
}

/// A part of a seed, which is repeated where it stands: the head, the part, and the tail.
pub(crate) struct Repeated {
    head: Vec<u8>,
    part: Vec<u8>,
    tail: Vec<u8>,
}

impl Repeated {
    /// Whole lines half of the time: what lists are made of.
    pub(crate) fn of(seeds: &[Vec<u8>], dice: &mut Dice) -> Repeated {
        let seed = &seeds[dice.below(seeds.len())];
        let (mut from, mut to) = (dice.below(seed.len() + 1), 0);
        to += (from + 1 + dice.below(40)).min(seed.len());
        if dice.below(2) == 0 {
            from = seed[..from].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            to = seed[from..].iter().position(|byte| *byte == b'\n').map_or(seed.len(), |at| from + at + 1);
        }
        Repeated { head: seed[..from].to_vec(), part: seed[from..to].to_vec(), tail: seed[to..].to_vec() }
    }

    /// The input with parts of about this many bytes in all.
    pub(crate) fn long(&self, bytes: usize) -> Vec<u8> {
        let times = bytes / self.part.len().max(1);
        [&self.head[..], &self.part.repeat(times), &self.tail].concat()
    }

    pub(crate) fn part(&self) -> &[u8] {
        &self.part
    }
}
