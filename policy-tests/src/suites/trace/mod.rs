//! `plim trace` and `plim run --trace`: refusals made on purpose, each with its reason; and what is not refused is not told.
//!
//! Each row of [`tables`] is one call of the witness (`try`); the trace of a whole container must be exactly the rows'
//! expectations, in their order, whoever runs it.

mod docker;
mod output;
mod storm;
mod tables;
mod workloads;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tables::{Group, Row};

use crate::{Ctx, Need, Outcome, Suite, Test, Weakening as W};

/// What `plim run --trace` needs.
const NEEDS: &[Need] = &[
    Need::Plim,
    Need::Built("plim-run"),
    Need::Capability(39, "CAP_BPF"),
    Need::Kernel(5, 15),
    Need::File("/sys/kernel/btf/vmlinux"),
];
/// What `plim trace` of a container that runs needs.
const ATTACHED: &[Need] = &[
    Need::Plim,
    Need::Built("plim-run"),
    Need::Built("plim-trace"),
    Need::Capability(39, "CAP_BPF"),
    Need::Kernel(5, 15),
    Need::File("/sys/kernel/btf/vmlinux"),
    Need::Program("sh"),
];

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "trace",
    tests: &[
        Test {
            name: "filters",
            says: "what the default profile refuses is told as seccomp, with the rule; what it allows is judged by the kernel",
            needs: NEEDS,
            red_under: &[W::NoSeccomp, W::TraceForgets],
            run: |ctx| under_plim(ctx, &tables::FILTERS),
        },
        Test {
            name: "thirty_two_bit_gate",
            says: "a filter's refusal through int 0x80 is told by the 32-bit table's names",
            needs: &[
                Need::Plim,
                Need::Built("plim-run"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
                Need::Ia32,
            ],
            red_under: &[W::NoSeccomp],
            run: |ctx| under_plim(ctx, &tables::GATE),
        },
        Test {
            name: "actions",
            says: "ERRNO with any number, TRAP, KILL and TRACE are told as seccomp, LOG not at all",
            needs: NEEDS,
            red_under: &[W::NoSeccomp],
            run: |ctx| under_plim(ctx, &tables::ACTIONS),
        },
        Test {
            name: "own_filters",
            says: "filters that a process puts on itself are told with their decision, USER_NOTIF too",
            needs: NEEDS,
            red_under: &[W::TraceForgets, W::TraceBlames],
            run: |ctx| under_plim(ctx, &tables::OWN_FILTERS),
        },
        Test {
            name: "capabilities",
            says: "without a filter the missing capability is named: every one that refuses at all",
            needs: NEEDS,
            red_under: &[W::SysAdmin],
            run: |ctx| {
                under_plim(ctx, &tables::CAPABILITIES)?;
                under_plim(ctx, &tables::OWNERS)
            },
        },
        Test {
            name: "files",
            says: "a user is told of the very file or directory whose mode, list, mount or device refuses",
            needs: NEEDS,
            red_under: &[W::AsRoot, W::TraceBlames],
            run: |ctx| {
                under_plim(ctx, &tables::USER)?;
                under_plim(ctx, &tables::FILES)?;
                under_plim(ctx, &tables::READ_ONLY)
            },
        },
        Test {
            name: "limits",
            says: "limits of the process, the user and the cgroup are told as limits, each by its name",
            needs: &[
                Need::Plim,
                Need::Built("plim-run"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
                Need::Controller("pids"),
            ],
            red_under: &[W::NoPids],
            run: |ctx| tables::LIMITS.iter().try_for_each(|group| under_plim(ctx, group)),
        },
        Test {
            name: "namespaces",
            says: "what is held in a nested user namespace and asked for outside of it is a matter of namespaces",
            needs: &[
                Need::Plim,
                Need::Built("plim-run"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
                Need::UserNamespaces,
            ],
            red_under: &[W::TraceBlames],
            run: |ctx| under_plim(ctx, &tables::NESTED),
        },
        Test {
            name: "no_new_privs",
            says: "where no_new_privs keeps a set-user-ID program from its capabilities, that is told",
            needs: NEEDS,
            red_under: &[W::TraceForgets, W::TraceBlames],
            run: |ctx| {
                under_plim(ctx, &tables::NO_NEW_PRIVS)?;
                under_plim(ctx, &tables::NEW_PRIVS)
            },
        },
        Test {
            name: "docker",
            says: "the same table in Docker's own containers gives the same reasons",
            needs: &[
                Need::Plim,
                Need::Built("plim-trace"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
                Need::Program("dockerd"),
                Need::Program("docker"),
                Need::Ia32,
                Need::UserNamespaces,
            ],
            red_under: &[W::InspectElsewhere, W::TraceForgets],
            run: docker::table,
        },
        Test {
            name: "attach",
            says: "a tracer that comes 25 times in the middle of a storm of calls and goes again tells the refused ones alone",
            needs: ATTACHED,
            red_under: &[W::NoSeccomp],
            run: storm::attach,
        },
        Test {
            name: "workloads",
            says: "ordinary programs are traced and nothing is told that was not refused",
            needs: &[
                Need::Plim,
                Need::Built("plim-run"),
                Need::Built("plim-trace"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
                Need::Program("sh"),
                Need::Program("apt-get"),
                Need::Program("gcc"),
                Need::Program("python3"),
            ],
            red_under: &[W::TraceBlames],
            run: workloads::short,
        },
        Test {
            name: "host_pid",
            says: "a container in the host's pid namespace is told by its cgroup, and the host's own processes are not told",
            needs: ATTACHED,
            red_under: &[W::NoSeccomp],
            run: output::host_pid,
        },
        Test {
            name: "exercise",
            says: "tcpdump under the tcpdump profile is seccomp and socket(AF_PACKET, SOCK_RAW, …), without NET_RAW it is CAP_NET_RAW",
            needs: &[
                Need::Plim,
                Need::Built("plim-run"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
                Need::Program("tcpdump"),
            ],
            red_under: &[W::NoSeccomp, W::NetRaw],
            run: output::exercise,
        },
        Test {
            name: "output",
            says: "lines, JSON, JSON lines, summaries, filters and durations are what they say",
            needs: ATTACHED,
            red_under: &[W::NoSeccomp],
            run: output::forms,
        },
        Test {
            name: "detaches",
            says: "whatever ends the tracer (signals, SIGKILL, a closed pipe, a full disk), no program of its stays in the kernel",
            needs: ATTACHED,
            red_under: &[W::NoSeccomp],
            run: output::detaches,
        },
        Test {
            name: "privileges",
            says: "without CAP_BPF or CAP_PERFMON the exact missing one is named, and on a kernel that cannot be traced what it lacks",
            needs: &[Need::Plim, Need::Built("plim-trace")],
            red_under: &[W::SilentFailure],
            run: output::privileges,
        },
        Test {
            name: "flood",
            says: "refusals as fast as they can be made: each is told or counted as missed, in bounded memory, and the tracer ends at once",
            needs: &[
                Need::Plim,
                Need::Built("plim-run"),
                Need::Built("plim-trace"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux"),
            ],
            red_under: &[W::NoSeccomp],
            run: storm::flooded,
        },
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
    compare(ctx, &rows, &outcome, denials).with_context(|| group.name)
}

/// Every denial that `plim run --trace` tells of one container.
fn trace(ctx: &Ctx, group: &Group, words: &[&str]) -> Result<(Outcome, Vec<Value>)> {
    let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
    let file = dir.path().join("trace").display().to_string();
    let profile = profile(group, dir.path())?;
    let mut options = vec!["--trace", "--trace-format", "jsonl", "--trace-output", &file];
    options.extend(group.options);
    if let Some(profile) = &profile {
        options.extend(["--security-opt", profile]);
    }
    let outcome = ctx.plim(&options, words)?;
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
