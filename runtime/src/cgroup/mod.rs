//! Control groups of one container: where they go, what is written into them, who is in them, and how they end.
//!
//! Three layouts are told apart (v1, hybrid, v2) from text alone by [`Layout::detect`]. [`plan`] turns limits into an
//! ordered list of steps without touching the machine, and refuses whatever this host cannot enforce: **a limit is
//! never ignored**. [`Plan::create`] carries the steps out and hands back a [`CgroupHandle`].
//!
//! # How a process gets in
//! - **v2**: born inside, by `clone3` with `CLONE_INTO_CGROUP` and [`CgroupHandle::v2_dirfd`] (Linux 5.7).
//! - **v1**: the child itself writes `0` to each hierarchy's `tasks`, by [`Joiner::join`]. A single thread that moves
//!   itself needs neither a stable thread group nor a stable pid, so since Linux 5.5 (9a3284fad42f) the kernel skips
//!   the lock that every `cgroup.procs` write and every write of another's pid takes, and whose first taker waits for
//!   an RCU grace period. Measured on 6.18 with two CPUs, nine hierarchies, idle before each try: 54 µs in all this
//!   way, 5 to 11 ms by `cgroup.procs`, from the launcher or from the child, in one thread or in two (the first write
//!   pays for the grace period, the others take ~7 µs each; a second thread waits for the same one).
//! - [`CgroupHandle::attach`] moves a process by its pid, for callers that have no hand in the child.
//!
//! Every mounted hierarchy is joined, named ones too, as Docker does: a path in `/proc/PID/cgroup` that still showed
//! the launcher's cgroup would tell an untruth about who is accounted where.
//!
//! # Where it goes
//! See [`Place`]: `/plim-ID` below the hierarchy's root when that is writable, else below a writable ancestor in a
//! delegated v2 subtree.

mod check;
mod create;
mod devices;
mod error;
mod facts;
mod handle;
mod kill;
mod layout;
mod place;
mod plan;
mod stats;
mod v1;
mod v2;

pub use devices::{DeviceInsn, docker_default_rules, v2_program};
pub use error::CgroupError;
pub use facts::{Facts, V2Level};
pub use handle::{CgroupHandle, Joiner, Removal};
pub use layout::{Layout, Tree, V1Hierarchy, V2Hierarchy};
pub use place::Place;
pub use plan::{Plan, Step, TreePlan, Write, asked, plan};
pub use stats::Stats;
pub use v2::{io_weight_from_blkio, weight_from_shares};

#[cfg(test)]
mod live_tests;
#[cfg(test)]
mod plan_tests;
