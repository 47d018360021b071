//! Tells every refused system call of a container and why it was refused.
//!
//! The kernel's half (`bpf/`) tells refused calls with what was seen inside them ([`event`]); [`cause`] judges, purely;
//! [`watch`] joins events with the containers, filters and files they are about, into [`denial`]s.
#![forbid(unsafe_code)]

mod attributes;
pub mod cause;
mod clock;
pub mod decode;
pub mod denial;
mod error;
pub mod event;
pub mod files;
mod identity;
mod judgements;
mod lines;
mod look;
pub mod missed;
mod modules;
pub mod object;
pub mod options;
pub mod programs;
pub mod remedy;
pub mod report;
mod rings;
mod room;
pub mod rule;
pub mod session;
mod strings;
mod target;
pub mod tracer;
pub mod watch;
