//! The loop: seeds, mutations of them, and parts of them repeated.

use std::panic::{RefUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::growth::linear;
use crate::mutate::{Repeated, mutate};

/// Where `make test` starts: the same inputs each time.
const SEED: u64 = 1;
/// One round in so many repeats a part of a seed and measures how the work grows.
const GROWTH: u64 = 40;
/// The bytes of the smaller repetition.
const SMALL: usize = 12_000;
/// What a main thread has, where the tools parse; a test's own thread has a quarter of it.
const STACK: usize = 8 << 20;
/// Ends a test that hangs; no input takes a hundredth of it, on a busy machine too.
const HANG_GUARD: Duration = Duration::from_secs(180);

/// A parser under test.
#[derive(Debug)]
pub struct Target {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    words: &'static [&'static str],
    rounds: u64,
    small: usize,
}

impl Target {
    /// A parser without seeds; its name is part of what a failure says.
    pub fn new(name: &'static str) -> Target {
        Target { name, seeds: Vec::new(), words: &[], rounds: 400, small: SMALL }
    }

    /// Inputs that it reads.
    #[must_use]
    pub fn seeds<S: Into<Vec<u8>>>(mut self, seeds: impl IntoIterator<Item = S>) -> Target {
        self.seeds.extend(seeds.into_iter().map(Into::into));
        self
    }

    /// Each file of a folder, in the order of their names.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn corpus(self, folder: &Path) -> Target {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).expect("a corpus").map(|file| file.expect("a file").path()).collect();
        files.sort();
        let seeds: Vec<Vec<u8>> = files
            .iter()
            .filter(|file| file.is_file())
            .map(|file| std::fs::read(file).expect("a file"))
            .collect();
        self.seeds(seeds)
    }

    /// Words of its language, put in here and there.
    #[must_use]
    pub fn words(mut self, words: &'static [&'static str]) -> Target {
        self.words = words;
        self
    }

    /// How many inputs `make test` tries.
    #[must_use]
    pub fn rounds(mut self, rounds: u64) -> Target {
        self.rounds = rounds;
        self
    }

    /// The size at which growth is measured, for a parser that takes no more, or that is slow by its nature.
    #[must_use]
    pub fn small(mut self, bytes: usize) -> Target {
        self.small = bytes;
        self
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?}: expected a number")))
}

/// What is being tried, for a panic and for the guard.
struct Now {
    target: &'static str,
    seed: u64,
    round: AtomicU64,
    input: Mutex<Vec<u8>>,
}

impl Now {
    #[allow(
        clippy::print_stderr,
        reason = "the input that fails, and how to repeat it, is what a person needs"
    )]
    fn say(&self, what: &str) {
        let round = self.round.load(Ordering::Relaxed);
        let input = self.input.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        eprintln!(
            "fuzz: {}: {what}; PLIM_FUZZ_SEED={} PLIM_FUZZ_ROUND={round} repeats it; the input, {} bytes: {}",
            self.target,
            self.seed,
            input.len(),
            input[..input.len().min(4_000)].escape_ascii()
        );
    }
}

/// Ends the process when one round does not end: a hang cannot be caught.
fn guard(now: Weak<Now>) {
    let (mut round, mut since) = (0, Instant::now());
    while let Some(now) = now.upgrade() {
        let current = now.round.load(Ordering::Relaxed);
        if current != round {
            (round, since) = (current, Instant::now());
        } else if since.elapsed() > HANG_GUARD {
            now.say("does not end");
            std::process::abort();
        }
        drop(now);
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Runs `entry` on the seeds, on mutations of them, and on parts of them repeated: it must return, and its work must not grow
/// faster than its input.
///
/// `PLIM_FUZZ_SECONDS`: for how long (else a fixed number of rounds); `PLIM_FUZZ_SEED`: other inputs; `PLIM_FUZZ_ROUND`: that one alone.
///
/// # Panics
/// With the first input that fails.
pub fn fuzz(target: Target, entry: impl Fn(&[u8]) + RefUnwindSafe + Sync) {
    let run = || looped(target, &entry);
    let ended = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run);
        thread.expect("a thread").join()
    });
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

fn looped(target: Target, entry: &(impl Fn(&[u8]) + RefUnwindSafe)) {
    let Target { name, seeds, words, rounds, small } = target;
    assert!(seeds.iter().any(|seed| !seed.is_empty()), "{name}: no seeds");
    let seed = number("PLIM_FUZZ_SEED").unwrap_or(SEED);
    let now = Arc::new(Now { target: name, seed, round: AtomicU64::new(0), input: Mutex::default() });
    let watched = Arc::downgrade(&now);
    std::thread::spawn(move || guard(watched));

    let one = |round: u64, input: &[u8]| {
        now.round.store(round, Ordering::Relaxed);
        *now.input.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = input.to_vec();
        if let Err(panic) = catch_unwind(|| entry(input)) {
            now.say("panics");
            resume_unwind(panic);
        }
    };
    let turn = |round: u64| {
        let mut dice = Dice::of(seed, round);
        if !round.is_multiple_of(GROWTH) {
            return one(round, &mutate(&seeds, words, &mut dice));
        }
        let repeated = Repeated::of(&seeds, &mut dice);
        if let Err(why) = linear(small, |size| one(round, &repeated.long(size))) {
            now.say(&format!(
                "work grows faster than its input with {}: {why}",
                repeated.part().escape_ascii()
            ));
            panic!("{name}: {why}");
        }
    };

    if let Some(round) = number("PLIM_FUZZ_ROUND") {
        return turn(round);
    }
    seeds.iter().for_each(|seed| one(0, seed));
    let begun = Instant::now();
    let span = number("PLIM_FUZZ_SECONDS").map(Duration::from_secs);
    let mut round = 0;
    while span.map_or(round < rounds, |span| begun.elapsed() < span) {
        round += 1;
        turn(round);
    }
    #[allow(clippy::print_stdout, reason = "how much was tried is the result of `make fuzz`")]
    {
        println!("fuzz: {name}: {round} inputs from seed {seed}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, fuzz};

    #[test]
    fn panics_and_quadratic_work_are_found() {
        let target = || Target::new("itself").seeds(["a, b, c\nd\n"]).rounds(400).small(2_000);
        fuzz(target(), |input| assert!(input.len() < 100_000));
        let found = std::panic::catch_unwind(|| fuzz(target(), |input| assert!(!input.contains(&0))));
        assert!(found.is_err(), "a NUL is one of the words");
        let quadratic = |input: &[u8]| {
            let commas = input.iter().filter(|byte| **byte == b',').count();
            std::hint::black_box((0..commas * commas).fold(0, |a: usize, b| std::hint::black_box(a ^ b)));
        };
        assert!(std::panic::catch_unwind(|| fuzz(target(), quadratic)).is_err());
    }
}
