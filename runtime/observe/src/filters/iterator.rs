//! Filters by a BPF task iterator (Linux 5.8), which stops nothing: `bpf/filters.bpf.c`.
//!
//! It is loaded once in a process, at first use (some 10 ms), and asked as often as needed (tens of µs). What stands in its way
//! is kept as a sentence, so that a fallback can say why it is one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use aya::Ebpf;
use aya::maps::{HashMap, MapData, RingBuf};
use aya::programs::Iter;
use nix::errno::Errno;
use plim_model::Observed;
use plim_model::capability::Capability;
use plim_model::parse::status;
use plim_seccomp::bpf::{INSN_SIZE, Insn, Program};

use super::Installed;
use crate::bpf::{self, LoadError};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/filters.o"));
/// Tasks asked for in one pass: the entries of the map `wanted`.
const BATCH: usize = 16_384;
/// A task that installs filters all the time is given up after as many passes.
const PASSES: usize = 8;
/// `PROC_PID_INIT_INO` (include/linux/proc_ns.h): the inode of the first pid namespace.
const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";

// enum status of filters.bpf.c
const READ: u32 = 0;
const NO_ROOM: u32 = 1;
const CHANGED: u32 = 2;
const NO_ORIGINAL: u32 = 3;
const MANY: u32 = 4;

/// What the iterator says of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its filters, oldest first, a number for the stack, and the process it is a thread of.
    Filters { process: i32, stack: u64, filters: Vec<Installed> },
    /// This task's filters cannot be had this way.
    Not(String),
}

/// Why the iterator cannot be used at all, as a sentence.
pub(super) type Unavailable = String;

struct Reader {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    wanted: HashMap<MapData, u32, u32>,
}

static READER: Mutex<Option<Result<Reader, Unavailable>>> = Mutex::new(None);

/// Reads the filters of each task. A task that is not in the answer has ended.
pub(super) fn read(tids: &[i32]) -> Result<BTreeMap<i32, Answer>, Unavailable> {
    may_read()?;
    let mut reader = READER.lock().unwrap_or_else(PoisonError::into_inner);
    match reader.get_or_insert_with(Reader::load) {
        Err(why) => Err(why.clone()),
        Ok(reader) => {
            let mut answers = BTreeMap::new();
            for batch in tids.chunks(BATCH) {
                reader.read_batch(batch, &mut answers)?;
            }
            Ok(answers)
        }
    }
}

/// The capabilities are looked at for each reading, as the calling thread may have given them up since the program was
/// loaded; and a reader in another pid namespace knows the tasks by other numbers.
fn may_read() -> Result<(), Unavailable> {
    let own = std::fs::read_to_string("/proc/thread-self/status")
        .map_err(|error| format!("read /proc/thread-self/status: {error}"))?;
    let own = status::parse(&own).map_err(|error| error.to_string())?.capabilities.effective;
    let lacks = |name: &&str| !Capability::from_name(name).is_some_and(|capability| own.contains(capability));
    let missing: Vec<&str> = ["CAP_BPF", "CAP_PERFMON"].into_iter().filter(lacks).collect();
    if !missing.is_empty() && lacks(&"CAP_SYS_ADMIN") {
        return Err(format!("needs {}", missing.join(" and ")));
    }
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    match namespace.map(|link| link.to_string_lossy().into_owned()) {
        Ok(link) if link == FIRST_PID_NAMESPACE => Ok(()),
        Ok(link) => Err(format!("the reader is in {link}, not in the first pid namespace")),
        Err(error) => Err(format!("readlink /proc/self/ns/pid: {error}")),
    }
}

impl Reader {
    fn load() -> Result<Reader, Unavailable> {
        let loaded = bpf::load(OBJECT, |mut ebpf, types| {
            let program = iterator(&mut ebpf)?;
            program.load("task", types).map_err(|error| format!("load the program: {}", sentence(&error)))?;
            Ok::<_, Unavailable>(ebpf)
        });
        let mut ebpf = loaded.map_err(|error| match error {
            LoadError::NoTypes(_) => error.to_string(),
            LoadError::Maps(error) => format!("make the maps: {}", sentence(&error)),
        })??;
        let missing = |name: &str| format!("the object has no map {name}");
        let ring = ebpf.take_map("ring").ok_or_else(|| missing("ring"))?;
        let ring = RingBuf::try_from(ring).map_err(|error| sentence(&error))?;
        let wanted = ebpf.take_map("wanted").ok_or_else(|| missing("wanted"))?;
        let wanted = HashMap::try_from(wanted).map_err(|error| sentence(&error))?;
        Ok(Reader { ebpf, ring, wanted })
    }

    fn read_batch(&mut self, tids: &[i32], answers: &mut BTreeMap<i32, Answer>) -> Result<(), Unavailable> {
        let mut left: Vec<u32> = tids.iter().filter_map(|tid| u32::try_from(*tid).ok()).collect();
        let mut passes = 0;
        while !left.is_empty() {
            let told = self.pass(&left)?;
            let before = left.len();
            let mut again = Vec::new();
            let mut changed = false;
            for (told, filters) in told {
                let answer = match (told.status, filters) {
                    (READ, Some(filters)) => Answer::Filters {
                        process: told.process.cast_signed(),
                        stack: told.newest,
                        filters: filters?,
                    },
                    (NO_ROOM, _) => {
                        again.push(told.tid);
                        continue;
                    }
                    (CHANGED, _) => {
                        again.push(told.tid);
                        changed = true;
                        continue;
                    }
                    (NO_ORIGINAL, _) => {
                        return Err(
                            "the kernel keeps no programs; needs CONFIG_CHECKPOINT_RESTORE".to_owned()
                        );
                    }
                    (MANY, _) => Answer::Not(format!("more than the {} filters that it walks", told.filters)),
                    (status, _) => Answer::Not(format!("status {status} where the filters were expected")),
                };
                answers.insert(told.tid.cast_signed(), answer);
            }
            // Those that were not told have ended. One that ends just now shows as changed until it is gone.
            left = again;
            passes += usize::from(changed || left.len() == before);
            if passes >= PASSES {
                for tid in left.drain(..) {
                    let why = format!("it changed in each of {PASSES} passes");
                    answers.insert(tid.cast_signed(), Answer::Not(why));
                }
            }
        }
        Ok(())
    }

    /// One walk over all tasks: what each wanted one is told as, and its filters oldest first where they were read.
    #[allow(clippy::type_complexity, reason = "the parts are taken apart at the one place that calls it")]
    fn pass(
        &mut self,
        tids: &[u32],
    ) -> Result<Vec<(Told, Option<Result<Vec<Installed>, Unavailable>>)>, Unavailable> {
        for tid in tids {
            self.wanted
                .insert(tid, 1, 0)
                .map_err(|error| format!("name a task to the program: {}", sentence(&error)))?;
        }
        let bytes = self.walk();
        for tid in tids {
            // Each was put in above; one that stayed would only be told without having been asked for.
            let _ = self.wanted.remove(tid);
        }
        let mut read: BTreeMap<u32, Vec<Head>> = BTreeMap::new();
        while let Some(record) = self.ring.next() {
            let head = Head::parse(&record).ok_or("a filter's record is cut off")?;
            read.entry(head.attempt).or_default().push(head);
        }
        let bytes = bytes?;
        let (records, rest) = bytes.as_chunks::<{ Told::SIZE }>();
        if !rest.is_empty() {
            return Err(format!("the last record has {} bytes, expected {}", rest.len(), Told::SIZE));
        }
        Ok(records
            .iter()
            .map(|record| {
                let told = Told::parse(record);
                let mut heads = read.remove(&told.attempt).unwrap_or_default();
                // The kernel chains them newest first.
                heads.reverse();
                let complete = usize::try_from(told.filters).is_ok_and(|filters| filters == heads.len());
                let filters = complete.then(|| heads.into_iter().map(Head::into_installed).collect());
                (told, filters)
            })
            .collect())
    }

    fn walk(&mut self) -> Result<Vec<u8>, Unavailable> {
        let program = iterator(&mut self.ebpf)?;
        let mut file: File = program
            .attach()
            .and_then(|link| program.take_link(link))
            .map_err(|error| format!("attach the program: {}", sentence(&error)))?
            .into_file()
            .map_err(|error| format!("open the iterator: {}", sentence(&error)))?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(bytes),
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                // EAGAIN: a million tasks were walked and none was wanted; it goes on where it is.
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN | Errno::EINTR) => {}
                    _ => return Err(format!("read the iterator: {error}")),
                },
            }
        }
    }
}

fn iterator(ebpf: &mut Ebpf) -> Result<&mut Iter, Unavailable> {
    ebpf.program_mut("filters")
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| "the object has no iterator called filters".to_owned())
}

/// `struct told` of filters.bpf.c.
struct Told {
    tid: u32,
    process: u32,
    attempt: u32,
    status: u32,
    filters: u32,
    newest: u64,
}

impl Told {
    const SIZE: usize = 32;

    fn parse(record: &[u8; Told::SIZE]) -> Told {
        let (words, _) = record.as_chunks::<4>();
        let word = |at: usize| u32::from_ne_bytes(words[at]);
        let (_, longs) = record.split_at(24);
        let newest = longs.try_into().map_or(0, u64::from_ne_bytes);
        Told { tid: word(0), process: word(1), attempt: word(2), status: word(3), filters: word(4), newest }
    }
}

/// `struct head` of filters.bpf.c and the instructions behind it.
struct Head {
    attempt: u32,
    log: bool,
    instructions: Vec<u8>,
}

impl Head {
    const SIZE: usize = 16;

    fn parse(record: &[u8]) -> Option<Head> {
        let (head, instructions) = record.split_first_chunk::<{ Head::SIZE }>()?;
        let (words, _) = head.as_chunks::<4>();
        let word = |at: usize| u32::from_ne_bytes(words[at]);
        let length = usize::try_from(word(1)).ok()?.checked_mul(INSN_SIZE)?;
        Some(Head { attempt: word(0), log: word(2) != 0, instructions: instructions.get(..length)?.to_vec() })
    }

    fn into_installed(self) -> Result<Installed, Unavailable> {
        let (chunks, _) = self.instructions.as_chunks::<INSN_SIZE>();
        let instructions = chunks
            .iter()
            .map(|b| Insn {
                code: u16::from_ne_bytes([b[0], b[1]]),
                jt: b[2],
                jf: b[3],
                k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
            })
            .collect();
        Program::from_instructions(instructions)
            .map(|program| Installed { program, log: Observed::Present(self.log) })
            .map_err(|error| format!("the installed filter is not a program that the kernel takes: {error}"))
    }
}

/// An error with its causes; of a verifier's log the end alone, where it says what it objects to.
fn sentence(error: &dyn std::error::Error) -> String {
    const LONGEST: usize = 400;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.contains(&own) {
            text = format!("{text}: {own}");
        }
        cause = error.source();
    }
    let text: Vec<char> = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
    match text.len() {
        0..=LONGEST => text.into_iter().collect(),
        long => format!("… {}", text[long - LONGEST..].iter().collect::<String>()),
    }
}
