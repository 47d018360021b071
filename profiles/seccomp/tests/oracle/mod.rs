//! libseccomp in a process of its own (`tests/installed.py`), and random profiles to ask it about.
#![allow(dead_code, reason = "each test uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use plim_seccomp::bpf::Program;
use plim_seccomp::condition::Test;
use plim_seccomp::dialect::{self, Architectures};
use plim_seccomp::installed::{Installed, Vintage};
use plim_seccomp::interpret::{self, SeccompData};
use plim_seccomp::{Arch, syscalls};
use serde_json::{Value, json};

use crate::common;

/// Debian's own Python.
const PYTHON: &str = "/usr/bin/python3";

/// A running library.
pub(crate) struct Oracle {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Its release.
    pub(crate) vintage: Vintage,
}

impl Oracle {
    /// `None`, and said so, where there is no libseccomp.
    pub(crate) fn start() -> Option<Oracle> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/installed.py");
        let spawned = Command::new(PYTHON)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = spawned else {
            common::skip("there is no Python (Debian: python3-seccomp brings it and libseccomp)");
            return None;
        };
        let questions = child.stdin.take().expect("piped");
        let mut answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        let _ = answers.read_line(&mut line);
        let Ok([major, minor, patch]) = serde_json::from_str::<[u8; 3]>(&line) else {
            let _ = child.wait();
            common::skip("libseccomp is not installed (Debian: libseccomp2)");
            return None;
        };
        let vintage = Vintage::at_most(major, minor, patch).expect("a known series");
        Some(Oracle { child, questions, answers, vintage })
    }

    /// The filter, or the error number.
    pub(crate) fn ask(&mut self, question: &Value) -> Result<Program, i64> {
        writeln!(self.questions, "{question}").expect("it listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no answer to {question}"));
        match answer["bpf"].as_str() {
            Some(hex) => {
                let bytes: Vec<u8> = (0..hex.len() / 2)
                    .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
                    .collect();
                Ok(Program::from_bytes(&bytes).expect("a legal filter"))
            }
            None => Err(answer["errno"].as_i64().expect("an error number")),
        }
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// libseccomp's word for an architecture.
fn word(arch: Arch) -> String {
    arch.scmp_name().trim_start_matches("SCMP_ARCH_").to_lowercase()
}

/// The question that crun would ask about an OCI profile: rules with the default action left out, those that name an argument twice split.
pub(crate) fn question(json: &str, machine: Arch) -> Value {
    let written = dialect::parse(json.as_bytes()).unwrap();
    let default = written.default_action.unwrap();
    let arches: Vec<String> = match &written.architectures {
        Architectures::List(list) => list.iter().map(|arch| word(*arch)).collect(),
        _ => Vec::new(),
    };
    let mut rules = Vec::new();
    for rule in written.rules.iter().filter(|rule| rule.action != default) {
        let conditions: Vec<Value> = rule
            .conditions
            .iter()
            .map(|condition| {
                let operator = match condition.test {
                    Test::Ne(_) => 1,
                    Test::Lt(_) => 2,
                    Test::Le(_) => 3,
                    Test::Eq(_) => 4,
                    Test::Ge(_) => 5,
                    Test::Gt(_) => 6,
                    Test::MaskedEq { .. } => 7,
                };
                let (_, value, two) = condition.test.to_oci();
                json!([condition.argument, operator, value, two])
            })
            .collect();
        let mut arguments: Vec<u8> = rule.conditions.iter().map(|condition| condition.argument).collect();
        arguments.sort_unstable();
        let split = arguments.windows(2).any(|pair| pair[0] == pair[1]);
        for name in &rule.names {
            let all = if split {
                conditions.iter().map(|one| json!([one])).collect()
            } else {
                vec![json!(conditions)]
            };
            rules.extend(all.into_iter().map(|conditions| json!([name, rule.action.to_ret(), conditions])));
        }
    }
    json!({"native": word(machine), "arches": arches, "default": default.to_ret(), "optimize": 1, "rules": rules})
}

/// A small generator of its own, so that a seed names a case for ever.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

const CALLS: [&str; 9] =
    ["socket", "personality", "clone", "read", "semget", "semop", "accept4", "socketcall", "chown32"];
const VALUES: [u64; 14] = [
    0,
    1,
    5,
    5,
    9,
    38,
    0xffff_ffff,
    0x8000_0000,
    1 << 32,
    (1 << 32) | 5,
    (2 << 32) | 5,
    (2 << 32) | 9,
    u64::MAX,
    0xffff_ffff_0000_0000,
];
const MASKS: [u64; 7] = [0, 1, 0xf, 0x7e02_0000, 0xffff_ffff, 0xffff_ffff_0000_0000, u64::MAX];
const ACTIONS: [&str; 5] = [
    r#""action":"SCMP_ACT_ALLOW""#,
    r#""action":"SCMP_ACT_ERRNO","errnoRet":1"#,
    r#""action":"SCMP_ACT_ERRNO","errnoRet":2"#,
    r#""action":"SCMP_ACT_LOG""#,
    r#""action":"SCMP_ACT_TRAP""#,
];

/// A profile of few calls with many rules.
pub(crate) fn random_profile(random: &mut Random, companions: &[Arch]) -> String {
    let actions = 1 + random.below(3);
    let arguments = 1 + random.below(3);
    let calls = 1 + random.below(3);
    let first = random.below(CALLS.len() as u64);
    let mut rules = Vec::new();
    for _ in 0..1 + random.below(8) {
        let call = CALLS[usize::try_from((first + random.below(calls)) % CALLS.len() as u64).unwrap()];
        let action = ACTIONS[usize::try_from(random.below(actions)).unwrap()];
        let conditions: Vec<String> = (0..random.below(4) + u64::from(random.below(8) != 0))
            .map(|_| {
                let argument = random.below(arguments);
                let operator = *random.of(&["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]);
                let (value, two) = match operator {
                    "MASKED_EQ" => (*random.of(&MASKS), *random.of(&VALUES)),
                    _ => (*random.of(&VALUES), 0),
                };
                format!(
                    r#"{{"index":{argument},"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{operator}"}}"#
                )
            })
            .collect();
        rules.push(format!(r#"{{"names":["{call}"],{action},"args":[{}]}}"#, conditions.join(",")));
    }
    format!(
        r#"{{"defaultAction":"SCMP_ACT_KILL_PROCESS","architectures":{},"syscalls":[{}]}}"#,
        serde_json::to_string(companions).unwrap(),
        rules.join(",\n")
    )
}

/// Calls around every value above, on every architecture of the filter and a foreign one; what differs is an error.
pub(crate) fn compare(ours: &Installed, theirs: &Program, random: &mut Random) -> Result<(), String> {
    let mut values: Vec<u64> = VALUES
        .iter()
        .chain(&MASKS)
        .flat_map(|value| [value.wrapping_sub(1), *value, value.wrapping_add(1)])
        .collect();
    values.sort_unstable();
    values.dedup();
    let check = |call: SeccompData| {
        let (mine, other) = (ours.decide(&call), interpret::run(theirs, &call));
        if mine == other {
            Ok(())
        } else {
            Err(format!("{call:x?} is {mine} here and {other} with libseccomp"))
        }
    };
    for arch in ours.arches.iter().copied().chain([Arch::Loongarch64]) {
        let token = arch.audit_token();
        for nr in [0, 1, 0x3fff_ffff, 1 << 30, 0x7fff_ffff, 1 << 31, 3 << 30, u32::MAX - 1, u32::MAX] {
            check(SeccompData { nr, arch: token, ip: 0, args: [0; 6] })?;
        }
        for name in CALLS.iter().chain(&["ipc", "open"]) {
            let Some(nr) = syscalls::number(arch, name) else { continue };
            for _ in 0..120 {
                let mut args = [0; 6];
                for arg in args.iter_mut().take(3) {
                    *arg = if random.below(3) == 0 { random.below(45) } else { *random.of(&values) };
                }
                check(SeccompData { nr: nr.0, arch: token, ip: 0, args })?;
            }
        }
    }
    Ok(())
}
