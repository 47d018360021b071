//! The class exercise: the real tcpdump, with the default profile, with one that refuses `socket`, and without NET_RAW.

use anyhow::{Result, ensure};

use crate::{Ctx, Need, Suite, Test, Weakening as W};

const NEEDS: &[Need] = &[Need::Plim, Need::Program("tcpdump"), Need::Program("sh")];

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "exercise",
    tests: &[
        Test {
            name: "default_captures",
            says: "with the default profile tcpdump captures a packet on the loopback",
            needs: NEEDS,
            red_under: &[W::NoNetRaw],
            run: default_captures,
        },
        Test {
            name: "profile_refuses",
            says: "with the tcpdump profile the same command is refused its socket",
            needs: NEEDS,
            red_under: &[W::NoSeccomp],
            run: profile_refuses,
        },
        Test {
            name: "capability_refuses",
            says: "without CAP_NET_RAW the same command is refused",
            needs: NEEDS,
            red_under: &[W::NetRaw],
            run: capability_refuses,
        },
    ],
};

/// Sends a datagram a few times a second until tcpdump has seen one.
const SCRIPT: &str = "tcpdump --immediate-mode -n -c 1 -i lo udp port 9999 & pid=$!; \
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
    sleep 0.1; kill -0 $pid 2>/dev/null || break; /witness try udp 9999 >/dev/null; done; \
    kill $pid 2>/dev/null; wait $pid";

fn default_captures(ctx: &Ctx) -> Result<()> {
    let outcome = ctx.plim_host(&[], &["sh", "-c", SCRIPT])?;
    ensure!(outcome.stdout.contains("127.0.0.1.9999: UDP"), "no packet was captured: {outcome:?}");
    Ok(())
}

fn refused(ctx: &Ctx, options: &[&str]) -> Result<()> {
    let outcome = ctx.plim_host(options, &["sh", "-c", SCRIPT])?;
    ensure!(!outcome.stdout.contains("UDP"), "a packet was captured: {outcome:?}");
    let said = outcome.stderr.to_lowercase();
    ensure!(
        said.contains("not permitted") || said.contains("permission"),
        "not refused for want of a right: {outcome:?}"
    );
    ensure!(outcome.code != 0, "refused, and yet status 0");
    Ok(())
}

fn profile_refuses(ctx: &Ctx) -> Result<()> {
    refused(ctx, &["--security-opt", "seccomp=preset:tcpdump"])
}

fn capability_refuses(ctx: &Ctx) -> Result<()> {
    refused(ctx, &["--cap-drop", "NET_RAW"])
}
