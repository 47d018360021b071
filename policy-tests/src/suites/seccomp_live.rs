//! Seccomp: what the installed filter decides, asked of the kernel call by call, on both x86 tables.
//!
//! `probe` executes nothing: see the witness' `install_probe`. Verdicts are `reached` (the filter lets the call through),
//! an errno, or a signal. So the tables hold what must be *denied* as well as what must be let through.

use anyhow::{Context, Result, ensure};
use plim_model::Capability;
use plim_seccomp::arch::X32_SYSCALL_BIT;
use plim_seccomp::{Action, Arch, dialect, presets, resolve};
use serde_json::{Value, json};

use super::text;
use crate::spec::DEFAULT_CAPABILITIES;
use crate::{Ctx, Need, Outcome, Suite, Test, Weakening as W, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "seccomp",
    tests: &[
        Test {
            name: "installed",
            says: "the container runs under exactly one filter, without no_new_privs",
            needs: &[],
            red_under: &[W::NoSeccomp],
            run: installed,
        },
        Test {
            name: "actions",
            says: "ERRNO with its number, TRAP and KILL_PROCESS do as the profile says",
            needs: &[Need::Ia32],
            red_under: &[W::NoSeccomp],
            run: actions,
        },
        Test {
            name: "conditions",
            says: "argument conditions hold at the boundary, one below, one above, and in the high 32 bits",
            needs: &[],
            red_under: &[W::NoSeccomp],
            run: conditions,
        },
        Test {
            name: "thirty_two_bit_gate",
            says: "int 0x80 meets the same rules by the 32-bit table's numbers",
            needs: &[Need::Ia32],
            red_under: &[W::NoSeccomp, W::NativeOnly],
            run: thirty_two_bit_gate,
        },
        Test {
            name: "docker_default",
            says: "the default profile refuses and lets through what Docker's does",
            needs: &[Need::Built("plim-run"), Need::Ia32],
            red_under: &[W::NoSeccomp],
            run: docker_default,
        },
        Test {
            name: "every_number",
            says: "the kernel answers every number of all three tables as the profile's rules say",
            needs: &[Need::Plim, Need::Ia32],
            red_under: &[W::NoSeccomp],
            run: every_number,
        },
        Test {
            name: "capabilities_open_calls",
            says: "calls that the default profile ties to a capability follow --cap-add and --cap-drop",
            needs: &[Need::Plim],
            red_under: &[W::NoSeccomp],
            run: capabilities_open_calls,
        },
        Test {
            name: "tcpdump_profile",
            says: "the tcpdump profile refuses socket on both tables; socketcall, which it does not name, stays",
            needs: &[Need::Built("plim-run"), Need::Ia32],
            red_under: &[W::NoSeccomp],
            run: tcpdump_profile,
        },
        Test {
            name: "unconfined",
            says: "seccomp=unconfined installs no filter, and only then",
            needs: &[Need::Plim],
            red_under: &[W::NoSeccomp],
            run: unconfined,
        },
    ],
};

/// The filter of every hand-made config: small, and without the code under test.
pub fn hand_made() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["unshare", "setns", "keyctl", "add_key", "bpf", "perf_event_open", "userfaultfd"],
             "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
            {"names": ["umount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 154},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
             "args": [{"index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000, "op": "SCMP_CMP_MASKED_EQ"}]}
        ]
    })
}

/// The sixth argument of every call that the witness asks about.
const WITNESS_MARK: u64 = 0x5EC0_0D1E;

/// Calls and their expected verdicts.
type Table = &'static [(&'static str, &'static str)];

/// A filter whose every rule answers with an errno of its own.
fn marked() -> Value {
    let rule = |name: &str, errno: u32, args: Value| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": args});
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            rule("mount", 150, json!([])),
            rule("personality", 151, json!([{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}])),
            rule("alarm", 152, json!([{"index": 0, "value": 100, "op": "SCMP_CMP_GE"}])),
            rule("socketcall", 153, json!([])),
            rule("umount", 154, json!([])),
            rule("nice", 155, json!([{"index": 0, "value": 5, "op": "SCMP_CMP_LT"}])),
            rule("getpriority", 156, json!([{"index": 0, "value": 10, "op": "SCMP_CMP_LT"}])),
            rule("kill", 157, json!([
                {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 0, "op": "SCMP_CMP_NE"}])),
            rule("setpriority", 158, json!([
                {"index": 1, "value": 0xF0, "valueTwo": 0x30, "op": "SCMP_CMP_MASKED_EQ"}])),
            rule("getpgid", 159, json!([{"index": 0, "value": 7, "op": "SCMP_CMP_GT"}])),
            rule("getsid", 160, json!([{"index": 0, "value": 7, "op": "SCMP_CMP_LE"}])),
            {"names": ["acct"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["swapon"], "action": "SCMP_ACT_TRAP"}
        ]
    })
}

fn check(outcome: &Outcome, table: &[(&str, &str)]) -> Result<()> {
    let answer = outcome.json()?;
    for (call, want) in table {
        let got = answer[*call].as_str().with_context(|| format!("no verdict for {call} in {answer}"))?;
        ensure!(want.split('|').any(|one| one == got), "{call}: got {got}, expected {want}");
    }
    Ok(())
}

fn probe_words<'a>(table: &[(&'a str, &str)]) -> Vec<&'a str> {
    std::iter::once("probe").chain(table.iter().map(|(call, _)| *call)).collect()
}

fn probe(ctx: &Ctx, profile: Value, table: &[(&str, &str)]) -> Result<()> {
    let case = ctx.case(&probe_words(table))?.with("/linux/seccomp", profile);
    check(&ctx.run(case)?, table)
}

fn installed(ctx: &Ctx) -> Result<()> {
    let report = ctx.report(ctx.case(&["report"])?)?;
    same("mode", text(&report, "/seccomp/mode")?, "2")?;
    if let Ok(filters) = text(&report, "/seccomp/filters") {
        same("filters", filters, "1")?;
    }
    same("no_new_privs", text(&report, "/no_new_privs")?, "0")
}

fn actions(ctx: &Ctx) -> Result<()> {
    let table = [
        ("native:165", "errno:150"),
        ("native:163", "SIGSYS"),
        ("native:167", "SIGSYS"),
        ("native:39", "reached"),
        ("i386:51", "SIGSYS"),
        ("i386:87", "SIGSYS"),
        ("i386:20", "reached"),
    ];
    probe(ctx, marked(), &table)
}

fn conditions(ctx: &Ctx) -> Result<()> {
    let table = [
        ("native:135:7", "reached"),
        ("native:135:8", "errno:151"),
        ("native:135:9", "reached"),
        ("native:135:0x100000008", "reached"),
        ("native:37:99", "reached"),
        ("native:37:100", "errno:152"),
        ("native:37:101", "errno:152"),
        ("native:37:0x100000000", "errno:152"),
        ("native:140:9", "errno:156"),
        ("native:140:10", "reached"),
        ("native:140:0x100000001", "reached"),
        ("native:62:5,1", "errno:157"),
        ("native:62:5,0", "reached"),
        ("native:62:4,1", "reached"),
        ("native:62:5,0x100000000", "errno:157"),
        ("native:141:0,0x30", "errno:158"),
        ("native:141:0,0x3f", "errno:158"),
        ("native:141:0,0x20", "reached"),
        ("native:141:0,0x100000030", "errno:158"),
        ("native:121:7", "reached"),
        ("native:121:8", "errno:159"),
        ("native:121:0x100000000", "errno:159"),
        ("native:124:6", "errno:160"),
        ("native:124:7", "errno:160"),
        ("native:124:8", "reached"),
        ("native:124:0x100000000", "reached"),
    ];
    probe(ctx, marked(), &table)
}

fn thirty_two_bit_gate(ctx: &Ctx) -> Result<()> {
    let table = [
        ("i386:21", "errno:150"),
        ("i386:22", "errno:154"),
        ("i386:102:1", "errno:153"),
        ("i386:136:8", "errno:151"),
        ("i386:136:9", "reached"),
        ("i386:34:4", "errno:155"),
        ("i386:34:5", "reached"),
        ("i386:37:5,1", "errno:157"),
        ("i386:165", "reached"),
        ("native:22", "reached"),
    ];
    // The last two: the other table's numbers for mount and umount mean something else here.
    probe(ctx, marked(), &table)?;
    // The base profile is the one that the weakening edits.
    let case = ctx.case(&probe_words(&[("i386:22", "")]))?;
    check(&ctx.run(case)?, &[("i386:22", "errno:154")])
}

/// The filter of `plim run`'s defaults with these options, as `--print-spec` tells it, put in a hand-made config: so
/// the same profile is judged under every launcher.
fn printed(ctx: &Ctx, options: &[&str], table: &[(&str, &str)]) -> Result<Outcome> {
    let words = probe_words(table);
    let case = ctx.case(&words)?;
    let rootfs = case.rootfs.display().to_string();
    let mut args = vec!["--print-spec", "--rootfs", &rootfs];
    args.extend(options);
    args.extend(["--", "/bin/witness"]);
    let printed = ctx.tool("plim-run", &args)?;
    let spec: Value =
        serde_json::from_str(&printed.stdout).with_context(|| format!("--print-spec: {printed:?}"))?;
    ctx.run(case.with("/linux/seccomp", spec["linux"]["seccomp"].clone()))
}

const DOCKER: &[(&str, &str)] = &[
    // What every program needs.
    ("native:0", "reached"),
    ("native:59", "reached"),
    ("native:56:0x11", "reached"),
    ("native:9", "reached"),
    ("native:41:1", "reached"),
    ("native:41:2", "reached"),
    ("native:41:17", "reached"),
    ("native:83", "reached"),
    ("native:62", "reached"),
    ("native:105", "reached"),
    ("native:133", "reached"),
    ("native:135:0", "reached"),
    ("native:135:0x8", "reached"),
    ("native:135:0x20000", "reached"),
    ("native:135:0x20008", "reached"),
    ("native:135:0xffffffff", "reached"),
    // CAP_SYS_CHROOT is one of the fourteen; ptrace is open since Linux 4.8.
    ("native:161", "reached"),
    ("native:101", "reached"),
    // What it is there to refuse.
    ("native:41:40", "EPERM"),
    ("native:56:0x10000000", "EPERM"),
    ("native:56:0x00020000", "EPERM"),
    ("native:135:1", "EPERM"),
    ("native:135:0x40000", "EPERM"),
    ("native:153", "EPERM"),
    ("native:155", "EPERM"),
    ("native:163", "EPERM"),
    ("native:164", "EPERM"),
    ("native:165", "EPERM"),
    ("native:166", "EPERM"),
    ("native:167", "EPERM"),
    ("native:168", "EPERM"),
    ("native:169", "EPERM"),
    ("native:170", "EPERM"),
    ("native:172", "EPERM"),
    ("native:173", "EPERM"),
    ("native:175", "EPERM"),
    ("native:176", "EPERM"),
    ("native:179", "EPERM"),
    ("native:227", "EPERM"),
    ("native:237", "EPERM"),
    ("native:246", "EPERM"),
    ("native:248", "EPERM"),
    ("native:249", "EPERM"),
    ("native:250", "EPERM"),
    ("native:272", "EPERM"),
    ("native:279", "EPERM"),
    ("native:298", "EPERM"),
    ("native:300", "EPERM"),
    ("native:304", "EPERM"),
    ("native:308", "EPERM"),
    ("native:312", "EPERM"),
    ("native:313", "EPERM"),
    ("native:320", "EPERM"),
    ("native:321", "EPERM"),
    ("native:323", "EPERM"),
    ("native:428", "EPERM"),
    ("native:429", "EPERM"),
    ("native:430", "EPERM"),
    ("native:432", "EPERM"),
    ("native:442", "EPERM"),
    // The other table.
    ("i386:20", "reached"),
    ("i386:102:1", "reached"),
    ("i386:359:2", "reached"),
    ("i386:21", "EPERM"),
    ("i386:22", "EPERM"),
    ("i386:52", "EPERM"),
    ("i386:120:0x10000000", "EPERM"),
    ("i386:136:1", "EPERM"),
    ("i386:288", "EPERM"),
    ("i386:310", "EPERM"),
    ("i386:346", "EPERM"),
    ("i386:357", "EPERM"),
];

fn docker_default(ctx: &Ctx) -> Result<()> {
    check(&printed(ctx, &[], DOCKER)?, DOCKER)?;
    if ctx.engine == crate::launcher::Engine::Plim {
        // And as plim run installs it, without the detour over OCI; clone3 answers ENOSYS so that libc falls back.
        check(&ctx.plim(&[], &probe_words(DOCKER))?, DOCKER)?;
        super::check_verdicts(&ctx.plim(&[], &["try", "syscall", "435", "0", "0"])?, &[("", "ENOSYS")])?;
    }
    Ok(())
}

/// How the witness says what the kernel did by this action. The probe's own answer is ENOSYS, so a rule that gives ENOSYS
/// (clone3) looks like a call that was let through; `docker_default` tells those apart.
fn shown(action: Action) -> String {
    match action {
        Action::Errno(errno) if errno.name() == Some("ENOSYS") => "reached".to_owned(),
        Action::Errno(errno) => {
            errno.name().map_or_else(|| format!("errno:{}", errno.number()), str::to_owned)
        }
        Action::KillProcess | Action::KillThread | Action::Trap => "SIGSYS".to_owned(),
        Action::Notify | Action::Trace(_) | Action::Log | Action::Allow => "reached".to_owned(),
    }
}

fn every_number(ctx: &Ctx) -> Result<()> {
    // Above the highest number of any table, so that what no table knows is asked too.
    const LAST: u32 = 600;
    // uretprobe(2) and uprobe(2) are seen by no filter (Linux 6.11 and 6.18, kernel/seccomp.c __seccomp_filter).
    const UNFILTERED: [u32; 2] = [335, 336];
    let kernel =
        resolve::KernelVersion::from_release(&crate::needs::kernel().1).context("the kernel's release")?;
    let caps = DEFAULT_CAPABILITIES.iter().filter_map(|name| Capability::from_name(name)).collect();
    let facts = resolve::Facts::new(Arch::X86_64, caps, kernel);
    for preset in ["docker-default", "tcpdump"] {
        let written = dialect::parse(presets::get(preset).context("a preset")?.as_bytes())?;
        let rules = resolve::resolve(&written, &facts)?.context("the preset has no rules")?;
        let option = format!("seccomp=preset:{preset}");
        for (gate, token, first) in [
            ("native", Arch::X86_64.audit_token(), 0),
            ("native", Arch::X86_64.audit_token(), X32_SYSCALL_BIT),
            ("i386", Arch::X86.audit_token(), 0),
        ] {
            let range = [first.to_string(), (first + LAST).to_string()];
            let words = ["sweep", gate, &range[0], &range[1]];
            let answer = ctx.plim(&["--security-opt", &option], &words)?.json()?;
            for nr in first..=first + LAST {
                if gate == "native" && UNFILTERED.contains(&nr) {
                    continue;
                }
                let call = resolve::Call { arch: token, nr, ip: 0, args: [0, 0, 0, 0, 0, WITNESS_MARK] };
                let got =
                    answer[nr.to_string()].as_str().with_context(|| format!("no verdict on {gate} {nr}"))?;
                ensure!(
                    got == shown(rules.decide(&call)),
                    "{preset}, {gate} {nr}: got {got}, the rules say {:?}",
                    rules.decide(&call)
                );
            }
        }
    }
    Ok(())
}

fn capabilities_open_calls(ctx: &Ctx) -> Result<()> {
    let cases: [(&[&str], Table); 4] = [
        (
            &["--cap-add", "SYS_ADMIN"],
            &[
                ("native:165", "reached"),
                ("native:272", "reached"),
                ("native:56:0x10000000", "reached"),
                ("native:175", "EPERM"),
            ],
        ),
        (&["--cap-add", "SYS_TIME"], &[("native:227", "reached"), ("native:165", "EPERM")]),
        (&["--cap-add", "SYS_MODULE"], &[("native:175", "reached"), ("native:313", "reached")]),
        (&["--cap-drop", "SYS_CHROOT"], &[("native:161", "EPERM")]),
    ];
    for (options, table) in cases {
        check(&ctx.plim(options, &probe_words(table))?, table).with_context(|| format!("{options:?}"))?;
    }
    Ok(())
}

fn tcpdump_profile(ctx: &Ctx) -> Result<()> {
    let table = [
        ("native:41:1", "EPERM"),
        ("native:41:2", "EPERM"),
        ("native:41:17", "EPERM"),
        ("i386:359:17", "EPERM"),
        ("i386:102:1", "reached"),
        ("native:0", "reached"),
        ("native:53", "reached"),
        ("native:165", "EPERM"),
    ];
    let options = ["--security-opt", "seccomp=preset:tcpdump"];
    check(&printed(ctx, &options, &table)?, &table)?;
    if ctx.engine == crate::launcher::Engine::Plim {
        check(&ctx.plim(&options, &probe_words(&table))?, &table)?;
    }
    Ok(())
}

fn unconfined(ctx: &Ctx) -> Result<()> {
    let report = ctx.plim(&["--security-opt", "seccomp=unconfined"], &["report"])?.json()?;
    same("mode", text(&report, "/seccomp/mode")?, "0")?;
    let report = ctx.plim(&[], &["report"])?.json()?;
    same("mode by default", text(&report, "/seccomp/mode")?, "2")
}
