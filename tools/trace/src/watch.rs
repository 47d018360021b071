//! Joins what the kernel tells with the containers, filters, rules and files it is about.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plim_model::parse::idmap;
use plim_model::{IdMapping, Observed};
use plim_observe::Selected;
use plim_seccomp::bpf::Program;
use serde_json::Value;

use crate::cause::{self, Kind, Known};
use crate::denial::{self, Denial};
use crate::event::{self, Event, flag};
use crate::files::{self, FileFacts};
use crate::tracer::{CapabilityProbe, FIRST_PID_NAMESPACE, FIRST_USER_NAMESPACE, Missed, Tracer};
use crate::{decode, rule};

/// Filters of a stack that is not the first process' are read anew when they are older than this: the kernel may have
/// given the number to another one.
const STALE: Duration = Duration::from_secs(1);
/// Calls whose judgement is kept; then all of them are forgotten, so that no container fills the memory.
const MOST_JUDGED: usize = 16_384;
/// Security modules that refuse without telling anybody who may hear it here. `capability` is seen, and `bpf` programs
/// are whatever their owner wrote.
const SILENT: [&str; 9] =
    ["apparmor", "selinux", "smack", "tomoyo", "yama", "landlock", "lockdown", "ipe", "bpf"];

/// What is known of one target.
struct Target {
    container: String,
    engine: String,
    pid: i32,
    /// The engine's `linux.seccomp`.
    seccomp: Option<Value>,
    /// The filters it is started with, where the starter says so: for a task that a filter killed at once.
    declared: Option<Vec<Program>>,
    stacks: BTreeMap<u64, (Instant, Vec<Program>)>,
    uid_map: Vec<IdMapping>,
    /// Its root, held for a target that is being started: its processes may have ended when their calls are read.
    root: Option<OwnedFd>,
}

impl Target {
    /// The host's number of the user that is 0 inside.
    fn root_uid(&self) -> u32 {
        self.uid_map.iter().find(|row| row.inside == 0).map_or(0, |row| row.outside)
    }

    fn maps(&self, uid: u32) -> bool {
        self.uid_map.is_empty()
            || self.uid_map.iter().any(|row| uid >= row.outside && uid - row.outside < row.count)
    }

    /// The filters of the stack that the event's task stands on.
    fn filters(&mut self, event: &Event) -> Option<&[Program]> {
        let known = self.stacks.get(&event.stack);
        if known.is_none_or(|(read, _)| read.elapsed() > STALE) {
            for tid in [event.tid, event.parent, self.pid] {
                if let Ok(Some((stack, programs))) = plim_observe::filters::stack_of(tid) {
                    self.stacks.insert(stack, (Instant::now(), programs));
                    if stack == event.stack {
                        break;
                    }
                }
            }
        }
        match (self.stacks.get(&event.stack), &self.declared) {
            (Some((_, programs)), _) => Some(programs),
            // It has no more filters than it was started with, so they are these.
            (None, Some(declared)) if usize::try_from(event.filters) == Ok(declared.len()) => Some(declared),
            _ => None,
        }
    }
}

/// One refused call: what was judged, perhaps of the same call earlier, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The denial, with the task and time of when it was judged.
    pub denial: &'a Denial,
    /// Equal for denials that differ in time and task alone.
    pub id: u64,
    /// Nanoseconds since boot, where times are wanted.
    pub boot_ns: Option<u64>,
    /// The process.
    pub pid: i32,
    /// The thread.
    pub tid: i32,
}

impl Told<'_> {
    /// The denial with its own time and task.
    pub fn to_denial(&self) -> Denial {
        Denial { boot_ns: self.boot_ns, pid: self.pid, tid: self.tid, ..self.denial.clone() }
    }
}

/// What was judged of one key; `None` is no refusal.
struct Judged {
    at: Instant,
    id: u64,
    denial: Option<Arc<Denial>>,
}

enum Read {
    Known(u64, Option<Arc<Denial>>, (u64, i32, i32)),
    New(Box<[u8]>, Box<Event>),
}

/// A tracer and what is known of its targets.
pub struct Watch {
    tracer: Tracer,
    targets: Vec<Target>,
    silent_modules: Vec<String>,
    judged: HashMap<Box<[u8]>, Judged>,
    ids: u64,
    /// Whether denials carry a time.
    pub times: bool,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("tracer", &self.tracer).finish_non_exhaustive()
    }
}

impl Watch {
    /// Loads the tracer.
    ///
    /// # Errors
    /// [`crate::tracer::TracerError`].
    pub fn new() -> Result<Watch> {
        let tracer = Tracer::load()?;
        let modules = match plim_observe::security_modules() {
            Observed::Present(modules) => modules,
            Observed::Absent | Observed::Unknown(_) => Vec::new(),
        };
        let silent_modules = modules.into_iter().filter(|module| SILENT.contains(&module.as_str())).collect();
        Ok(Watch {
            tracer,
            targets: Vec::new(),
            silent_modules,
            judged: HashMap::new(),
            ids: 0,
            times: false,
        })
    }

    /// Adds a target. With `armed` its calls count at once, else from its next execve on. `declared` are the filters that
    /// it is about to be started with.
    ///
    /// # Errors
    /// It is gone, shares the host's pid namespace, or there are too many.
    pub fn add(&mut self, selected: &Selected, armed: bool, declared: Option<Vec<Program>>) -> Result<()> {
        let name = selected.target_name();
        let pid = selected.pid.0;
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        let link = std::fs::read_link(format!("/proc/{pid}/ns/pid"))
            .with_context(|| format!("{name}: readlink /proc/PID/ns/pid"))?;
        let link = link.to_string_lossy();
        let inode = link
            .strip_prefix("pid:[")
            .and_then(|rest| rest.strip_suffix(']')?.parse::<u32>().ok())
            .with_context(|| format!("{name}: found {link:?}, expected pid:[INODE]"))?;
        anyhow::ensure!(
            inode != FIRST_PID_NAMESPACE || selected.engine == "host",
            "{name} is in the host's pid namespace, by which its processes cannot be told from others'; \
             trace `host` to see them all"
        );
        let uid_map = read("uid_map").ok().and_then(|text| idmap::parse(&text).ok()).unwrap_or_default();
        let seccomp = match plim_observe::declared_seccomp(selected) {
            Observed::Present(seccomp) => Some(seccomp),
            Observed::Absent | Observed::Unknown(_) => None,
        };
        // Whoever got the pid meanwhile is not the target.
        let again = plim_observe::find(Some("pid"), &pid.to_string())
            .is_ok_and(|again| again.start_time_ticks == selected.start_time_ticks);
        anyhow::ensure!(again, "{name} ended meanwhile");
        let mut target = Target {
            container: selected.name.clone().unwrap_or_else(|| selected.id.clone()),
            engine: selected.engine.clone(),
            pid,
            seccomp,
            declared,
            stacks: BTreeMap::new(),
            uid_map,
            root: if armed { None } else { files::root(pid) },
        };
        if let Ok(Some((stack, programs))) = plim_observe::filters::stack_of(pid) {
            target.stacks.insert(stack, (Instant::now(), programs));
        }
        self.tracer.add(inode, armed)?;
        self.targets.push(target);
        Ok(())
    }

    /// Attaches the tracer.
    ///
    /// # Errors
    /// [`crate::tracer::TracerError`].
    pub fn attach(&mut self) -> Result<()> {
        Ok(self.tracer.attach()?)
    }

    /// Whether refused capabilities are seen on this kernel.
    pub fn sees_capabilities(&self) -> bool {
        self.tracer.capabilities() != CapabilityProbe::None
    }

    /// Whether the first process of some target still lives.
    pub fn has_live_targets(&self) -> bool {
        self.targets.iter().any(|target| std::path::Path::new(&format!("/proc/{}", target.pid)).exists())
    }

    /// Waits for events, `timeout` at most.
    pub fn wait(&self, timeout: Duration) {
        self.tracer.wait(timeout);
    }

    /// Hands out the denials that are there now, `most` at most. Returns how many events were read.
    ///
    /// A call that was judged within the last second is not judged again: a flood of refusals is mostly one call.
    ///
    /// # Errors
    /// The ring holds something else, or `tell` fails.
    pub fn drain(&mut self, most: usize, mut tell: impl FnMut(Told<'_>) -> Result<()>) -> Result<usize> {
        let now = Instant::now();
        if self.judged.len() > MOST_JUDGED {
            self.judged.clear();
        }
        let mut count = 0;
        while count < most {
            let read = self.tracer.next_record(|record| {
                let (key, length) = event::key(record)?;
                let known = self.judged.get(&key[..length]);
                if let Some(known) = known.filter(|known| now.duration_since(known.at) < STALE) {
                    return Some(Read::Known(known.id, known.denial.clone(), event::task(record)));
                }
                Some(Read::New(Box::from(&key[..length]), Box::new(Event::parse(record)?)))
            });
            let Some(read) = read else { break };
            count += 1;
            let (id, denial, (boot_ns, pid, tid)) =
                match read.context("a record in the ring has another size")? {
                    Read::Known(id, denial, task) => (id, denial, task),
                    Read::New(key, event) => {
                        let denial = self.denial(&event).map(Arc::new);
                        self.ids += 1;
                        let judged = Judged { at: now, id: self.ids, denial: denial.clone() };
                        self.judged.insert(key, judged);
                        (self.ids, denial, (event.boot_ns, event.pid, event.tid))
                    }
                };
            if let Some(denial) = denial {
                let boot_ns = self.times.then_some(boot_ns);
                tell(Told { denial: &denial, id, boot_ns, pid, tid })?;
            }
        }
        Ok(count)
    }

    /// Detaches the tracer; what it told before can still be drained.
    pub fn detach(&mut self) -> Missed {
        let missed = self.tracer.missed();
        self.tracer.detach();
        Missed { lost: self.tracer.missed().lost, ..missed }
    }

    fn denial(&mut self, event: &Event) -> Option<Denial> {
        let target = self.targets.get_mut(usize::try_from(event.target).ok()?)?;
        let file = file_of(event, target);
        let root_uid = if event.user_namespace == FIRST_USER_NAMESPACE { 0 } else { target.root_uid() };
        let sees_capabilities = self.tracer.capabilities() != CapabilityProbe::None;
        let seccomp = target.seccomp.clone();
        let filters = if event.has(flag::ENTERED) { None } else { target.filters(event) };
        let known = Known {
            filters,
            sees_capabilities,
            root_uid,
            file: file.as_ref(),
            silent_modules: &self.silent_modules,
        };
        let mut cause = cause::judge(event, &known)?;
        let arch = cause::arch(event);
        let name = cause::name(event);
        let mut allowing = None;
        if cause.kind == Kind::Seccomp
            && let Some(name) = name
        {
            allowing = Some(rule::allowing(arch, name, &event.args));
            let action = filters.map(|filters| cause::decision(event, filters));
            if let (Some(seccomp), Some(action)) = (&seccomp, action)
                && let Some(place) = rule::find(seccomp, name, &event.args, action)
            {
                let words = match (place.pointer.as_str(), place.others.is_empty()) {
                    ("/defaultAction", true) => "; no rule names the call".to_owned(),
                    ("/defaultAction", false) => {
                        format!("; {} asks for other arguments", place.others.join(", "))
                    }
                    _ => String::new(),
                };
                cause.detail = cause.detail.map(|detail| detail + &words);
                cause.rule = Some(place.pointer);
            }
        }
        let remedy = denial::remedy(&cause, allowing);
        let errno = cause::errno(event).filter(|_| !event.has(flag::KILLED | flag::SIGSYS));
        Some(Denial {
            boot_ns: None,
            container: target.container.clone(),
            engine: target.engine.clone(),
            pid: event.pid,
            tid: event.tid,
            comm: plim_model::text::escape(&event.comm),
            arch: arch.name().to_owned(),
            syscall: name.map(str::to_owned),
            number: event.number,
            args: event.args.iter().map(|arg| format!("{arg:#x}")).collect(),
            decoded: decode::arguments(event),
            errno: errno.map(|errno| errno.to_string()),
            call: decode::call(event),
            cause,
            remedy,
        })
    }
}

/// The file that the call names first, for errors that a file can explain.
fn file_of(event: &Event, target: &Target) -> Option<FileFacts> {
    let explains = event.has(flag::ENTERED) && matches!(event.ret, -1 | -13 | -30);
    let arch = cause::arch(event);
    let name = cause::name(event).filter(|_| explains)?;
    let path = decode::texts(event, arch, name).into_iter().next()?;
    let at = plim_seccomp::arguments::argument(arch, name, 0)
        .filter(|argument| matches!(argument.name, "dfd" | "olddfd" | "fd"))
        .map(|_| {
            i32::from_ne_bytes(u32::try_from(event.args[0] & 0xffff_ffff).unwrap_or_default().to_ne_bytes())
        });
    // A process that has ended had the root of the container's first one, unless it changed it.
    let found = files::root(event.pid);
    let held = if found.is_none() && target.root.is_none() { files::root(target.pid) } else { None };
    let root = found.as_ref().or(target.root.as_ref()).or(held.as_ref())?;
    files::look(root.as_fd(), &files::absolute(event.pid, at, &path)?, |uid| target.maps(uid))
}
