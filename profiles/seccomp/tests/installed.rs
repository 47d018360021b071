//! What an engine installs, against libseccomp itself: it joins the same rules, and both answer every call alike.

mod common;
mod oracle;

use oracle::{Oracle, Random, question};
use plim_seccomp::Arch;
use plim_seccomp::installed::{Engine, Installed, Vintage, install};

/// The architectures of one filter: the machine's own and its companions.
const MACHINES: [(Arch, &[Arch]); 12] = [
    (Arch::X86_64, &[]),
    (Arch::X86_64, &[Arch::X86]),
    (Arch::X86_64, &[Arch::X86, Arch::X32]),
    (Arch::X86_64, &[Arch::X32]),
    (Arch::Aarch64, &[Arch::Arm]),
    (Arch::Ppc64le, &[]),
    (Arch::S390x, &[Arch::S390]),
    (Arch::Mips64, &[Arch::Mips, Arch::Mips64n32]),
    (Arch::Mipsel, &[]),
    (Arch::Ppc, &[]),
    (Arch::Riscv64, &[]),
    (Arch::Parisc64, &[Arch::Parisc]),
];

fn installed(json: &str, machine: Arch, vintage: Vintage) -> Result<Installed, String> {
    let written = plim_seccomp::dialect::parse(json.as_bytes()).unwrap();
    let facts = common::facts(machine, plim_model::CapabilitySet::EMPTY);
    install(&written, &facts, Engine::Crun, vintage).map_err(|error| error.to_string())
}

/// `Some` with what differs between ours and theirs.
fn difference(oracle: &mut Oracle, json: &str, machine: Arch, random: &mut Random) -> Result<Joined, String> {
    let ours = installed(json, machine, oracle.vintage);
    if ours.as_ref().err().is_some_and(|why| why.contains("never ends")) {
        // Seen to be so, and not waited for again.
        return Ok(Joined::Refused);
    }
    match (ours, oracle.ask(&question(json, machine))) {
        (Err(_), Err(17)) => Ok(Joined::Refused),
        (Ok(ours), Ok(theirs)) => oracle::compare(&ours, &theirs, random).map(|()| Joined::Alike),
        (Ok(_), Err(number)) => Err(format!("libseccomp refuses with {number}, we do not")),
        (Err(why), _) => Err(format!("we refuse and libseccomp does not: {why}")),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Joined {
    Alike,
    Refused,
}

/// The same difference with as few rules as possible.
fn shrink(oracle: &mut Oracle, json: &str, machine: Arch) -> (String, String) {
    let mut profile: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut what = String::new();
    let mut differs = |profile: &serde_json::Value| {
        let mut random = Random::new(0);
        let found = difference(oracle, &profile.to_string(), machine, &mut random).err();
        found.map(|found| what = found).is_some()
    };
    'again: loop {
        let rules = profile["syscalls"].as_array().unwrap().clone();
        for at in 0..rules.len() {
            let mut fewer = rules.clone();
            let rule = fewer.remove(at);
            let mut candidates = vec![fewer];
            for argument in 0..rule["args"].as_array().map_or(0, Vec::len) {
                let mut shorter = rules.clone();
                shorter[at]["args"].as_array_mut().unwrap().remove(argument);
                candidates.push(shorter);
            }
            for candidate in candidates {
                let before = profile["syscalls"].take();
                profile["syscalls"] = candidate.into();
                if differs(&profile) {
                    continue 'again;
                }
                profile["syscalls"] = before;
            }
        }
        differs(&profile);
        return (profile.to_string(), what);
    }
}

/// Rules of a few calls only, so that they meet: the values, arguments and actions are few as well.
#[test]
fn random_rules_are_joined_as_libseccomp_joins_them() {
    let Some(mut oracle) = Oracle::start() else { return };
    let lists = std::env::var("PLIM_RULE_LISTS").ok().and_then(|n| n.parse().ok()).unwrap_or(1500);
    let (mut joined, mut refused) = (0u64, 0u64);
    let first: u64 = std::env::var("PLIM_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    for seed in first..first + lists {
        let mut random = Random::new(seed);
        let (machine, companions) = *random.of(&MACHINES);
        let json = oracle::random_profile(&mut random, companions);
        match difference(&mut oracle, &json, machine, &mut random) {
            Ok(Joined::Alike) => joined += 1,
            Ok(Joined::Refused) => refused += 1,
            Err(what) => {
                let (least, still) = shrink(&mut oracle, &json, machine);
                panic!(
                    "seed {seed}, {machine}: {what}\nleast: {still}\n{}",
                    least.replace("{\"names", "\n{\"names")
                );
            }
        }
    }
    assert!(joined > lists / 3 && refused > 0, "{joined} joined, {refused} refused");
}
