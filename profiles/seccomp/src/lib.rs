//! Seccomp profiles and filters.
//!
//! Text becomes a filter in four steps, and each type is a gate: a profile as it was **written** ([`dialect`]), **resolved**
//! for one machine and one container ([`resolve`]), **compiled** to classic BPF ([`compile`]), and **checked** as the kernel
//! checks it ([`bpf::Program`]). Nothing here makes a system call or asks about the machine it runs on: architecture, kernel
//! release and capabilities are arguments ([`resolve::Facts`]).
#![forbid(unsafe_code)]

pub mod action;
pub mod analyse;
pub mod arch;
pub mod arguments;
pub mod bpf;
pub mod compile;
pub mod condition;
pub mod constants;
pub mod decompile;
pub mod diagram;
pub mod dialect;
pub mod disasm;
pub mod errno;
mod error;
pub mod exact;
pub mod explain;
pub mod fallback;
pub mod inline;
pub mod installed;
pub mod interpret;
pub mod kernel;
pub mod lint;
mod marks;
mod oci;
pub mod presets;
pub mod resolve;
pub mod spelling;
pub mod syscalls;
pub mod telling;
pub mod witness;

pub use action::Action;
pub use arch::Arch;
pub use errno::Errno;
pub use syscalls::SyscallNr;
