//! A recorder and a tracer of refusals over one container, read by a thread of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plim_model::parse::status;
use plim_model::{Capability, CapabilitySet};
use plim_observe::Selected;
use plim_seccomp::bpf::Program;
use plim_seccomp::{Arch, SyscallNr, arguments, syscalls, telling};
use plim_trace::tracer::Scope;
use plim_trace::watch::Watch;

use crate::changes;
use crate::event::{Event, What, flag};
use crate::recorder::{Recorder, argument_name};
use crate::recording::{
    ArgumentUse, CallUse, CapabilityUse, DeviceUse, FORMAT, FileUse, Missed, Recorded, Recording, Refused,
    SocketUse, Workload, access, call_key, capability_key, device_key, join, refused_key, socket_key,
};

/// Records read before the thread looks whether it is to end.
const BATCH: usize = 4096;
/// The longest time that an event waits to be read; the rings hold far more than comes in it.
const PACE: Duration = Duration::from_millis(10);
/// Files, devices and sockets that one recording holds; what a container makes beyond is counted as missed.
const MOST_FILES: usize = 100_000;
/// Refusals that are told apart.
const MOST_REFUSED: usize = 10_000;

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

/// What is gathered while it runs.
#[derive(Default)]
struct Gathered {
    files: BTreeMap<String, FileUse>,
    devices: Vec<DeviceUse>,
    sockets: Vec<SocketUse>,
    privileged: Vec<String>,
    refused: BTreeMap<[String; 6], Refused>,
    left_out: u64,
    refusals_left_out: u64,
}

fn read(mut recorder: Recorder, mut watch: Watch, begun: &Begun, end: &AtomicBool) -> Result<Recording> {
    let mut gathered = Gathered::default();
    while !end.load(Ordering::Relaxed) {
        let read = gathered.files(&mut recorder)? + gathered.refusals(&mut watch)?;
        if read == 0 {
            std::thread::sleep(PACE);
        }
    }
    let missed = watch.detach();
    recorder.detach();
    while gathered.files(&mut recorder)? + gathered.refusals(&mut watch)? > 0 {}
    let [calls_lost, files_lost] = recorder.lost();
    let mut granted: Vec<String> = names(begun.granted);
    granted.sort();
    gathered.privileged.sort();
    gathered.privileged.dedup();
    Ok(Recording {
        format: FORMAT.to_owned(),
        workload: None,
        recorded: begun.recorded.clone(),
        granted,
        sees_capabilities: recorder.sees_capabilities(),
        calls: calls(&recorder),
        capabilities: capabilities(&recorder, begun.user_namespace),
        files: gathered.files.into_values().collect(),
        devices: gathered.devices,
        sockets: gathered.sockets,
        privileged_programs: gathered.privileged,
        refused: gathered.refused.into_values().collect(),
        missed: Missed {
            calls: calls_lost,
            files: files_lost + gathered.left_out,
            refusals: missed.lost + gathered.refusals_left_out,
            skipped_runs: missed.skipped_runs,
        },
    })
}

fn names(set: CapabilitySet) -> Vec<String> {
    Capability::known().filter(|one| set.contains(*one)).map(|one| one.to_string()).collect()
}

fn arch_of(flags: u32, number: u32) -> Arch {
    match (flags & flag::COMPAT != 0, number & plim_seccomp::arch::X32_SYSCALL_BIT) {
        (true, _) => Arch::X86,
        (false, 0) => Arch::X86_64,
        (false, _) => Arch::X32,
    }
}

fn calls(recorder: &Recorder) -> Vec<CallUse> {
    let mut calls = Vec::new();
    let counted = recorder.calls().into_iter().map(|call| {
        let arch = arch_of(call.flags, call.number);
        let name = syscalls::name(arch, SyscallNr(call.number));
        let args = telling::of(name.unwrap_or_default()).iter().zip(call.args).map(|(told, value)| {
            let set = arguments::argument(arch, name.unwrap_or_default(), told.index)
                .and_then(|argument| argument.set)
                .filter(|set| set.holds_on(arch));
            ArgumentUse {
                index: told.index,
                name: argument_name(arch, name.unwrap_or_default(), told.index),
                value: format!("{value:#x}"),
                word: telling::word(set, value),
            }
        });
        CallUse {
            arch: arch.name().to_owned(),
            syscall: name.map(str::to_owned),
            number: call.number,
            runtime: call.flags & flag::RUNTIME != 0,
            args: args.collect(),
            count: call.count,
        }
    });
    join(&mut calls, counted.collect(), call_key, |one, other| one.count += other.count);
    calls
}

fn capabilities(recorder: &Recorder, own: u32) -> Vec<CapabilityUse> {
    let mut uses = Vec::new();
    let asked = recorder.capabilities().into_iter().filter_map(|asked| {
        let capability = Capability::from_number(u8::try_from(asked.capability).ok()?)?;
        let number = u32::try_from(asked.number).ok();
        let name = number.map_or("outside of a call".to_owned(), |number| {
            let arch = arch_of(asked.flags, number);
            syscalls::name(arch, SyscallNr(number)).map_or_else(|| number.to_string(), str::to_owned)
        });
        Some(CapabilityUse {
            capability: capability.to_string(),
            granted: asked.flags & flag::GRANTED != 0,
            as_itself: asked.flags & flag::AS_ITSELF != 0,
            own_namespace: asked.user_namespace == own,
            calls: BTreeMap::from([(name, asked.count)]),
        })
    });
    join(&mut uses, asked.collect(), capability_key, |one, other| {
        for (name, count) in other.calls {
            *one.calls.entry(name).or_default() += count;
        }
    });
    uses
}

impl Gathered {
    fn files(&mut self, recorder: &mut Recorder) -> Result<usize> {
        let mut count = 0;
        while count < BATCH
            && let Some(event) = recorder.next()
        {
            count += 1;
            self.take(event.context("a record in the ring has another size")?);
        }
        Ok(count)
    }

    fn refusals(&mut self, watch: &mut Watch) -> Result<usize> {
        watch.drain(BATCH, |told| {
            let refused = Refused { count: 1, denial: told.to_denial(false) };
            let key = refused_key(&refused);
            if let Some(known) = self.refused.get_mut(&key) {
                known.count += 1;
            } else if self.refused.len() < MOST_REFUSED {
                self.refused.insert(key, refused);
            } else {
                self.refusals_left_out += 1;
            }
            Ok(())
        })
    }

    fn take(&mut self, event: Event) {
        if self.files.len() + self.devices.len() + self.sockets.len() >= MOST_FILES {
            self.left_out += 1;
            return;
        }
        let arch = arch_of(event.flags, event.number);
        let syscall = syscalls::name(arch, SyscallNr(event.number)).unwrap_or_default();
        match event.what {
            What::Exec => self.privileged.push(plim_model::text::escape(&event.comm)),
            What::Bind | What::Listen => self.socket(&event, syscall),
            What::Open | What::Path | What::Descriptor => {
                const S_IFMT: u32 = 0o170_000;
                let kind = match event.mode & S_IFMT {
                    0o020_000 => Some("c"),
                    0o060_000 => Some("b"),
                    _ => None,
                };
                match kind.filter(|_| event.what == What::Open) {
                    Some(kind) => self.device(&event, kind),
                    None => self.file(&event, syscall),
                }
            }
        }
    }

    fn file(&mut self, event: &Event, syscall: &str) {
        if event.path.is_empty() {
            return;
        }
        let created = event.has(flag::CREATED) || changes::creates(syscall);
        let file = self.files.entry(event.path.clone()).or_insert_with(|| FileUse {
            path: event.path.clone(),
            created,
            calls: Vec::new(),
            cut: event.has(flag::CUT),
        });
        if !file.calls.iter().any(|call| call == syscall) {
            file.calls.push(syscall.to_owned());
            file.calls.sort();
        }
    }

    fn device(&mut self, event: &Event, kind: &str) {
        // dev_t inside of the kernel: 12 bits and 20 bits (include/linux/kdev_t.h).
        let device = DeviceUse {
            path: event.path.clone(),
            kind: kind.to_owned(),
            major: event.device >> 20,
            minor: event.device & 0xf_ffff,
            access: access(event.has(flag::READ), event.has(flag::WRITE)),
        };
        join(&mut self.devices, vec![device], device_key, |one, other| {
            let has = |letter| one.access.contains(letter) || other.access.contains(letter);
            one.access = access(has('r'), has('w'));
        });
    }

    fn socket(&mut self, event: &Event, syscall: &str) {
        const AF_UNIX: u16 = 1;
        const AF_INET: u16 = 2;
        const AF_INET6: u16 = 10;
        const SOCK_DGRAM: u16 = 2;
        let word = |syscall: &str, index, value: u16| {
            let set = arguments::argument(Arch::X86_64, syscall, index).and_then(|argument| argument.set);
            telling::word(set, u64::from(value))
        };
        let address = match event.family {
            AF_INET => {
                let [a, b, c, d, ..] = event.address;
                std::net::Ipv4Addr::new(a, b, c, d).to_string()
            }
            AF_INET6 => std::net::Ipv6Addr::from(event.address).to_string(),
            AF_UNIX => event.path.clone(),
            _ => String::new(),
        };
        if event.family == AF_UNIX && event.what == What::Bind {
            self.file(event, syscall);
        }
        let is_inet = [AF_INET, AF_INET6].contains(&event.family);
        let socket = SocketUse {
            family: word("socket", 0, event.family),
            r#type: plim_trace::decode::socket_type(u64::from(event.kind))
                .unwrap_or_else(|| event.kind.to_string()),
            address,
            port: if is_inet { event.port } else { 0 },
            listens: event.what == What::Listen || (is_inet && event.kind == SOCK_DGRAM),
        };
        join(&mut self.sockets, vec![socket], socket_key, |one, other| one.listens |= other.listens);
    }
}

/// Checks before anything is made that recording is possible at all.
///
/// # Errors
/// The privilege that is missing.
pub fn may_record() -> Result<()> {
    ensure!(cfg!(target_arch = "x86_64"), "recording is written for x86-64");
    Ok(plim_trace::tracer::may_trace()?)
}
