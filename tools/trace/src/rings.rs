//! Where operations of io_uring can be counted (`bpf/rings.h`).

use aya::Ebpf;

use crate::programs::attach_at;

/// The program that counts them.
pub(crate) const PROGRAM: &str = "rings";

/// Whether the name is that of the program, at either kind of probe.
pub(crate) fn is_program(name: &str) -> bool {
    name.strip_suffix("_perf").unwrap_or(name) == PROGRAM
}

/// Attaches the program to where requests are submitted, and to where an entry fails before it is one (Linux 5.19, which needs the
/// former as well). Returns whether every operation is counted, which it also is where the kernel has no io_uring.
pub(crate) fn attach(ebpf: &mut Ebpf, name: &str) -> bool {
    // Renamed in Linux 6.4 (commit 2ad57931db64).
    let submitted = ["io_uring_submit_req", "io_uring_submit_sqe"];
    if !submitted.into_iter().any(|place| attach_at(ebpf, name, place).is_ok()) {
        return !kernel_has_rings();
    }
    // An entry that failed there was invalid before this tracepoint was, and did nothing.
    let _ = attach_at(ebpf, name, "io_uring_req_failed");
    true
}

/// Whether the kernel's types have a ring; so, too, when that cannot be known.
fn kernel_has_rings() -> bool {
    const NAME: &[u8] = b"\0io_ring_ctx\0";
    std::fs::read("/sys/kernel/btf/vmlinux")
        .map_or(true, |types| types.windows(NAME.len()).any(|window| window == NAME))
}
