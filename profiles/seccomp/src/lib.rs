//! Seccomp profiles and filters.
#![forbid(unsafe_code)]
pub mod bpf;
