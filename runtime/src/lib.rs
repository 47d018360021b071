//! Runs one container from plain data, and leaves nothing behind.
pub mod config;
