//! `plim trace` and `plim run --trace`: refusals made on purpose, each with its reason; and what is not refused is not told.
//!
//! Each row of [`tables`] is one call of the witness (`try`); the trace of a whole container must be exactly the rows'
//! expectations, in their order, whoever runs it.

mod docker;
mod light;
pub(crate) mod modules;
mod output;
mod storm;
mod tables;
mod workloads;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tables::{Group, Row};

use crate::{Ctx, Need, Outcome, Suite, Test, Weakening as W};

/// What every trace needs, and more.
macro_rules! traced {
    ($($more:expr),* $(,)?) => {
        &[
            Need::Plim,
            Need::Capability(39, "CAP_BPF"),
            Need::Kernel(5, 15),
            Need::File("/sys/kernel/btf/vmlinux"),
            $($more),*
        ]
    };
}

/// What `plim run --trace` needs.
const LAUNCHED: &[Need] = traced!(Need::Built("plim-run"));
/// What `plim trace` of a container that runs needs.
const ATTACHED: &[Need] = traced!(Need::Built("plim-run"), Need::Built("plim-trace"), Need::Program("sh"));

/// What the ordinary programs of [`workloads`] need.
macro_rules! working {
    ($($more:expr),*) => {
        traced!(
            Need::Built("plim-run"),
            Need::Program("sh"),
            Need::Program("apt-get"),
            Need::Program("gcc"),
            Need::Program("python3"),
            $($more),*
        )
    };
}

const fn test(
    name: &'static str,
    says: &'static str,
    needs: &'static [Need],
    red_under: &'static [W],
    run: fn(&Ctx) -> Result<()>,
) -> Test {
    Test { name, says, needs, red_under, run }
}

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "trace",
    tests: &[
        test(
            "filters",
            "what the default profile refuses is told as seccomp, with the rule; what it allows is judged by the kernel",
            LAUNCHED,
            &[W::NoSeccomp, W::TraceForgets],
            |ctx| under_plim(ctx, &tables::FILTERS),
        ),
        test(
            "thirty_two_bit_gate",
            "a filter's refusal through int 0x80 is told by the 32-bit table's names",
            traced!(Need::Built("plim-run"), Need::Ia32),
            &[W::NoSeccomp],
            |ctx| under_plim(ctx, &tables::GATE),
        ),
        test(
            "actions",
            "ERRNO with any number, TRAP, KILL and TRACE are told as seccomp, LOG not at all",
            LAUNCHED,
            &[W::NoSeccomp],
            |ctx| under_plim(ctx, &tables::ACTIONS),
        ),
        test(
            "own_filters",
            "filters that a process puts on itself are told with their decision, USER_NOTIF too",
            LAUNCHED,
            &[W::TraceForgets, W::TraceBlames],
            |ctx| under_plim(ctx, &tables::OWN_FILTERS),
        ),
        test(
            "capabilities",
            "without a filter the missing capability is named: every one that refuses at all",
            LAUNCHED,
            &[W::SysAdmin],
            |ctx| {
                under_plim(ctx, &tables::CAPABILITIES)?;
                under_plim(ctx, &tables::OWNERS)
            },
        ),
        test(
            "files",
            "a user is told of the very file or directory whose mode, list, mount or device refuses",
            LAUNCHED,
            &[W::AsRoot, W::TraceBlames],
            |ctx| {
                under_plim(ctx, &tables::USER)?;
                under_plim(ctx, &tables::FILES)?;
                under_plim(ctx, &tables::READ_ONLY)
            },
        ),
        test(
            "limits",
            "limits of the process, the user and the cgroup are told as limits, each by its name",
            traced!(Need::Built("plim-run"), Need::Controller("pids")),
            &[W::NoPids],
            |ctx| tables::LIMITS.iter().try_for_each(|group| under_plim(ctx, group)),
        ),
        test(
            "namespaces",
            "what is held in a nested user namespace and asked for outside of it is a matter of namespaces",
            traced!(Need::Built("plim-run"), Need::UserNamespaces),
            &[W::TraceBlames],
            |ctx| under_plim(ctx, &tables::NESTED),
        ),
        test(
            "no_new_privs",
            "where no_new_privs keeps a set-user-ID program from its capabilities, that is told",
            LAUNCHED,
            &[W::TraceForgets, W::TraceBlames],
            |ctx| {
                under_plim(ctx, &tables::NO_NEW_PRIVS)?;
                under_plim(ctx, &tables::NEW_PRIVS)
            },
        ),
        test(
            "modules",
            "what Landlock refuses to open is told as lsm where a program may stand behind it; elsewhere it is unknown, and Landlock is named",
            traced!(Need::Built("plim-run"), Need::Landlock),
            &[W::TraceForgets, W::TraceBlames],
            modules::landlock,
        ),
        test(
            "apparmor",
            "what an AppArmor profile refuses (files, also by quiet rules, programs, capabilities, sockets, mounts) is told as lsm, with the profile",
            traced!(Need::Built("plim-run"), Need::AppArmor, Need::Program("apparmor_parser")),
            &[W::TraceForgets, W::TraceBlames],
            modules::apparmor,
        ),
        test(
            "selinux",
            "what an SELinux policy refuses, files and capabilities, is told as lsm, with the context",
            traced!(Need::Built("plim-run"), Need::SelinuxWithoutPolicy, Need::Program("secilc")),
            &[W::TraceForgets, W::TraceBlames],
            modules::selinux,
        ),
        test(
            "docker",
            "the same table in Docker's own containers gives the same reasons",
            traced!(
                Need::Built("plim-trace"),
                Need::Program("dockerd"),
                Need::Program("docker"),
                Need::Ia32,
                Need::UserNamespaces
            ),
            &[W::InspectElsewhere, W::TraceForgets],
            docker::table,
        ),
        test(
            "light",
            "--light tells every refusal of filters (ERRNO, TRAP, KILL, TRACE, USER_NOTIF) with its rule, and no other one",
            traced!(
                Need::Built("plim-run"),
                Need::Built("plim-trace"),
                Need::Program("sh"),
                Need::LightTrace
            ),
            &[W::NoSeccomp, W::TraceForgets],
            light::tells,
        ),
        test(
            "attach",
            "a tracer that comes 25 times in the middle of a storm of calls and goes again tells the refused ones alone",
            ATTACHED,
            &[W::NoSeccomp],
            storm::attach,
        ),
        test(
            "shared_processors",
            "of processes that interrupt each other, three on each processor, every refusal is told",
            traced!(Need::Built("plim-run"), Need::Program("sh")),
            &[W::TraceForgets],
            storm::shared_processors,
        ),
        test(
            "workloads",
            "ordinary programs are traced and nothing is told that was not refused (PLIM_WORK_SECONDS: for how long, at least)",
            working!(),
            &[W::TraceBlames],
            workloads::traced,
        ),
        test(
            "workloads_beside_strace",
            "what is told of ordinary programs is what strace sees refused of the same, no call more and none less",
            working!(Need::Program("strace")),
            &[W::NoSeccomp],
            workloads::beside_strace,
        ),
        test(
            "host_pid",
            "a container in the host's pid namespace is told by its cgroup, and the host's own processes are not told",
            ATTACHED,
            &[W::NoSeccomp],
            output::host_pid,
        ),
        test(
            "exercise",
            "tcpdump under the tcpdump profile is seccomp and socket(AF_PACKET, SOCK_RAW, …), without NET_RAW it is CAP_NET_RAW",
            traced!(Need::Built("plim-run"), Need::Program("tcpdump")),
            &[W::NoSeccomp, W::NetRaw],
            output::exercise,
        ),
        test(
            "output",
            "lines, JSON, JSON lines, summaries, filters and durations are what they say",
            ATTACHED,
            &[W::NoSeccomp],
            output::forms,
        ),
        test(
            "detaches",
            "whatever ends the tracer (signals, SIGKILL, a closed pipe, a full disk), no program of its stays in the kernel",
            ATTACHED,
            &[W::NoSeccomp],
            output::detaches,
        ),
        test(
            "privileges",
            "without CAP_BPF or CAP_PERFMON the exact missing one is named, and on a kernel that cannot be traced what it lacks",
            &[Need::Plim, Need::Built("plim-trace")],
            &[W::SilentFailure],
            output::privileges,
        ),
        test(
            "flood",
            "refusals as fast as they can be made: each is told or counted as missed, in bounded memory, and the tracer ends at once",
            traced!(Need::Built("plim-run"), Need::Built("plim-trace")),
            &[W::NoSeccomp],
            storm::flooded,
        ),
    ],
};

/// The words of a `try` of rows.
fn words(rows: &[Row]) -> Vec<&'static str> {
    let mut words = vec!["try"];
    for (index, (call, _)) in rows.iter().enumerate() {
        if index > 0 {
            words.push("--");
        }
        words.extend(call.trim_start_matches('?').split(' '));
    }
    words
}

/// What a kernel answers that does not make the call at all.
const NOT_MADE: [&str; 6] = ["ENOSYS", "ENOTTY", "EOPNOTSUPP", "EPROTONOSUPPORT", "ENODEV", "EINVAL"];

/// As a kind: refused, and for a reason that the tracer was not asked for.
const UNTOLD: &str = "untold";

/// Compares the whole trace of a container with its rows.
fn compare(ctx: &Ctx, rows: &[Row], outcome: &Outcome, mut denials: Vec<Value>) -> Result<()> {
    if let Some(weakening) = ctx.weakening {
        weakening.denials(&mut denials);
    }
    let verdicts = outcome.verdicts()?;
    crate::same("number of verdicts", verdicts.len(), rows.len())?;
    let mut told = denials.iter();
    for ((call, expected), (_, verdict)) in rows.iter().zip(&verdicts) {
        let Some([syscall, errno, kind, words]) = expected else {
            ensure!(verdict == "ok" || verdict == "ENOENT", "{call}: expected to be made, got {verdict}");
            continue;
        };
        if call.starts_with('?') && verdict != errno && NOT_MADE.contains(&verdict.as_str()) {
            continue;
        }
        let seen = match verdict.as_str() {
            "SIGSYS" => "-",
            other => other.trim_start_matches("errno:"),
        };
        crate::same(call, seen, *errno)?;
        if *kind == UNTOLD {
            continue;
        }
        let denial = told
            .next()
            .with_context(|| format!("{call}: not told; said: {}; the trace: {denials:?}", outcome.stderr))?;
        let text = |pointer: &str| denial.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
        let got = [text("/syscall"), text("/errno"), text("/cause/kind")];
        let about =
            format!("{} {} {}", text("/cause/rule"), text("/cause/capability"), text("/cause/detail"));
        let right = got == [*syscall, *errno, *kind]
            && words.split(' ').all(|word| word.split('|').any(|one| about.contains(one)));
        ensure!(right, "{call}: expected {expected:?}, got {got:?}: {denial}");
        shape(denial)?;
    }
    let rest: Vec<&Value> = told.collect();
    ensure!(rest.is_empty(), "told, and not refused: {rest:?}");
    Ok(())
}

/// A denial is as published: these fields and no others, and no time that was not asked for.
fn shape(denial: &Value) -> Result<()> {
    let keys: Vec<&str> = denial.as_object().context("no object")?.keys().map(String::as_str).collect();
    let expected = [
        "container",
        "engine",
        "pid",
        "tid",
        "comm",
        "arch",
        "syscall",
        "number",
        "args",
        "decoded",
        "errno",
        "cause",
        "remedy",
    ];
    crate::same("fields", keys, expected.to_vec())?;
    let args = denial["args"].as_array().context("args")?;
    let hexadecimal = |arg: &Value| arg.as_str().is_some_and(|arg| arg.starts_with("0x"));
    ensure!(args.len() == 6 && args.iter().all(hexadecimal), "args: {denial}");
    let known = ["kind", "capability", "rule", "detail"];
    let cause = denial["cause"].as_object().context("cause")?;
    ensure!(cause.keys().all(|key| known.contains(&key.as_str())), "cause: {denial}");
    Ok(())
}

/// Runs the rows of a group in one container of `plim run --trace`.
fn under_plim(ctx: &Ctx, group: &Group) -> Result<()> {
    let rows = [group.rows, group.newer].concat();
    let (outcome, denials) = trace(ctx, group, &words(&rows))?;
    compare(ctx, &rows, &outcome, denials)
        .with_context(|| format!("{}; it said: {}", group.name, outcome.stderr))
}

/// Every denial that `plim run --trace` tells of one container.
fn trace(ctx: &Ctx, group: &Group, words: &[&str]) -> Result<(Outcome, Vec<Value>)> {
    let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
    let profile = profile(group, dir.path())?;
    traced(|options| {
        let own = profile.iter().flat_map(|profile| ["--security-opt", profile]);
        // The default AppArmor profile, where there is one, refuses some of it first: EACCES for a mount.
        let named = group.options.iter().any(|option| option.starts_with("apparmor="));
        let unconfined = if named { &[][..] } else { &["--security-opt", "apparmor=unconfined"] };
        let given = options.iter().chain(unconfined).chain(group.options).copied();
        let options: Vec<&str> = given.chain(own).collect();
        ctx.plim(&options, words)
    })
}

/// What a run with these options of `plim run` tells.
fn traced(run: impl FnOnce(&[&str]) -> Result<Outcome>) -> Result<(Outcome, Vec<Value>)> {
    let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
    let file = dir.path().join("trace").display().to_string();
    let outcome = run(&["--trace", "--trace-format", "jsonl", "--trace-output", &file])?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("no trace: {outcome:?}"))?;
    Ok((outcome, parse(&text)?))
}

/// Writes a group's own profile, and gives the option that names it.
fn profile(group: &Group, dir: &std::path::Path) -> Result<Option<String>> {
    let Some(profile) = group.profile else { return Ok(None) };
    let file = dir.join("profile.json");
    std::fs::write(&file, profile().to_string())?;
    Ok(Some(format!("seccomp={}", file.display())))
}

/// The lines of `--format jsonl`.
fn parse(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// A text in a denial; `-` when there is none.
fn text<'a>(denial: &'a Value, pointer: &str) -> &'a str {
    denial.pointer(pointer).and_then(Value::as_str).unwrap_or("-")
}
