//! Joins what the kernel tells with the containers, filters, rules and files it is about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plim_model::{Capability, CapabilitySet, Observed};
use plim_observe::Selected;
use plim_seccomp::bpf::Program;

use crate::cause::{self, Kind, Known};
use crate::denial::Denial;
use crate::event::{self, Event, flag};
use crate::judgements::Judgements;
use crate::lines::Lines;
use crate::look::Looker;
use crate::missed::{Missed, Unseen};
use crate::programs::Probes;
use crate::target::{self, Target};
use crate::tracer::{CapabilityProbe, Scope, Tracer};
use crate::{decode, identity, object, remedy, rule};

/// After so many events without a pause others are let gather for a while: a look for one costs more than the event. A container that
/// makes two million refused calls a second fills an eightieth of the ring meanwhile.
const CROWD: usize = 256;
const GATHER: Duration = Duration::from_micros(500);
/// How long calls are judged before the caller gets a turn.
const SLICE: Duration = Duration::from_millis(10);
/// Events handed out at the end before the clock is looked at.
const BATCH: usize = 4096;
/// How long what was told before the end is judged; the rest counts as lost.
const LAST: Duration = Duration::from_secs(5);
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
    /// The target, in the order in which they were added.
    pub slot: u32,
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

/// A tracer and what is known of its targets.
pub struct Watch {
    tracer: Tracer,
    looker: Looker,
    targets: Vec<Target>,
    silent_modules: Vec<String>,
    judgements: Judgements,
    /// Records that have to be judged.
    lines: Lines,
    /// Records of each target that were not judged before the end.
    given_up: Vec<u64>,
    /// Skipped runs of the programs, and when they were counted (CLOCK_BOOTTIME).
    skipped_runs: (u64, u64),
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
    pub fn for_causes(wanted: &[Kind], confine: Option<fn()>) -> Result<Watch> {
        if !wanted.is_empty()
            && wanted.iter().all(|kind| *kind == Kind::Seccomp)
            && Probes::exact() == Ok(Probes::Raw)
            && let Ok(watch) = Watch::confined(Scope::Filters, confine)
        {
            return Ok(watch);
        }
        Watch::confined(Scope::Everything, confine)
    }

    /// Loads the tracer.
    ///
    /// # Errors
    /// [`crate::tracer::TracerError`].
    pub fn new(scope: Scope) -> Result<Watch> {
        Watch::confined(scope, None)
    }

    /// The same, where the process that looks at files calls `confine` before its first look.
    ///
    /// # Errors
    /// As [`Watch::new`].
    pub fn confined(scope: Scope, confine: Option<fn()>) -> Result<Watch> {
        let modules = match plim_observe::security_modules() {
            Observed::Present(modules) => modules,
            Observed::Absent | Observed::Unknown(_) => Vec::new(),
        };
        // Before the tracer's types and maps are in memory.
        let looker = Looker::start(confine)?;
        let tracer = Tracer::load(scope, &modules)?;
        let silent_modules = modules.into_iter().filter(|module| SILENT.contains(&module.as_str())).collect();
        Ok(Watch {
            tracer,
            looker,
            targets: Vec::new(),
            silent_modules,
            judgements: Judgements::default(),
            lines: Lines::default(),
            given_up: Vec::new(),
            skipped_runs: (0, 0),
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
        self.given_up.push(0);
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
        if !self.lines.are_empty() {
            return;
        }
        if read == 0 {
            self.tracer.wait(timeout);
        } else if read == most || self.crowd < CROWD {
            return;
        } else {
            std::thread::sleep(GATHER.min(timeout));
        }
        self.crowd = 0;
    }

    /// Hands out the denials that are there now, `most` at most, and returns after some 10 ms where they take longer. Returns how many
    /// events were read or judged; 0 when there is none.
    ///
    /// A call that was judged within the last second is not judged again: a flood of refusals is mostly one call. The others wait
    /// until it is their target's turn.
    ///
    /// # Errors
    /// The ring holds something else, or `tell` fails.
    pub fn drain(&mut self, most: usize, mut tell: impl FnMut(Told<'_>) -> Result<()>) -> Result<usize> {
        let began = Instant::now();
        self.judgements.begin();
        let mut count = 0;
        while count < most {
            let (judgements, lines) = (&mut self.judgements, &mut self.lines);
            let read = self.tracer.next_record(|record| {
                let slot = event::target(record).filter(|_| event::is_record(record))?;
                let known = if lines.is_empty(slot) { judgements.find(record, began) } else { None };
                if known.is_none() {
                    lines.push(slot, Box::from(record));
                }
                Some((slot, record.len(), known.map(|(id, denial)| (id, denial, event::task(record)))))
            });
            let Some(read) = read else { break };
            count += 1;
            let (slot, length, known) = read.context("a record in the ring has another size")?;
            let Some((id, denial, (boot_ns, pid, tid))) = known else { continue };
            self.tracer.settle(slot, length)?;
            if let Some(denial) = denial {
                tell(Told { denial: &denial, id, slot, boot_ns, pid, tid })?;
            }
        }
        while let Some((slot, record)) = self.lines.pop() {
            count += 1;
            self.tracer.settle(slot, record.len())?;
            let (boot_ns, pid, tid) = event::task(&record);
            let (id, denial) = self.judge(&record, began)?;
            if let Some(denial) = denial {
                tell(Told { denial: &denial, id, slot, boot_ns, pid, tid })?;
            }
            if began.elapsed() > SLICE {
                break;
            }
        }
        Ok(count)
    }

    /// What is known of the same call, or else what is found of this one.
    fn judge(&mut self, record: &[u8], now: Instant) -> Result<(u64, Option<Arc<Denial>>)> {
        if let Some(known) = self.judgements.find(record, now) {
            return Ok(known);
        }
        let event = Event::parse(record).context("a record in the ring has another size")?;
        let (denial, by_process) = self.denial(&event);
        let denial = denial.map(Arc::new);
        Ok((self.judgements.keep(record, by_process, denial.clone(), now), denial))
    }

    /// What was not seen so far.
    ///
    /// # Errors
    /// The programs' counts cannot be read.
    pub fn missed(&mut self) -> Result<Missed> {
        self.count_skipped_runs(u64::MAX);
        let counts = self.tracer.counts()?;
        let targets =
            self.targets.iter().zip(counts).zip(&self.given_up).map(|((target, counts), given_up)| Unseen {
                container: target.container.clone(),
                engine: target.engine.clone(),
                lost: counts.lost + given_up,
                left_out: 0,
                ring_operations: counts.ring_operations,
            });
        Ok(Missed {
            targets: targets.collect(),
            skipped_runs: self.skipped_runs.0,
            remedy: self.tracer.remedy(),
            unlooked: self.looker.unlooked,
            filters_alone: self.scope() == Scope::Filters,
            rings_hidden: self.tracer.hides_rings(),
        })
    }

    /// Detaches the tracer, hands out what it told before, and says what was not seen. What cannot be judged in some seconds counts
    /// as lost.
    ///
    /// # Errors
    /// As for [`Watch::drain`] and [`Watch::missed`].
    pub fn end(&mut self, mut tell: impl FnMut(Told<'_>) -> Result<()>) -> Result<Missed> {
        // They are counted while the programs are attached.
        self.count_skipped_runs(u64::MAX);
        self.tracer.detach();
        let began = Instant::now();
        while self.drain(BATCH, &mut tell)? > 0 {
            if began.elapsed() < LAST {
                continue;
            }
            while let Some(slot) = self.tracer.next_record(event::target) {
                self.give_up(slot);
            }
            while let Some((slot, _)) = self.lines.pop() {
                self.give_up(Some(slot));
            }
        }
        self.missed()
    }

    fn give_up(&mut self, slot: Option<u32>) {
        let at = slot.and_then(|slot| usize::try_from(slot).ok());
        if let Some(count) = at.and_then(|at| self.given_up.get_mut(at)) {
            *count += 1;
        }
    }

    /// Counts the runs that the kernel skipped, where that was not done since `boot_ns`: it takes longer than to judge a call.
    fn count_skipped_runs(&mut self, boot_ns: u64) -> u64 {
        if self.skipped_runs.1 < boot_ns {
            let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
            let now = now.map_or(0, |time| Duration::from(time).as_nanos());
            let counted = self.tracer.skipped_runs().max(self.skipped_runs.0);
            self.skipped_runs = (counted, u64::try_from(now).unwrap_or_default());
        }
        self.skipped_runs.0
    }

    /// The denial, `None` where it is not one; and whether that depends on what the process has for itself (its files, its limits).
    fn denial(&mut self, event: &Event) -> (Option<Denial>, bool) {
        // Errors that a file can explain.
        let explains = event.has(flag::ENTERED) && matches!(event.ret, -1 | -13 | -30);
        let about_file = explains && !object::of(event).is_empty();
        // So, too, where nothing could be found of this process any more: of another one something may be.
        let by_process = about_file || event.ret == -24 || event.module.is_some();
        (self.denial_of(event, about_file), by_process)
    }

    fn denial_of(&mut self, event: &Event, about_file: bool) -> Option<Denial> {
        // Asked of the kernel only where the answer matters.
        let skipped_runs = !event.has(flag::ENTERED) && {
            let target = self.targets.get_mut(usize::try_from(event.target).ok()?)?;
            target.filters(event).is_none() && self.count_skipped_runs(event.boot_ns) > 0
        };
        let target = self.targets.get_mut(usize::try_from(event.target).ok()?)?;
        if event.has(flag::ARRIVED) {
            target.filters(event);
            return None;
        }
        let file = if about_file { target.file(event, &mut self.looker) } else { None };
        let root_uid = target.root_uid(event);
        let owner = file.as_ref().and_then(|file| target.owner(event, file));
        let descriptors_used_up =
            if event.ret == -24 { target::descriptors_used_up(event.pid) } else { None };
        let security_label = event.module.and_then(|module| target::security_label(event.pid, module));
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
            skipped_runs,
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
            if let (Some(seccomp), Some(action)) = (seccomp.as_deref(), action)
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
        Some(Denial {
            boot_ns: None,
            container,
            engine,
            pid: event.pid,
            tid: event.tid,
            comm: event.comm.clone(),
            arch: arch.name().to_owned(),
            syscall: name.map(str::to_owned),
            number: event.number,
            args: event.args.iter().map(|arg| format!("{arg:#x}")).collect(),
            decoded: decode::arguments(event),
            errno: errno.map(|errno| errno.to_string()),
            cause,
            remedy,
        })
    }
}
