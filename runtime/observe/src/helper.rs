//! Reads that a confined process cannot make, made by a process that was forked before it confined itself.
//!
//! PTRACE_SECCOMP_GET_FILTER is refused to a reader that is itself under a seccomp filter; loading a BPF program, entering a
//! namespace, reading device programs and talking to an engine's socket take privileges that a parser of hostile data must not
//! have. The helper has them, and takes five kinds of request, each of which reads one thing. It does not parse what it reads.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use plim_model::{HostPid, NamespaceKind, Observed};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::engines::docker;
use crate::why::refusal;
use crate::{cgroup, filters, sys, sysctls};

/// Longer than any one request takes: an engine has 15 s.
const LIMIT: Duration = Duration::from_secs(30);
/// An engine's answer is the longest.
const LONGEST: usize = 64 << 20;

/// The process that `self` is: see [`start_likeness`].
static LIKENESS: OnceLock<HostPid> = OnceLock::new();
static HELPER: OnceLock<Mutex<Option<File>>> = OnceLock::new();

/// What can be asked for. Descriptors are those of the process that asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The filters of these tasks by the BPF iterator.
    Filters(Vec<i32>),
    /// The filters of this task by ptrace.
    Stop(i32),
    /// The sysctls that belong to the namespace behind the descriptor.
    Sysctls(i32, NamespaceKind),
    /// The device programs of the cgroup behind the descriptor.
    Devices(i32),
    /// The answer of the daemon at DOCKER_HOST to a GET of this path.
    Docker(String),
}

/// Starts the helper. Call it before any thread is started and before anything hostile is read. In the helper `prepare` is run
/// first, to give up what the helper does not need.
///
/// # Errors
/// There are other threads or a helper already; no process or socket is to be had.
pub fn start(prepare: impl FnOnce()) -> io::Result<()> {
    let (here, there) = UnixStream::pair()?;
    here.set_read_timeout(Some(LIMIT))?;
    let parent = nix::unistd::getpid();
    let connection = OwnedFd::from(here).into();
    child(move || {
        prepare();
        // What goes wrong here is reported by the end of the connection.
        let _ = serve(OwnedFd::from(there).into(), parent.as_raw());
    })?;
    HELPER.set(Mutex::new(Some(connection))).map_err(|_| io::ErrorKind::AlreadyExists.into())
}

/// Keeps this process as it is now, before it confines itself, for the target `self`: a child that only waits. Call it as [`start`].
///
/// # Errors
/// There are other threads; no process is to be had.
pub fn start_likeness() -> io::Result<()> {
    let pid = child(|| {
        loop {
            nix::unistd::pause();
        }
    })?;
    LIKENESS.set(pid).map_err(|_| io::ErrorKind::AlreadyExists.into())
}

/// This process as it was started.
pub(crate) fn this_process() -> HostPid {
    LIKENESS.get().copied().unwrap_or(HostPid(std::process::id().cast_signed()))
}

/// A child that ends with this process at the latest, and does `work`.
fn child(work: impl FnOnce()) -> io::Result<HostPid> {
    let parent = nix::unistd::getpid();
    // A lock that another thread holds would never be released in the child.
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    match sys::fork()? {
        Some(child) => Ok(HostPid(child)),
        None => {
            // A reader of this process' output waits for every descriptor of it to be closed.
            let tied =
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).and_then(|()| silence());
            if tied.is_ok() && nix::unistd::getppid() == parent {
                work();
            }
            std::process::exit(0);
        }
    }
}

/// Ends the helper: it reads the end of the connection.
pub fn stop() {
    if let Some(connection) = HELPER.get() {
        connection.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn silence() -> nix::Result<()> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)
}

/// Asks the helper; `None` in a process that has none, which reads for itself.
pub(crate) fn ask<T: DeserializeOwned>(request: &Request) -> Option<Result<T, String>> {
    let mut connection = HELPER.get()?.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(stream) = connection.as_mut() else {
        return Some(Err("the helper that reads for this confined process was ended".to_owned()));
    };
    let answer = serde_json::to_vec(request)
        .map_err(io::Error::from)
        .and_then(|text| send(stream, &text))
        .and_then(|()| receive(stream))
        .and_then(|bytes| bytes.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
        .and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    if answer.is_err() {
        // What comes later would be the answer to this question.
        connection.take();
    }
    Some(answer.map_err(|error| format!("ask the helper that reads for this confined process: {error}")))
}

fn serve(mut stream: File, parent: i32) -> io::Result<()> {
    while let Some(request) = receive(&mut stream)? {
        let answer = match serde_json::from_slice(&request)? {
            Request::Filters(tids) => serde_json::to_vec(&filters::relayed(&tids)),
            Request::Stop(tid) => serde_json::to_vec(&filters::relayed_stopped(tid)),
            Request::Sysctls(fd, kind) => serde_json::to_vec(
                &theirs(parent, fd, OFlag::O_RDONLY)
                    .map(|namespace| sysctls::read_inside(namespace, kind))
                    .map_err(|errno| refusal("open the target's namespace", errno, None)),
            ),
            Request::Devices(fd) => {
                serde_json::to_vec(&match theirs(parent, fd, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
                    Ok(cgroup) => cgroup::device_programs(cgroup.as_fd()),
                    Err(errno) => Observed::Unknown(refusal("open the target's cgroup", errno, None)),
                })
            }
            Request::Docker(path) => serde_json::to_vec(&docker::relayed(&path)),
        }?;
        send(&mut stream, &answer)?;
    }
    Ok(())
}

/// A descriptor of the process that asks.
fn theirs(parent: i32, fd: i32, flags: OFlag) -> nix::Result<OwnedFd> {
    open(format!("/proc/{parent}/fd/{fd}").as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
}

fn send(stream: &mut File, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_ne_bytes())?;
    stream.write_all(bytes)
}

/// `None` at the end of the connection.
fn receive(stream: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = usize::try_from(u32::from_ne_bytes(length)).map_err(io::Error::other)?;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}
