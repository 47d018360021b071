//! Runs one container from plain data, and leaves nothing behind.
//!
//! [`create`] makes everything but the command, [`Created::start`] executes it ([`run`] does both), [`Running::wait`] waits
//! and clears away: OCI's *create* and *start*. Who does what:
//!
//! | process | file | does |
//! |---|---|---|
//! | launcher | `create.rs`, `running.rs` | checks, makes cgroups and state, clones, waits |
//! | janitor | `janitor.rs` | clears away when the launcher was killed |
//! | child | `child.rs` | becomes the container: namespaces, root, credentials, execve |
//! | init | `init.rs` | pid 1 of a container with `--init` |
//!
//! A tool that runs containers calls [`init_entry`] first in its `main`, then [`seal`].

pub mod cgroup;
mod channel;
mod checked;
mod child;
mod command;
pub mod config;
mod copy;
mod create;
mod credentials;
mod detach;
mod error;
mod idmap;
mod init;
mod janitor;
mod keyring;
mod log;
mod made;
mod namespaces;
mod observers;
pub mod oci;
mod pty;
mod rootfs;
mod running;
mod sealed;
mod state;
mod stdio;
mod sys;
mod sysctl;
mod whole;

pub use create::{create, run};
pub use credentials::held as held_capabilities;
pub use detach::run_detached;
pub use error::{ErrnoText, Result, RuntimeError};
pub use init::init_entry;
pub use running::{Created, Exit, Running, signal_number};
pub use sealed::{execute_sealed, seal, seal_for};
pub use state::directory as state_directory;
pub use stdio::{Stdio, Stream};
