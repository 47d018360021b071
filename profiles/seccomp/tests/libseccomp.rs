//! libseccomp as a second opinion: it builds a filter from the same rules, and both filters answer alike in the interpreter.
//!
//! Left out is what is known to be done differently: names that the installed release does not know; on i386 the calls that libseccomp
//! also routes through `socketcall` and `ipc`; in random profiles, several conditional rules of one call; and numbers with bit 31
//! and without bit 30 where x32 is not listed, which libseccomp kills and runc answers with ENOSYS.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use plim_model::CapabilitySet;
use plim_seccomp::bpf::Program;
use plim_seccomp::compile::compile;
use plim_seccomp::resolve::{EnosysAbove, Facts, Resolved, resolve};
use plim_seccomp::{Arch, SyscallNr, dialect, interpret, presets, syscalls};
use proptest::strategy::{Strategy, ValueTree};

/// Debian's own Python, which is where its modules are.
const PYTHON: &str = "/usr/bin/python3";

/// By architecture, the names that libseccomp has no number for.
type Unknown = BTreeMap<String, BTreeSet<String>>;

/// What libseccomp makes of rules, and the names it does not know; `Err` for what it says when it makes nothing.
fn build(resolved: &Resolved, name: &str) -> Result<(Program, Unknown), String> {
    build_as(resolved, name, "linear")
}

/// The same in a shape: `linear`, or `tree`, which engines ask for since runc 1.2.
fn build_as(resolved: &Resolved, name: &str, shape: &str) -> Result<(Program, Unknown), String> {
    let folder = env!("CARGO_TARGET_TMPDIR");
    let (source, target) = (format!("{folder}/{name}.json"), format!("{folder}/{name}.bpf"));
    std::fs::write(&source, resolved.to_oci_json().to_string()).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libseccomp.py");
    let output =
        Command::new(PYTHON).args([script, &source, &target, shape]).output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let unknown: Unknown = serde_json::from_slice(&output.stdout).unwrap();
    let program = Program::from_bytes(&std::fs::read(target).unwrap()).map_err(|e| e.to_string())?;
    Ok((program, unknown))
}

fn available() -> bool {
    let found =
        Command::new(PYTHON).args(["-c", "import seccomp"]).output().is_ok_and(|o| o.status.success());
    if !found {
        common::skip("libseccomp's Python module is not installed (Debian: python3-seccomp)");
    }
    found
}

/// Whether libseccomp 2.5 answers a call of this name on i386 through a multiplexer as well.
fn is_multiplexed(name: &str) -> bool {
    [
        "socket", "bind", "connect", "listen", "accept", "getsock", "getpeer", "send", "recv", "shutdown",
        "setsock",
    ]
    .iter()
    .chain(&["sem", "msg", "shm", "ipc"])
    .any(|part| name.starts_with(part))
        && !matches!(name, "sendfile" | "sendfile64")
}

fn compare(ours: &Resolved, theirs: &Program, unknown: &Unknown, multiplexed: bool, what: &str) -> usize {
    let program = compile(ours).unwrap();
    let mut compared = 0;
    for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
        let leave_out: BTreeSet<u32> = syscalls::calls(arch)
            .filter(|(name, _)| {
                unknown.get(arch.scmp_name()).is_some_and(|names| names.contains(*name))
                    || (!multiplexed && arch == Arch::X86 && is_multiplexed(name))
            })
            .map(|(_, nr)| nr.0)
            .collect();
        let x32 = ours.arches.contains(&Arch::X32);
        for call in common::calls(ours, arch, 1024) {
            let narrow = ours.abi(call.arch, call.nr).is_some_and(Arch::has_narrow_arguments);
            // The kernel hands i386 no high words; libseccomp's 32-bit constants are cut to 32 bits.
            let impossible = narrow && call.args.iter().any(|arg| *arg > u64::from(u32::MAX));
            let between = !x32 && arch == Arch::X86_64 && (0x8000_0000..0xc000_0000).contains(&call.nr);
            if leave_out.contains(&call.nr) || impossible || between {
                continue;
            }
            let (mine, other) = (interpret::run(&program, &call), interpret::run(theirs, &call));
            assert_eq!(mine, other, "{call:x?} is {mine} here and {other} with libseccomp: {what}");
            compared += 1;
        }
    }
    compared
}

#[test]
fn presets_agree() {
    if !available() {
        return;
    }
    for name in presets::names() {
        for (caps, label) in
            [(common::docker_caps(), "docker"), (CapabilitySet::EMPTY, "none"), (common::all_caps(), "all")]
        {
            let facts = Facts { enosys_above: EnosysAbove::Never, ..common::facts(Arch::X86_64, caps) };
            let resolved = common::preset(name, &facts);
            let (theirs, unknown) = build(&resolved, &format!("{name}-{label}")).unwrap();
            let new = &unknown["SCMP_ARCH_X86_64"];
            assert!(
                new.iter().filter(|name| syscalls::number(Arch::X86_64, name).is_some()).count() < 40,
                "{new:?}"
            );
            let compared = compare(&resolved, &theirs, &unknown, true, name);
            assert!(compared > 10_000, "{compared}");
        }
    }
}

/// Keeps one conditional rule of each call: how several of them are joined is a matter of its own (the presets, which join some, agree).
fn keep_one_rule(resolved: &mut Resolved) {
    resolved.rules.values_mut().flat_map(|rules| rules.values_mut()).for_each(|rules| rules.truncate(1));
}

/// libseccomp cuts a constant to the argument's width, and here it keeps its value: on 32-bit architectures they differ.
fn constants_fit(resolved: &Resolved) -> bool {
    let fits = |value: u64| u32::try_from(value).is_ok();
    resolved
        .rules
        .iter()
        .filter(|(arch, _)| arch.has_narrow_arguments())
        .flat_map(|(_, rules)| rules.values())
        .flatten()
        .all(|rule| {
            rule.conditions.iter().all(|condition| {
                let (_, value, two) = condition.test.to_oci();
                fits(value) && fits(two)
            })
        })
}

#[test]
fn random_profiles_agree() {
    if !available() {
        return;
    }
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut done, mut refused) = (0, 0);
    while done < 40 {
        let (json, facts) = common::profile().new_tree(&mut runner).unwrap().current();
        let facts = Facts { enosys_above: EnosysAbove::Never, ..facts };
        let Ok(Some(mut resolved)) = resolve(&dialect::parse(json.as_bytes()).unwrap(), &facts) else {
            continue;
        };
        keep_one_rule(&mut resolved);
        if compile(&resolved).is_err() || !constants_fit(&resolved) {
            continue;
        }
        match build(&resolved, "random") {
            Ok((theirs, unknown)) => {
                compare(&resolved, &theirs, &unknown, false, &json);
                done += 1;
            }
            Err(why) => {
                refused += 1;
                assert!(refused < 200, "libseccomp refuses too much, last: {why}\n{json}");
            }
        }
    }
}

/// No call takes more instructions than in libseccomp's tree, whatever its arguments; x32's, which few kernels have, at most two more.
#[test]
fn no_call_costs_more_than_in_libseccomps_tree() {
    if !available() {
        return;
    }
    let facts = common::facts(Arch::X86_64, CapabilitySet::DOCKER_DEFAULT);
    let resolved = common::preset("docker-default", &Facts { enosys_above: EnosysAbove::Never, ..facts });
    let ours = compile(&resolved).unwrap();
    let (tree, unknown) = build_as(&resolved, "tree", "tree").unwrap();
    assert!(ours.instructions().len() * 5 < tree.instructions().len(), "{}", tree.instructions().len());
    for (arch, more) in [(Arch::X86_64, 0), (Arch::X86, 0), (Arch::X32, 2)] {
        let (mut sums, mut dearer) = ([0, 0], 0);
        for (name, nr) in syscalls::calls(arch).filter(|(name, _)| !unknown[arch.scmp_name()].contains(*name))
        {
            for args in common::arguments(&resolved, arch, nr) {
                let call = plim_seccomp::resolve::Call { nr: nr.0, arch: arch.audit_token(), ip: 0, args };
                let [mine, theirs] =
                    [&ours, &tree].map(|program| interpret::run_raw(program, &call).executed);
                assert!(
                    mine <= theirs + more,
                    "{arch} {name} {args:x?}: {mine} instructions, {theirs} with libseccomp"
                );
                dearer += u32::from(mine > theirs);
                sums = [sums[0] + mine, sums[1] + theirs];
            }
        }
        assert!(f64::from(sums[0]) <= 0.9 * f64::from(sums[1]), "{arch}: {sums:?}");
        assert!(dearer <= 120, "{arch}: {dearer} calls take more");
    }
}

#[test]
fn libseccomps_own_programs_are_read() {
    if !available() {
        return;
    }
    let resolved = common::preset("docker-default", &common::facts(Arch::X86_64, common::docker_caps()));
    let (theirs, _) = build(&resolved, "own").unwrap();
    let nr = |name| SyscallNr(syscalls::number(Arch::X86_64, name).unwrap().0);
    let conditional =
        |name| plim_seccomp::analyse::verdicts(&theirs, Arch::X86_64, nr(name).0).unwrap().len() == 2;
    assert!(conditional("socket") && conditional("clone") && !conditional("read"));
    let text = plim_seccomp::disasm::disassemble(&theirs);
    assert!(text.contains("(clone)") && text.contains("SCMP_ARCH_X86_64"), "{text:.400}");
}
