//! Filters, profiles and manifests built to hold up the tools that judge them.
//!
//! A tool that is held up never answers; a tool that gives up quietly passes what it did not look at. So each input has the exit status
//! of what is known of it, and what bounds the tool is counted in processor time with a limit (RLIMIT_CPU) far above what it takes.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Ctx, Need, Outcome, Suite, Test, Weakening as W};

const NEEDS: &[Need] = &[Need::Built("plim-seccomp"), Need::Built("plim-check")];

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "judges/filters",
            says: "every tool that judges filters ends on those that return what they compute, with what is known or as undecided",
            needs: NEEDS,
            red_under: &[W::UnknownPasses],
            run: filters,
        },
        Test {
            name: "judges/names",
            says: "a profile of 50,000 unknown names and one of a name of 30 MB are refused or judged without being compared with all there are",
            needs: NEEDS,
            red_under: &[W::SilentFailure],
            run: names,
        },
        Test {
            name: "judges/files",
            says: "a manifest has no file opened that is not a regular one beneath the directories for it: procfs, FIFOs and links out of them are not read",
            needs: NEEDS,
            red_under: &[W::InspectElsewhere, W::UnknownPasses],
            run: files,
        },
    ],
};

/// One instruction of classic BPF.
fn insn(code: u16, jt: u8, jf: u8, k: u32) -> [u8; 8] {
    let ([a, b], [c, d, e, f]) = (code.to_le_bytes(), k.to_le_bytes());
    [a, b, jt, jf, c, d, e, f]
}

const LOAD: u16 = 0x20;
const RETURN_A: u16 = 0x16;
const RETURN: u16 = 0x06;

/// Programs that return or compare what they compute from arguments.
fn hostile_filters() -> Vec<(&'static str, Vec<u8>)> {
    let [and, or, multiply_x, add_x, tax, jump_equal, jump_set] = [0x54, 0x44, 0x2c, 0x0c, 0x07, 0x15, 0x45];
    let four = [
        insn(LOAD, 0, 0, 24),
        insn(and, 0, 0, 0x7fff_0fff),
        insn(or, 0, 0, 0x0005_0000),
        insn(RETURN_A, 0, 0, 0),
    ];
    let trace =
        [insn(LOAD, 0, 0, 24), insn(and, 0, 0, 0xffff), insn(or, 0, 0, 0x7ff0_0000), insn(RETURN_A, 0, 0, 0)];
    let product = [
        insn(LOAD, 0, 0, 16),
        insn(tax, 0, 0, 0),
        insn(LOAD, 0, 0, 24),
        insn(multiply_x, 0, 0, 0),
        insn(jump_equal, 0, 1, 12345),
        insn(RETURN, 0, 0, 0),
        insn(RETURN, 0, 0, 0x7fff_0000),
    ];
    let sum = [
        insn(LOAD, 0, 0, 16),
        insn(tax, 0, 0, 0),
        insn(LOAD, 0, 0, 24),
        insn(add_x, 0, 0, 0),
        insn(and, 0, 0, 0xffff),
        insn(or, 0, 0, 0x7ff0_0000),
        insn(RETURN_A, 0, 0, 0),
    ];
    let mut ladder = Vec::new();
    for step in 0..400u32 {
        ladder.push(insn(LOAD, 0, 0, 16 + 4 * (step * 7 % 12)));
        let ways = [[0, 0], [2, 2], [4, 0], [0, 2], [2, 0], [4, 2]][step as usize % 6];
        ladder.push(insn(jump_set, ways[0], ways[1], 1 << (step * 11 % 32)));
    }
    ladder.extend([insn(LOAD, 0, 0, 16); 4]);
    ladder.push(insn(RETURN_A, 0, 0, 0));
    [("four", &four[..]), ("trace", &trace), ("product", &product), ("sum", &sum), ("ladder", &ladder)]
        .map(|(name, program)| (name, program.concat()))
        .into()
}

/// Runs a tool with a bound on its processor time, at which it would die of SIGXCPU.
fn bounded(ctx: &Ctx, tool: &str, args: &[&str]) -> Result<Outcome> {
    let outcome = ctx.tool_within(tool, args, 60)?;
    ensure!(
        (0..124).contains(&outcome.code),
        "{tool} {args:?} was held up: {} {}",
        outcome.code,
        outcome.stderr
    );
    Ok(outcome)
}

fn filters(ctx: &Ctx) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let preset = "preset:docker-default";
    for (name, program) in hostile_filters() {
        let path = directory.path().join(format!("{name}.bpf"));
        std::fs::write(&path, program)?;
        let filter = path.to_str().context("a path")?;
        // Each verb, and the exit statuses that are no false pass: 1 where a call shows it, 3 where it is undecided.
        let verbs: [(&[&str], &[i32]); 8] = [
            (&["show", filter], &[3]),
            (&["decompile", filter], &[3]),
            (&["explain", filter, "mount"], &[3]),
            (&["lint", filter], &[1, 3]),
            (&["subset", filter, preset], &[1, 3]),
            (&["equal", filter, preset], &[1, 3]),
            (&["diff", preset, filter], &[1, 3]),
            (&["merge", "--union", preset, filter], &[3]),
        ];
        // All verbs for the one that once held up all of them.
        let asked = if name == "four" { 8 } else { 1 };
        for (verb, expected) in verbs.into_iter().take(asked) {
            let outcome = bounded(ctx, "plim-seccomp", verb)?;
            ensure!(
                expected.contains(&outcome.code),
                "{verb:?} of {name}: {} {} {}",
                outcome.code,
                outcome.stdout.chars().take(200).collect::<String>(),
                outcome.stderr
            );
        }
    }
    // What is known is there: the kinds of answers, for each call.
    let four = directory.path().join("four.bpf");
    let shown =
        bounded(ctx, "plim-seccomp", &["show", "--format", "json", four.to_str().context("a path")?])?;
    let shown: Value = serde_json::from_str(&shown.stdout).context("show")?;
    let first = &shown["arches"][0]["calls"][0];
    ensure!(
        first["undecided"]["actions"] == json!(["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"]),
        "{first}"
    );
    running(ctx, &directory)
}

/// A snapshot with such a filter installed is judged without the list: a call shows that it permits more than the preset.
fn running(ctx: &Ctx, directory: &tempfile::TempDir) -> Result<()> {
    let policy = directory.path().join("policy.yaml");
    std::fs::write(
        &policy,
        "format: \"1.0\"\nname: p\nrules:\n  - {id: A, title: t, severity: low, remedy: r, seccomp: {subset_of: \"preset:docker-default\"}}\n",
    )?;
    let target = directory.path().join("held.yaml");
    std::fs::write(&target, "services:\n  web: {image: \"x:1\", security_opt: [\"seccomp:many.json\"]}\n")?;
    // As many answers as a profile can say, for one call each.
    let rules: Vec<Value> = (1..4096u32)
        .map(|errno| {
            json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno,
                   "args": [{"index": 0, "op": "SCMP_CMP_EQ", "value": errno}]})
        })
        .collect();
    let profile =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules});
    std::fs::write(directory.path().join("many.json"), profile.to_string())?;
    let words =
        ["-p", policy.to_str().context("a path")?, "--format", "json", target.to_str().context("a path")?];
    let outcome = bounded(ctx, "plim-check", &words)?;
    ensure!([1, 3].contains(&outcome.code), "{} {}", outcome.code, outcome.stderr);
    Ok(())
}

fn names(ctx: &Ctx) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let write = |name: &str, names: &[String]| -> Result<PathBuf> {
        let path = directory.path().join(name);
        let entry = json!({"names": names, "action": "SCMP_ACT_ALLOW"});
        let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [entry]});
        std::fs::write(&path, profile.to_string())?;
        Ok(path)
    };
    let many = write("many.json", &(0..50_000).map(|n| format!("socketpair{n}")).collect::<Vec<_>>())?;
    let long = write("long.json", &["x".repeat(30 << 20)])?;
    // What is larger than a profile can be is refused, whatever its names.
    for (path, expected) in [(many, [1, 0, 2]), (long, [2, 2, 2])] {
        let path = path.to_str().context("a path")?;
        let verbs = [&["lint", path][..], &["show", path, "--as", "docker"], &["compile", path]];
        for (verb, expected) in verbs.into_iter().zip(expected) {
            let outcome = ctx.tool_within("plim-seccomp", verb, 20)?;
            ensure!(outcome.code == expected, "{verb:?}: {}, expected {expected}", outcome.code);
        }
    }
    Ok(())
}

/// Profiles that manifests name, of which none may be read: what is said of each is why.
fn files(ctx: &Ctx) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let own = directory.path().join("own");
    std::fs::create_dir(&own)?;
    let profile = r#"{"defaultAction": "SCMP_ACT_ERRNO"}"#;
    std::fs::write(own.join("strict.json"), profile)?;
    std::fs::write(directory.path().join("elsewhere.json"), profile)?;
    symlink("/proc/kmsg", own.join("link.json"))?;
    symlink("../elsewhere.json", own.join("out.json"))?;
    nix::unistd::mkfifo(&own.join("fifo.json"), nix::sys::stat::Mode::S_IRUSR)?;
    let policy = own.join("policy.yaml");
    std::fs::write(
        &policy,
        "format: \"1.0\"\nname: p\nrules:\n  - {id: A, title: t, severity: low, remedy: r, seccomp: {subset_of: \"preset:docker-default\"}}\n",
    )?;
    let judged = |name: &str, more: &[&str]| -> Result<i32> {
        let manifest = own.join("pod.yaml");
        let mut text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n".to_owned();
        writeln!(text, "  - name: c\n    image: x:1\n    securityContext:\n      seccompProfile:")?;
        writeln!(text, "        type: Localhost\n        localhostProfile: {name}")?;
        std::fs::write(&manifest, text)?;
        let path = |path: &Path| path.to_str().map(str::to_owned).context("a path");
        let (policy, manifest) = (path(&policy)?, path(&manifest)?);
        let words = [&["-p", policy.as_str()], more, &[manifest.as_str()]].concat();
        Ok(bounded(ctx, "plim-check", &words)?.code)
    };
    let top = directory.path().to_str().context("a path")?;
    ensure!(judged("strict.json", &[])? == 0, "a profile beside the manifest is read");
    ensure!(
        judged("elsewhere.json", &["--localhost-profiles", top])? == 0,
        "a profile below the directory is read"
    );
    for open in [&[][..], &["--no-self-confine"]] {
        for name in [
            "/proc/kmsg",
            "link.json",
            "out.json",
            "fifo.json",
            "../elsewhere.json",
            "/dev/zero",
            "/sys/kernel/notes",
        ] {
            let code = judged(name, open)?;
            ensure!(code == 3, "{name} {open:?}: status {code}, expected 3: not read");
        }
    }
    Ok(())
}
