//! Learns the least privilege with which a workload still works.
//!
//! A recorder (`bpf/`, [`session`]) tells what a container uses; [`propose`] makes a [`proposal`] of it, purely, which [`forms`]
//! write down for each engine; [`trial`] runs the workload again under a proposal, and [`shrink`] takes away from it whatever the
//! workload's own test does not miss.
#![forbid(unsafe_code)]

mod changes;
mod container;
mod event;
pub mod forms;
mod gather;
pub mod proposal;
pub mod propose;
mod recorder;
pub mod recording;
pub mod session;
pub mod shrink;
pub mod stop;
pub mod trial;
mod writable;
