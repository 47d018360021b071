//! The fuzz targets' functions on mutated files with a stable compiler: thousands of inputs in seconds, the same each time.

#[path = "../fuzz/entries.rs"]
mod entries;

use std::time::{Duration, Instant};

/// A pseudo-random sequence (xorshift64*): the same inputs on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap_or(0) % end.max(1)
    }
}

const PIECES: [&str; 32] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ": ",
    "\n",
    "  ",
    "- ",
    "&a ",
    "*a",
    "<<: ",
    "|\n",
    "\"",
    "'",
    "#",
    "!",
    "!!str ",
    "null",
    "true",
    "0x",
    "\\u0000",
    "\u{202e}",
    "---\n",
    "? ",
    "all(",
    "map(a, a)",
    "exists(",
    "&&",
    "snapshot",
    "container.",
    "hostPID: true\n",
];

/// Runs the seeds, then mutations of them: cut, doubled, and with pieces put in.
fn feed(seeds: &[&str], rounds: usize, one: fn(&[u8])) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut slowest = Duration::ZERO;
    let mut run = |text: &str| {
        let start = Instant::now();
        one(text.as_bytes());
        slowest = slowest.max(start.elapsed());
    };
    seeds.iter().for_each(|seed| run(seed));
    for _ in 0..rounds {
        let mut letters: Vec<char> = seeds[random.below(seeds.len())].chars().collect();
        for _ in 0..=random.below(6) {
            let at = random.below(letters.len() + 1);
            let end = (at + random.below(40)).min(letters.len());
            match random.below(4) {
                0 => {
                    letters.drain(at..end);
                }
                1 => {
                    let part: Vec<char> = letters[at..end].to_vec();
                    letters.splice(at..at, part);
                }
                _ => {
                    letters.splice(at..at, PIECES[random.below(PIECES.len())].chars());
                }
            }
        }
        run(&letters.into_iter().collect::<String>());
    }
    assert!(slowest < Duration::from_secs(10), "one input took {slowest:?}");
}

#[test]
fn policies() {
    let seeds: Vec<&str> = plim_policy::packs::names().filter_map(plim_policy::packs::get).collect();
    let project = include_str!("../../../policy-tests/examples/plim-policy.yaml");
    let lock = include_str!("../../../policy-tests/examples/plim.lock");
    feed(&[project, lock, project, lock, seeds[0], seeds[6]], 400, entries::policy);
}

#[test]
fn inputs() {
    let seeds = [
        include_str!("../../../policy-tests/examples/kubernetes/app.yaml"),
        include_str!("../../../policy-tests/examples/compose/compose.yaml"),
        "docker run --cap-add NET_ADMIN -v \"/a b:/c\" --security-opt seccomp=unconfined -p 80:80 web:1 sleep 5",
        "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"spec\": {\"hostPID\": true, \"containers\": [{\"name\": \"c\"}]}}",
        "{\"ociVersion\": \"1.0.2\", \"process\": {\"user\": {\"uid\": 0}}, \"linux\": {\"namespaces\": [{\"type\": \"pid\"}]}}",
    ];
    feed(&seeds, 400, entries::input);
}

#[test]
fn expressions() {
    let seeds = [
        "snapshot.all(m, m == \"/\" || snapshot.exists(o, o == m)) && size(container) > 3",
        "!has(snapshot.user) ? container[2] in [1, 2, 3] : workload.filter(x, x > 1).map(y, y - 1).size() == 2",
        "snapshot.exists_one(a, a == 1) || \"abc\".matches(\"^a(b|c)*$\")",
    ];
    feed(&seeds, 4_000, entries::expression);
}
