//! Runs one container from plain data, and leaves nothing behind.
pub mod cgroup;
pub mod config;
mod sys;
