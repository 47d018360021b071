//! Tells every refused system call of a container and why it was refused.
//!
//! The kernel's half (`bpf/`) tells refused calls with what was seen inside them ([`event`]); [`cause`] judges, purely;
//! [`watch`] joins events with the containers, filters and files they are about, into [`denial`]s.
#![forbid(unsafe_code)]

pub mod cause;
pub mod decode;
pub mod denial;
pub mod event;
pub mod files;
pub mod options;
pub mod report;
pub mod rule;
pub mod session;
pub mod tracer;
pub mod watch;
