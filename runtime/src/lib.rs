//! Runs one container from plain data, and leaves nothing behind.
pub mod cgroup;
pub mod config;
pub mod oci;
mod sys;
