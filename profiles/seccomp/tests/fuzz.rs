//! The fuzz targets' corpus, and mutations of it, through the targets' own functions: no panic, and no input that takes long.

use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../fuzz/entries.rs"]
mod entries;

/// Mutations of each file.
const MUTATIONS: u64 = 60;
/// Far more than any input needs, on a busy machine too.
const LONGEST: Duration = Duration::from_secs(20);

/// A sequence of numbers that is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides.max(1)
    }
}

/// Some bytes changed, taken away, repeated, or put in.
fn mutate(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 if !bytes.is_empty() => bytes[at] = u8::try_from(dice.roll(256)).expect("a byte"),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << dice.roll(8),
            2 => bytes.truncate(at),
            3 => {
                let end = (at + dice.roll(32)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = (at + dice.roll(64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                const WORDS: [&[u8]; 8] = [
                    b"\xff\xff\xff\xff",
                    b"\0\0\0\0",
                    b"9999999999999999999",
                    b"\"",
                    b"[",
                    b"}",
                    b"null",
                    b"\"names\":",
                ];
                bytes.splice(at..at, WORDS[dice.roll(WORDS.len())].iter().copied());
            }
        }
    }
    bytes
}

fn feed(name: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("corpus").map(|file| file.expect("file").path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{} has a corpus", folder.display());
    for (seed, file) in (1..).zip(&files) {
        let bytes = std::fs::read(file).expect("corpus file");
        let mut dice = Dice(seed);
        for round in 0..=MUTATIONS {
            let input = if round == 0 { bytes.clone() } else { mutate(&bytes, &mut dice) };
            let start = Instant::now();
            let result = std::panic::catch_unwind(|| entry(&input));
            let what = format!("{} in round {round}", file.display());
            if let Err(panic) = result {
                // The input itself, for a regression test.
                eprintln_input(&what, &input);
                std::panic::resume_unwind(panic);
            }
            assert!(start.elapsed() < LONGEST, "{what} took {:?}", start.elapsed());
        }
    }
}

#[allow(clippy::print_stderr, reason = "the input that fails is what a person needs")]
fn eprintln_input(what: &str, input: &[u8]) {
    eprintln!("{what}: {}", input.escape_ascii());
}

#[test]
fn json() {
    feed("json", entries::json);
}

#[test]
fn bpf() {
    feed("bpf", entries::bpf);
}

#[test]
fn diagram() {
    feed("diagram", entries::diagram);
}
