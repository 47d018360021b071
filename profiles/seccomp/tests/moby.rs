//! `docker-default` means exactly what moby's current default profile means.
//!
//! The proof is a table of facts, one line for each condition with the calls that it governs (`data/moby-default.facts`), read off
//! moby's seccomp/default.json as of 30 April 2026 (moby/profiles). With `PLIM_MOBY_DEFAULT=path` the
//! table is checked against such a file, and with `PLIM_BLESS=1` rewritten from it.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use plim_model::{Capability, CapabilitySet};
use plim_seccomp::diagram::Store;
use plim_seccomp::dialect::{self, Architectures, Scope, Written};
use plim_seccomp::resolve::{Facts, KernelVersion, resolve};
use plim_seccomp::{Arch, exact, presets};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/moby-default.facts");

fn scope(word: &str, scope: &Scope) -> String {
    let mut text = String::new();
    let mut part = |key: &str, values: Vec<String>| {
        if !values.is_empty() {
            text += &format!(" {word}-{key}={}", values.join(","));
        }
    };
    let mut arches: Vec<String> = scope.arches.iter().map(|arch| arch.profile_name().to_owned()).collect();
    arches.sort();
    part("arch", arches);
    part("cap", scope.caps.names());
    part("kernel", scope.min_kernel.iter().map(ToString::to_string).collect());
    text
}

/// The profile as sorted facts.
fn table(written: &Written) -> String {
    let default = written.default_action.expect("a default");
    let mut lines = vec![format!("default: {default}")];
    if let Architectures::Map(map) = &written.architectures {
        for (arch, companions) in map {
            let companions: Vec<String> = companions.iter().map(ToString::to_string).collect();
            lines.push(format!("{arch} with: {}", companions.join(" ")).trim_end().to_owned());
        }
    }
    let mut groups: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for rule in &written.rules {
        let conditions: Vec<String> = rule.conditions.iter().map(|c| format!(" if {c}")).collect();
        let key = format!(
            "{}{}{}{}",
            rule.action,
            conditions.join(" and"),
            scope("with", &rule.includes),
            scope("without", &rule.excludes)
        );
        groups.entry(key).or_default().extend(rule.names.iter().map(String::as_str));
    }
    lines.extend(groups.into_iter().map(|(key, names)| {
        let names: Vec<&str> = names.into_iter().collect();
        format!("{key}: {}", names.join(" "))
    }));
    lines.sort();
    lines.join("\n") + "\n"
}

fn ours() -> Written {
    dialect::parse(presets::get("docker-default").unwrap().as_bytes()).unwrap()
}

#[test]
fn docker_default_says_what_the_facts_say() {
    let facts = std::fs::read_to_string(TABLE).unwrap();
    let mine = table(&ours());
    let (mine, facts): (BTreeSet<&str>, BTreeSet<&str>) = (mine.lines().collect(), facts.lines().collect());
    let only: Vec<_> = mine.symmetric_difference(&facts).collect();
    assert!(only.is_empty(), "{only:#?}");
}

/// The others, by tables of the same form: moby's releases of the profile (moby/profiles, tags seccomp/v0.1.0, v0.2.0 and v0.2.2; v0.2.1
/// and v0.2.3 are the current one), containers/common's seccomp.json of August 2025, and what containerd 2.3.4 makes for every
/// machine and capability (contrib/seccomp/seccomp_default.go).
#[test]
fn the_other_presets_say_what_their_facts_say() {
    let others =
        presets::names().filter(|name| !["class-default", "docker-default", "tcpdump"].contains(name));
    for name in others {
        let path = format!("{}/tests/data/{name}.facts", env!("CARGO_MANIFEST_DIR"));
        let facts = std::fs::read_to_string(path).unwrap();
        let mine = table(&dialect::parse(presets::get(name).unwrap().as_bytes()).unwrap());
        let (mine, facts): (BTreeSet<&str>, BTreeSet<&str>) =
            (mine.lines().collect(), facts.lines().collect());
        let only: Vec<_> = mine.symmetric_difference(&facts).collect();
        assert!(only.is_empty(), "{name}: {only:#?}");
    }
}

#[test]
fn the_facts_are_mobys() {
    let Some(path) = std::env::var_os("PLIM_MOBY_DEFAULT") else {
        // Moby's file is not shipped, so this one is not expected anywhere: it is for whoever updates the table.
        let mut stderr = std::io::stderr();
        let _ = std::io::Write::write_all(
            &mut stderr,
            b"SKIPPED: PLIM_MOBY_DEFAULT names no copy of moby's default.json\n",
        );
        return;
    };
    let moby = dialect::parse(&std::fs::read(&path).unwrap()).unwrap();
    if std::env::var_os("PLIM_BLESS").is_some() {
        std::fs::write(TABLE, table(&moby)).unwrap();
    }
    assert_eq!(table(&moby), std::fs::read_to_string(TABLE).unwrap());
    let single = Capability::known().map(|capability| CapabilitySet::from_iter([capability]));
    for caps in single.chain([CapabilitySet::EMPTY, common::docker_caps(), common::all_caps()]) {
        for arch in [
            Arch::X86_64,
            Arch::Aarch64,
            Arch::S390x,
            Arch::Riscv64,
            Arch::Ppc64le,
            Arch::Mips64,
            Arch::Loongarch64,
        ] {
            for kernel in [KernelVersion { major: 4, minor: 7 }, common::KERNEL] {
                let facts = Facts::new(arch, caps, kernel);
                let [a, b] = [&moby, &ours()].map(|written| resolve(written, &facts).unwrap().unwrap());
                let mut store = Store::new();
                let [x, y] = [&a, &b].map(|resolved| store.of_resolved(resolved).unwrap());
                assert_eq!(exact::diff(&mut store, x, y, true), Ok(vec![]), "{arch} {kernel}");
                assert_eq!((a.enosys_above, a.default), (b.enosys_above, b.default));
            }
        }
    }
}

/// The other preset is that without every rule for socket, and nothing else.
#[test]
fn tcpdump_is_docker_default_without_socket() {
    let mut without = ours();
    without.rules.retain(|rule| rule.names != ["socket"]);
    assert_eq!(ours().rules.len() - without.rules.len(), 3);
    assert_eq!(presets::get("class-default"), presets::get("docker-default"));
    let tcpdump = dialect::parse(presets::get("tcpdump").unwrap().as_bytes()).unwrap();
    assert_eq!(table(&tcpdump), table(&without));
}
