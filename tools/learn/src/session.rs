//! A recorder and a tracer of refusals over one container, read by a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plim_model::parse::status;
use plim_model::{Capability, CapabilitySet};
use plim_observe::Selected;
use plim_seccomp::bpf::Program;
use plim_trace::tracer::Scope;
use plim_trace::watch::Watch;

use crate::gather::{Gathered, calls, capabilities};
use crate::recorder::Recorder;
use crate::recording::{FORMAT, Missed, Recorded, Recording, Workload};

/// The longest time that an event waits to be read; the rings hold far more than comes in it.
const PACE: Duration = Duration::from_millis(10);

/// The tracer, loaded before the container is made: then a kernel or a caller that cannot record costs nothing.
#[derive(Debug)]
pub struct Prepared(Watch);

impl Prepared {
    /// Loads the tracer.
    ///
    /// # Errors
    /// The privilege or kernel feature that is missing.
    pub fn new() -> Result<Prepared> {
        Ok(Prepared(Watch::new(Scope::Everything)?))
    }

    /// Attaches to a container. With `running` its calls count at once; else they are told apart from the runtime's by the execve of
    /// its command, and `declared` are the filters and `granted` the capabilities that it is about to be started with.
    ///
    /// # Errors
    /// It is gone, shares the host's pid namespace, or the kernel refuses.
    pub fn attach(
        mut self,
        selected: &Selected,
        running: bool,
        declared: Option<Vec<Program>>,
        granted: Option<CapabilitySet>,
    ) -> Result<Session> {
        let place = Place::of(selected)?;
        self.0.add(selected, running, declared)?;
        let mut recorder = Recorder::load(place.pid_namespace, place.level)?;
        recorder.attach()?;
        self.0.attach()?;
        let end = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&end);
        let watch = self.0;
        let pid = selected.pid.0;
        let begun = Begun {
            recorded: Recorded {
                engine: selected.engine.clone(),
                name: selected.name.clone().unwrap_or_else(|| selected.id.clone()),
            },
            user_namespace: place.user_namespace,
            granted: granted.unwrap_or(place.bounding),
        };
        let thread = std::thread::Builder::new()
            .name("plim-learn".to_owned())
            .spawn(move || read(recorder, watch, &begun, &asked))
            .context("start a thread to read what is recorded")?;
        Ok(Session { end, thread, pid, start_time_ticks: selected.start_time_ticks })
    }
}

/// Where a container lives.
struct Place {
    pid_namespace: u32,
    level: u32,
    user_namespace: u32,
    bounding: CapabilitySet,
}

impl Place {
    fn of(selected: &Selected) -> Result<Place> {
        let name = selected.target_name();
        let pid = selected.pid.0;
        let inode = |namespace: &str| -> Result<u32> {
            let link = std::fs::read_link(format!("/proc/{pid}/ns/{namespace}"))
                .with_context(|| format!("{name}: readlink /proc/PID/ns/{namespace}"))?;
            let link = link.to_string_lossy();
            link.split_once('[')
                .and_then(|(_, rest)| rest.strip_suffix(']')?.parse().ok())
                .with_context(|| format!("{name}: found {link:?}, expected {namespace}:[INODE]"))
        };
        let text = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("{name}: read /proc/PID/status"))?;
        let parsed = status::parse(&text).with_context(|| format!("{name}: /proc/PID/status"))?;
        // The process' numbers, in the first namespace and in each one below.
        let depth = text
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .map(|numbers| numbers.split_whitespace().count());
        let Some(depth) = depth.filter(|depth| *depth > 1) else {
            bail!("{name} is in the host's pid namespace, by which its processes cannot be told from others'")
        };
        Ok(Place {
            pid_namespace: inode("pid")?,
            level: u32::try_from(depth - 1).context("depth of the pid namespace")?,
            user_namespace: inode("user")?,
            bounding: parsed.capabilities.bounding,
        })
    }
}

struct Begun {
    recorded: Recorded,
    user_namespace: u32,
    granted: CapabilitySet,
}

/// The thread. Dropping it without [`Session::end`] leaves it to end with the process.
#[derive(Debug)]
pub struct Session {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<Recording>>,
    pid: i32,
    start_time_ticks: u64,
}

impl Session {
    /// Whether the first process of the container still lives.
    pub fn is_live(&self) -> bool {
        let now = plim_observe::find(Some("pid"), &self.pid.to_string());
        now.is_ok_and(|now| now.start_time_ticks == self.start_time_ticks)
    }

    /// Whether the reader came to an end by itself, which is an error that [`Session::end`] tells.
    pub fn has_stopped(&self) -> bool {
        self.thread.is_finished()
    }

    /// Detaches and gives what was recorded.
    ///
    /// # Errors
    /// A ring held something else.
    pub fn end(self, workload: Option<Workload>) -> Result<Recording> {
        self.end.store(true, Ordering::Relaxed);
        let recording =
            self.thread.join().map_err(|_| anyhow::anyhow!("the thread that recorded panicked"))??;
        Ok(Recording { workload, ..recording })
    }
}

fn read(mut recorder: Recorder, mut watch: Watch, begun: &Begun, end: &AtomicBool) -> Result<Recording> {
    let mut gathered = Gathered::default();
    while !end.load(Ordering::Relaxed) {
        let read = gathered.files(&mut recorder)? + gathered.refusals(&mut watch)?;
        if read == 0 {
            std::thread::sleep(PACE);
        }
    }
    let skipped_runs = recorder.skipped_runs();
    let missed = gathered.last_refusals(&mut watch)?;
    recorder.detach();
    while gathered.files(&mut recorder)? > 0 {}
    let [calls_lost, files_lost] = recorder.lost()?;
    let mut granted: Vec<String> = names(begun.granted);
    granted.sort();
    Ok(Recording {
        format: FORMAT.to_owned(),
        workload: None,
        recorded: begun.recorded.clone(),
        granted,
        sees_capabilities: recorder.sees_capabilities(),
        calls: calls(recorder.calls()?),
        capabilities: capabilities(recorder.capabilities()?, begun.user_namespace),
        files: gathered.files.into_values().collect(),
        devices: gathered.devices.into_values().collect(),
        sockets: gathered.sockets.into_values().collect(),
        privileged_programs: gathered.privileged.into_iter().collect(),
        refused: gathered.refused.into_values().collect(),
        missed: Missed {
            calls: calls_lost,
            files: files_lost + gathered.left_out,
            refusals: missed.lost() + gathered.refusals_left_out,
            skipped_runs: missed.skipped_runs + skipped_runs,
            ring_operations: missed.ring_operations(),
            rings_hidden: missed.rings_hidden,
        },
    })
}

fn names(set: CapabilitySet) -> Vec<String> {
    Capability::known().filter(|one| set.contains(*one)).map(|one| one.to_string()).collect()
}

/// Checks before anything is made that recording is possible at all.
///
/// # Errors
/// The privilege that is missing.
pub fn may_record() -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "recording is written for x86-64");
    Ok(plim_trace::tracer::may_trace()?)
}
