//! What the kernel's half tells of one call: `bpf/event.h`.

use plim_model::Capability;
use plim_seccomp::bpf::Program;

/// Bits of [`Event::flags`]: `enum event_flag`.
pub mod flag {
    #![allow(missing_docs, reason = "the names and their meaning are those of bpf/event.h")]
    pub const ENTERED: u32 = 1 << 0;
    pub const COMPAT: u32 = 1 << 1;
    pub const ALWAYS_ALLOWED: u32 = 1 << 2;
    pub const BITMAP: u32 = 1 << 3;
    pub const STALE: u32 = 1 << 4;
    pub const PTRACED: u32 = 1 << 5;
    pub const OLDER: u32 = 1 << 6;
    pub const SIGSYS: u32 = 1 << 7;
    pub const KILLED: u32 = 1 << 8;
    pub const TEXTS: u32 = 1 << 9;
    pub const NO_NEW_PRIVS: u32 = 1 << 11;
    pub const XFSZ: u32 = 1 << 12;
    pub const ARRIVED: u32 = 1 << 13;
}

/// One capability that was asked for inside the call and not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Which.
    pub capability: Capability,
    /// With the credentials of the task itself, not of somebody for whom it acts (the mounter of an overlay).
    pub as_itself: bool,
    /// Without meaning to refuse (CAP_OPT_NOAUDIT).
    pub quietly: bool,
    /// The user namespace in which it was asked for: inode.
    pub user_namespace: u32,
}

/// One call at its exit, or the death of a task by a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When: nanoseconds since boot (CLOCK_BOOTTIME).
    pub boot_ns: u64,
    /// What the call returned.
    pub ret: i64,
    /// Where it was made.
    pub ip: u64,
    /// Its arguments; 32 bits each under [`flag::COMPAT`].
    pub args: [u64; 6],
    /// Of all its filters ([`digest`]); 0 for a call that was entered, and where the kernel does not keep them.
    pub digest: u64,
    /// The effective capabilities, as bits.
    pub effective: u64,
    /// The bounding set, as bits.
    pub bounding: u64,
    /// The system call's number.
    pub number: u32,
    /// See [`flag`].
    pub flags: u32,
    /// The slot of the target.
    pub target: u32,
    /// The process, as the first pid namespace numbers it.
    pub pid: i32,
    /// The thread.
    pub tid: i32,
    /// How many filters the task has.
    pub filters: u32,
    /// The user namespace of its credentials: inode.
    pub user_namespace: u32,
    /// Its user for file access, in the first user namespace.
    pub fsuid: u32,
    /// Its group for file access.
    pub fsgid: u32,
    /// Refused capabilities in the order they were asked for; of many the last four.
    pub asked: Vec<Asked>,
    /// `comm`, as the task set it.
    pub comm: String,
    /// The process that is its parent.
    pub parent: i32,
    /// The security module that refused, where that is seen.
    pub module: Option<&'static str>,
    /// The first arguments that are strings, as they were at the exit; 255 bytes of each.
    pub texts: Vec<String>,
}

/// The digest of a stack of filters, oldest first, as the programs make it: it stands for what they say, whoever stands on them.
pub fn digest(filters: &[Program]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let words = filters.iter().rev().flat_map(|program| {
        let bytes = program.to_bytes();
        let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        words
    });
    words.fold(BASIS, |digest, word| (digest ^ word).wrapping_mul(PRIME))
}

/// Writes to `key` what decides how a record is judged: equal for the same call made again, whatever the time and the task. Bytes that
/// mean nothing are left out (behind the NUL of a text, beyond the capabilities that were asked for): they are what lay there before.
/// Empty for what [`is_record`] does not hold of.
pub fn write_key(record: &[u8], key: &mut Vec<u8>) {
    key.clear();
    if !is_record(record) {
        return;
    }
    let (fixed, texts) = record.split_at(SIZE);
    key.extend_from_slice(fixed);
    let count = u32::from_ne_bytes(fixed[ASKED_COUNT..ASKED_AT].try_into().unwrap_or_default());
    let asked = ASKED.min(usize::try_from(count).unwrap_or(ASKED));
    for unread in [0..8, PID..PID + 8, ASKED_AT + ASKED_SIZE * asked..COMM, PARENT..PARENT + 4] {
        key[unread].fill(0);
    }
    let comm = end(&fixed[COMM..PARENT]);
    key[COMM + comm..PARENT].fill(0);
    for text in texts.chunks(TEXT) {
        // With the NUL, or cut without one: no two different lists of texts look the same.
        key.extend_from_slice(&text[..TEXT.min(end(text) + 1)]);
    }
}

/// Whether a record has one of the sizes that the programs write.
pub fn is_record(record: &[u8]) -> bool {
    record.len() == SIZE || record.len() == SIZE + TEXTS * TEXT
}

/// The slot of a record's target; `None` for one that is too short.
pub fn target(record: &[u8]) -> Option<u32> {
    record.get(TARGET..TARGET + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes)
}

/// The time, process and thread of a record; zeroes for one that is too short.
pub fn task(record: &[u8]) -> (u64, i32, i32) {
    let word = |at: usize| {
        record.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes)
    };
    let boot_ns = record.first_chunk::<8>().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    (boot_ns, word(PID), word(PID + 4))
}

/// Where fields stand in a record: the slot, the process and the thread, the capabilities, the name, the parent.
const TARGET: usize = 104;
const PID: usize = 108;
const ASKED_COUNT: usize = 132;
const ASKED_AT: usize = 136;
const COMM: usize = 168;
const PARENT: usize = 184;
pub(crate) const SIZE: usize = 192;
const TEXTS: usize = 3;
const TEXT: usize = 256;
const ASKED: usize = 4;
const ASKED_SIZE: usize = 8;

/// `enum module`, from 1 on. The programs behind its functions and tracepoints begin with a module's name.
pub const MODULES: [&str; 3] = ["landlock", "apparmor", "selinux"];

/// Reads the fields one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }
    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_ne_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_ne_bytes)
    }
}

/// The length of a text that ends with a NUL, or with its room.
fn end(text: &[u8]) -> usize {
    text.iter().position(|byte| *byte == 0).unwrap_or(text.len())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..end(bytes)]).into_owned()
}

impl Event {
    /// Whether a flag is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Reads one record of the ring; `None` when it has another size than the programs write.
    pub fn parse(record: &[u8]) -> Option<Event> {
        if !is_record(record) {
            return None;
        }
        let mut fields = Fields(record);
        let boot_ns = fields.u64()?;
        let ret = fields.u64()?.cast_signed();
        let ip = fields.u64()?;
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = fields.u64()?;
        }
        let (digest, effective, bounding) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (number, flags, target) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (pid, tid) = (fields.u32()?.cast_signed(), fields.u32()?.cast_signed());
        let (filters, user_namespace) = (fields.u32()?, fields.u32()?);
        let (fsuid, fsgid) = (fields.u32()?, fields.u32()?);
        let count = usize::try_from(fields.u32()?).ok()?;
        let mut ring = Vec::new();
        for _ in 0..ASKED {
            let [capability, bits, _, _] = fields.bytes()?;
            let user_namespace = fields.u32()?;
            ring.push((capability, bits, user_namespace));
        }
        // Entry n lies at n modulo 4: of many the last four are there.
        let asked = (count.saturating_sub(ASKED)..count)
            .filter_map(|at| {
                let (capability, bits, user_namespace) = ring[at % ASKED];
                Some(Asked {
                    capability: Capability::from_number(capability)?,
                    as_itself: bits & 1 != 0,
                    quietly: bits & 2 != 0,
                    user_namespace,
                })
            })
            .collect();
        let comm = text(&fields.bytes::<16>()?);
        let parent = fields.u32()?.cast_signed();
        let module = usize::try_from(fields.u32()?).ok()?;
        let module = module.checked_sub(1).and_then(|at| MODULES.get(at).copied());
        let texts = match flags & flag::TEXTS {
            0 => Vec::new(),
            _ => fields.0.chunks(TEXT).map(text).collect(),
        };
        Some(Event {
            boot_ns,
            ret,
            ip,
            args,
            digest,
            effective,
            bounding,
            number,
            flags,
            target,
            pid,
            tid,
            filters,
            user_namespace,
            fsuid,
            fsgid,
            asked,
            comm,
            parent,
            module,
            texts,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(record: &[u8]) -> Vec<u8> {
        let mut key = vec![1];
        write_key(record, &mut key);
        assert!(is_record(record) && key.len() >= SIZE, "its size");
        key
    }

    /// A record with no byte 0 and four capabilities, with texts or without.
    fn record(size: usize) -> Vec<u8> {
        let mut record: Vec<u8> = (0..size).map(|at| u8::try_from(at % 250 + 1).expect("small")).collect();
        record[ASKED_COUNT..ASKED_AT].copy_from_slice(&4u32.to_ne_bytes());
        record
    }

    #[test]
    fn a_key_leaves_out_the_time_and_the_task() {
        let mut record = record(SIZE);
        let first = key(&record);
        let event = Event::parse(&record).expect("its size");
        assert_eq!(task(&record), (event.boot_ns, event.pid, event.tid));
        assert_eq!(target(&record), Some(event.target));
        record[..8].fill(9);
        record[PID..PID + 8].fill(9);
        record[PARENT..PARENT + 4].fill(9);
        assert!(key(&record) == first);
        for at in [8, TARGET, PID - 1, PID + 8, COMM, PARENT - 1, SIZE - 1] {
            let mut other = record.clone();
            other[at] ^= 1;
            assert!(key(&other) != first, "byte {at}");
        }
        assert!(!is_record(&record[1..]));
    }

    #[test]
    fn a_key_leaves_out_what_means_nothing() {
        let mut record = record(SIZE + TEXTS * TEXT);
        record[ASKED_COUNT..ASKED_AT].copy_from_slice(&1u32.to_ne_bytes());
        record[COMM + 3] = 0;
        for at in 0..TEXTS {
            record[SIZE + TEXT * at + 5] = 0;
        }
        let first = key(&record);
        let mut again = record.clone();
        again[ASKED_AT + ASKED_SIZE..COMM].fill(7);
        again[COMM + 4..PARENT].fill(7);
        for at in 0..TEXTS {
            again[SIZE + TEXT * at + 6..SIZE + TEXT * (at + 1)].fill(7);
        }
        assert_eq!(key(&again), first);
        // Events that differ have keys that differ, and no others.
        let without_task = |record: &[u8]| {
            let event = Event::parse(record).expect("its size");
            Event { boot_ns: 0, pid: 0, tid: 0, parent: 0, ..event }
        };
        assert_eq!(without_task(&again), without_task(&record));
        for at in [
            ASKED_AT,
            ASKED_AT + ASKED_SIZE - 1,
            COMM + 2,
            SIZE,
            SIZE + 4,
            SIZE + TEXT + 5,
            SIZE + 2 * TEXT + 1,
        ] {
            let mut other = again.clone();
            other[at] ^= 0x40;
            assert!(key(&other) != first, "byte {at}");
        }
        // A text that has no room for its NUL, and the next one.
        let (mut long, mut short) = (record.clone(), record);
        long[SIZE + 5] = 1;
        short[SIZE + TEXT - 1] = 0;
        short[SIZE + 5] = 1;
        assert!(key(&long) != key(&short));
    }

    #[test]
    fn reads_its_size_and_no_other() {
        let mut record = vec![0; SIZE];
        // asked_count 5: entries 1 to 4, of which number 4 lies at index 0.
        record[132..136].copy_from_slice(&5u32.to_ne_bytes());
        for (at, capability) in [(136, 4), (144, 1), (152, 2), (160, 3)] {
            record[at] = capability;
            record[at + 1] = 1;
        }
        record[168..172].copy_from_slice(b"sh\0x");
        let event = Event::parse(&record).expect("its size");
        let asked: Vec<u8> = event.asked.iter().map(|asked| asked.capability.number()).collect();
        assert_eq!((asked, event.comm.as_str()), (vec![1, 2, 3, 4], "sh"));
        assert!(event.asked.iter().all(|asked| asked.as_itself && !asked.quietly));
        for size in [0, SIZE - 1, SIZE + 1, SIZE + 255, SIZE + 769] {
            assert_eq!(Event::parse(&vec![0; size]), None);
        }
    }

    #[test]
    fn fuzz_events() {
        let events = plim_fuzz::Target::new("events of plim trace")
            .seeds([vec![0; SIZE], vec![255; SIZE]])
            .rounds(4_000);
        plim_fuzz::fuzz(events, |bytes| {
            let mut key = Vec::new();
            // As it came, and in each size that the programs write.
            for size in [bytes.len(), SIZE, SIZE + TEXTS * TEXT] {
                let mut record = bytes.to_vec();
                record.resize(size, 0);
                write_key(&record, &mut key);
                let _ = (target(&record), task(&record));
                if let Some(event) = Event::parse(&record) {
                    crate::decode::arguments(&event);
                }
            }
        });
    }
}
