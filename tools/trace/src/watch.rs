//! Joins what the kernel tells with the containers, filters, rules and files it is about.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plim_model::{Capability, CapabilitySet, Observed};
use plim_observe::Selected;
use plim_seccomp::bpf::Program;

use crate::cause::{self, Kind, Known};
use crate::denial::Denial;
use crate::event::{self, Event, flag};
use crate::look::Looker;
use crate::programs::Probes;
use crate::target::{self, Target};
use crate::tracer::{CapabilityProbe, Missed, Scope, Tracer};
use crate::{decode, identity, remedy, rule};

/// A judgement holds for this long: what it rests on beside the event (a file, a limit) may change.
const STALE: Duration = Duration::from_secs(1);
/// After so many events without a pause others are let gather for a while: a look for one costs more than the event. A container that
/// makes two million refused calls a second fills an eightieth of the ring meanwhile.
const CROWD: usize = 256;
const GATHER: Duration = Duration::from_micros(500);
/// Calls whose judgement is kept; then all of them are forgotten, so that no container fills the memory.
const MOST_JUDGED: usize = 16_384;
/// Security modules that refuse without telling anybody who may hear it here. `capability` is seen, and `bpf` programs
/// are whatever their owner wrote.
const SILENT: [&str; 9] =
    ["apparmor", "selinux", "smack", "tomoyo", "yama", "landlock", "lockdown", "ipe", "bpf"];

/// One refused call: what was judged, perhaps of the same call earlier, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// The denial, with the task and time of when it was judged.
    pub denial: &'a Denial,
    /// Equal for denials that differ in time and task alone.
    pub id: u64,
    /// Nanoseconds since boot (CLOCK_BOOTTIME).
    pub boot_ns: u64,
    /// The process.
    pub pid: i32,
    /// The thread.
    pub tid: i32,
}

impl Told<'_> {
    /// The denial with its own task and, where that is wanted, its time.
    pub fn to_denial(&self, times: bool) -> Denial {
        let boot_ns = times.then_some(self.boot_ns);
        Denial { boot_ns, pid: self.pid, tid: self.tid, ..self.denial.clone() }
    }
}

/// What was judged of one key; `None` is no refusal.
struct Judged {
    at: Instant,
    id: u64,
    denial: Option<Arc<Denial>>,
    /// Of this process alone, where it rests on the process' own files or limits.
    process: Option<i32>,
}

enum Read {
    Known(u64, Option<Arc<Denial>>, (u64, i32, i32)),
    New(Box<[u8]>, Box<Event>),
}

/// A tracer and what is known of its targets.
pub struct Watch {
    tracer: Tracer,
    looker: Looker,
    targets: Vec<Target>,
    silent_modules: Vec<String>,
    judged: HashMap<Box<[u8]>, Judged>,
    ids: u64,
    /// Events that were read since the last pause.
    crowd: usize,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("tracer", &self.tracer).finish_non_exhaustive()
    }
}

impl Watch {
    /// Loads the tracer. Where refusals of filters alone are wanted, and the kernel can show them without the tracepoints
    /// that every call passes, it is that one: it tells the same of them. Not where the kernel may skip its program.
    ///
    /// # Errors
    /// [`crate::tracer::TracerError`].
    pub fn for_causes(wanted: &[Kind]) -> Result<Watch> {
        if !wanted.is_empty()
            && wanted.iter().all(|kind| *kind == Kind::Seccomp)
            && Probes::exact() == Ok(Probes::Raw)
            && let Ok(watch) = Watch::new(Scope::Filters)
        {
            return Ok(watch);
        }
        Watch::new(Scope::Everything)
    }

    /// Loads the tracer.
    ///
    /// # Errors
    /// [`crate::tracer::TracerError`].
    pub fn new(scope: Scope) -> Result<Watch> {
        let modules = match plim_observe::security_modules() {
            Observed::Present(modules) => modules,
            Observed::Absent | Observed::Unknown(_) => Vec::new(),
        };
        // Before the tracer's types and maps are in memory.
        let looker = Looker::start()?;
        let tracer = Tracer::load(scope, &modules)?;
        let silent_modules = modules.into_iter().filter(|module| SILENT.contains(&module.as_str())).collect();
        Ok(Watch {
            tracer,
            looker,
            targets: Vec::new(),
            silent_modules,
            judged: HashMap::new(),
            ids: 0,
            crowd: 0,
        })
    }

    /// Adds a target. With `armed` its calls count at once, else from its next execve on. `declared` are the filters that
    /// it is about to be started with.
    ///
    /// # Errors
    /// It is gone, shares the host's pid namespace, or there are too many.
    pub fn add(&mut self, selected: &Selected, armed: bool, declared: Option<Vec<Program>>) -> Result<()> {
        let identity = identity::of(&selected.target_name(), &selected.engine, selected.pid.0)?;
        let target = Target::new(selected, !armed, declared)?;
        self.tracer.add(identity, armed)?;
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

    /// What is looked at.
    pub fn scope(&self) -> Scope {
        self.tracer.scope()
    }

    /// Whether refused capabilities are seen on this kernel.
    pub fn sees_capabilities(&self) -> bool {
        self.tracer.capabilities() != CapabilityProbe::None
    }

    /// Whether the first process of some target still lives.
    pub fn has_live_targets(&self) -> bool {
        self.targets.iter().any(Target::is_live)
    }

    /// Waits after [`Watch::drain`], which read so many events and would have read `most`: for the next one, `timeout` at most; in a
    /// flood until some have gathered; not at all where more are there.
    pub fn wait(&mut self, read: usize, most: usize, timeout: Duration) {
        self.crowd += read;
        if read == 0 {
            self.tracer.wait(timeout);
        } else if read == most || self.crowd < CROWD {
            return;
        } else {
            std::thread::sleep(GATHER.min(timeout));
        }
        self.crowd = 0;
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
                let task = event::task(record);
                let holds = |known: &&Judged| {
                    now.duration_since(known.at) < STALE
                        && known.process.is_none_or(|process| process == task.1)
                };
                if let Some(known) = known.filter(holds) {
                    return Some(Read::Known(known.id, known.denial.clone(), task));
                }
                Some(Read::New(Box::from(&key[..length]), Box::new(Event::parse(record)?)))
            });
            let Some(read) = read else { break };
            count += 1;
            let (id, denial, (boot_ns, pid, tid)) =
                match read.context("a record in the ring has another size")? {
                    Read::Known(id, denial, task) => (id, denial, task),
                    Read::New(key, event) => {
                        let (denial, own) = match self.denial(&event) {
                            Some((denial, own)) => (Some(Arc::new(denial)), own),
                            None => (None, true),
                        };
                        self.ids += 1;
                        let process = own.then_some(event.pid);
                        let judged = Judged { at: now, id: self.ids, denial: denial.clone(), process };
                        self.judged.insert(key, judged);
                        (self.ids, denial, (event.boot_ns, event.pid, event.tid))
                    }
                };
            if let Some(denial) = denial {
                tell(Told { denial: &denial, id, boot_ns, pid, tid })?;
            }
        }
        Ok(count)
    }

    /// What was not seen so far.
    pub fn missed(&self) -> Missed {
        Missed { unlooked: self.looker.unlooked, ..self.tracer.missed() }
    }

    /// What [`Watch::detach`] returned, with what was not looked at while the rest was drained.
    pub fn missed_in_all(&self, missed: Missed) -> Missed {
        Missed { unlooked: self.looker.unlooked, ..missed }
    }

    /// Detaches the tracer; what it told before can still be drained.
    pub fn detach(&mut self) -> Missed {
        let missed = self.missed();
        self.tracer.detach();
        Missed { lost: self.tracer.missed().lost, ..missed }
    }

    /// The denial; and whether it rests on what the process alone has (its files, its limits).
    fn denial(&mut self, event: &Event) -> Option<(Denial, bool)> {
        let target = self.targets.get_mut(usize::try_from(event.target).ok()?)?;
        if event.has(flag::ARRIVED) {
            target.filters(event);
            return None;
        }
        // Errors that a file can explain.
        let explains = event.has(flag::ENTERED) && matches!(event.ret, -1 | -13 | -30);
        let file = if explains { target.file(event, &mut self.looker) } else { None };
        let root_uid = target.root_uid(event);
        let owner = file.as_ref().and_then(|file| target.owner(event, file));
        let descriptors_used_up =
            if event.ret == -24 { target::descriptors_used_up(event.pid) } else { None };
        let security_label = event.module.and_then(|module| target::security_label(event.pid, module));
        let own = file.is_some() || descriptors_used_up.is_some() || security_label.is_some();
        let (container, engine) = (target.container.clone(), target.engine.clone());
        let seccomp = target.seccomp.clone();
        let filters = if event.has(flag::ENTERED) { None } else { target.filters(event) };
        let known = Known {
            filters,
            sees_capabilities: self.tracer.capabilities() != CapabilityProbe::None,
            root_uid,
            file: file.as_ref(),
            silent_modules: &self.silent_modules,
            security_label: security_label.as_deref(),
            descriptors_used_up,
            // Asked of the kernel only where the answer matters.
            skipped_runs: filters.is_none()
                && !event.has(flag::ENTERED)
                && self.tracer.missed().skipped_runs > 0,
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
        let capability = cause.capability.as_deref().and_then(Capability::from_name);
        let facts = remedy::Facts {
            rule: allowing.as_ref().map(|(rule, condition)| (rule, condition.as_deref())),
            file: file.as_ref(),
            root: root_uid == Some(event.fsuid),
            bounded: capability
                .is_some_and(|capability| CapabilitySet::from_bits(event.bounding).contains(capability)),
            owner,
            module: event.module,
        };
        let remedy = remedy::of(&cause, &facts);
        let errno = cause::errno(event).filter(|_| !event.has(flag::KILLED | flag::SIGSYS));
        let denial = Denial {
            boot_ns: None,
            container,
            engine,
            pid: event.pid,
            tid: event.tid,
            comm: plim_model::text::escape(&event.comm),
            arch: arch.name().to_owned(),
            syscall: name.map(str::to_owned),
            number: event.number,
            args: event.args.iter().map(|arg| format!("{arg:#x}")).collect(),
            decoded: decode::arguments(event),
            errno: errno.map(|errno| errno.to_string()),
            cause,
            remedy,
        };
        Some((denial, own))
    }
}
