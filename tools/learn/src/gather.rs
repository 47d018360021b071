//! What the kernel tells, put together as plain data.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result};
use plim_model::Capability;
use plim_seccomp::{Arch, SyscallNr, arguments, syscalls, telling};
use plim_trace::watch::{Told, Watch};

use crate::changes;
use crate::event::{Event, What, flag};
use crate::recorder::{Asked, Call, Recorder, argument_name};
use crate::recording::{
    ArgumentUse, CallUse, CapabilityUse, DeviceKey, DeviceUse, FileUse, Refused, RefusedKey, SocketKey,
    SocketUse, access, call_key, capability_key, device_key, join, refused_key, socket_key,
};

/// Records read before the thread looks whether it is to end.
const BATCH: usize = 4096;
/// Files, devices, sockets and programs that one recording holds, and the bytes of their paths; what a container makes beyond is counted
/// as missed.
const MOST_FILES: usize = 100_000;
const MOST_PATHS: usize = 32 << 20;
/// Refusals that are told apart.
const MOST_REFUSED: usize = 10_000;
/// Refusals that were judged apart whose key is kept; then all of them are forgotten.
const MOST_IDS: usize = 10_000;

/// What is gathered while it runs.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) files: BTreeMap<String, FileUse>,
    pub(crate) devices: BTreeMap<DeviceKey, DeviceUse>,
    pub(crate) sockets: BTreeMap<SocketKey, SocketUse>,
    pub(crate) privileged: BTreeSet<String>,
    pub(crate) refused: BTreeMap<RefusedKey, Refused>,
    /// The keys of refusals by [`plim_trace::watch::Told::id`].
    refused_ids: HashMap<u64, RefusedKey>,
    path_bytes: usize,
    pub(crate) left_out: u64,
    pub(crate) refusals_left_out: u64,
}

fn arch_of(flags: u32, number: u32) -> Arch {
    match (flags & flag::COMPAT != 0, number & plim_seccomp::arch::X32_SYSCALL_BIT) {
        (true, _) => Arch::X86,
        (false, 0) => Arch::X86_64,
        (false, _) => Arch::X32,
    }
}

pub(crate) fn calls(counted: Vec<Call>) -> Vec<CallUse> {
    let mut calls = Vec::new();
    let counted = counted.into_iter().map(|call| {
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

pub(crate) fn capabilities(asked: Vec<Asked>, own: u32) -> Vec<CapabilityUse> {
    let mut uses = Vec::new();
    let asked = asked.into_iter().filter_map(|asked| {
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
    pub(crate) fn files(&mut self, recorder: &mut Recorder) -> Result<usize> {
        let mut count = 0;
        while count < BATCH
            && let Some(event) = recorder.next()
        {
            count += 1;
            self.take(event.context("a record in the ring has another size")?);
        }
        Ok(count)
    }

    pub(crate) fn refusals(&mut self, watch: &mut Watch) -> Result<usize> {
        watch.drain(BATCH, |told| {
            self.refused(&told);
            Ok(())
        })
    }

    /// Detaches the tracer and takes what it told before; says what was not seen.
    pub(crate) fn last_refusals(&mut self, watch: &mut Watch) -> Result<plim_trace::missed::Missed> {
        watch.end(|told| {
            self.refused(&told);
            Ok(())
        })
    }

    fn refused(&mut self, told: &Told<'_>) {
        if let Some(known) = self.refused_ids.get(&told.id).and_then(|key| self.refused.get_mut(key)) {
            known.count += 1;
            return;
        }
        let refused = Refused { count: 1, denial: told.to_denial(false) };
        let key = refused_key(&refused);
        if let Some(known) = self.refused.get_mut(&key) {
            known.count += 1;
        } else if self.refused.len() < MOST_REFUSED {
            self.refused.insert(key.clone(), refused);
        } else {
            self.refusals_left_out += 1;
            return;
        }
        if self.refused_ids.len() >= MOST_IDS {
            self.refused_ids.clear();
        }
        self.refused_ids.insert(told.id, key);
    }

    fn take(&mut self, event: Event) {
        let held = self.files.len() + self.devices.len() + self.sockets.len() + self.privileged.len();
        if held >= MOST_FILES || self.path_bytes >= MOST_PATHS {
            self.left_out += 1;
            return;
        }
        let arch = arch_of(event.flags, event.number);
        let syscall = syscalls::name(arch, SyscallNr(event.number)).unwrap_or_default();
        match event.what {
            What::Exec => drop(self.privileged.insert(event.comm.clone())),
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
        let path_bytes = &mut self.path_bytes;
        let file = self.files.entry(event.path.clone()).or_insert_with(|| {
            *path_bytes += 2 * event.path.len();
            FileUse { path: event.path.clone(), created, calls: Vec::new(), cut: event.has(flag::CUT) }
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
        match self.devices.entry(device_key(&device)) {
            Entry::Occupied(mut known) => {
                let has = |letter| known.get().access.contains(letter) || device.access.contains(letter);
                known.get_mut().access = access(has('r'), has('w'));
            }
            Entry::Vacant(place) => {
                self.path_bytes += 2 * device.path.len();
                place.insert(device);
            }
        }
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
        match self.sockets.entry(socket_key(&socket)) {
            Entry::Occupied(mut known) => known.get_mut().listens |= socket.listens,
            Entry::Vacant(place) => {
                self.path_bytes += 2 * socket.address.len();
                place.insert(socket);
            }
        }
    }
}
