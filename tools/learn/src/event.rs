//! What the kernel's half tells of one file, device, socket or program: `bpf/record.h`.

/// Bits of `flags`: `enum seen_flag`.
pub(crate) mod flag {
    pub(crate) const COMPAT: u32 = 1 << 0;
    pub(crate) const RUNTIME: u32 = 1 << 1;
    pub(crate) const GRANTED: u32 = 1 << 2;
    pub(crate) const AS_ITSELF: u32 = 1 << 3;
    pub(crate) const CUT: u32 = 1 << 4;
    pub(crate) const CREATED: u32 = 1 << 5;
    pub(crate) const READ: u32 = 1 << 6;
    pub(crate) const WRITE: u32 = 1 << 7;
}

/// `enum what`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A file was opened.
    Open = 1,
    /// A path was made, changed or removed.
    Path = 2,
    /// A file was changed by its descriptor.
    Descriptor = 3,
    /// A socket got an address.
    Bind = 4,
    /// A socket listens.
    Listen = 5,
    /// A program that gives privileges was executed.
    Exec = 6,
}

impl What {
    fn from_number(number: u32) -> Option<What> {
        [What::Open, What::Path, What::Descriptor, What::Bind, What::Listen, What::Exec]
            .into_iter()
            .find(|what| *what as u32 == number)
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) what: What,
    pub(crate) flags: u32,
    pub(crate) number: u32,
    pub(crate) mode: u32,
    pub(crate) device: u32,
    pub(crate) family: u16,
    pub(crate) kind: u16,
    pub(crate) port: u16,
    pub(crate) address: [u8; 16],
    pub(crate) comm: String,
    /// The file's path; empty where there is none.
    pub(crate) path: String,
}

const PARTS: usize = 32;
const PART: usize = 64;
const TEXT: usize = 256;
const HEAD: usize = 72;
const SIZE: usize = HEAD + PARTS * PART + TEXT;

fn text(bytes: &[u8]) -> String {
    let length = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

impl Event {
    /// Whether a flag is set.
    pub(crate) fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Reads one record of the ring; `None` when it is not as the programs write it.
    pub(crate) fn parse(record: &[u8]) -> Option<Event> {
        if record.len() != SIZE {
            return None;
        }
        let u32_at = |at: usize| Some(u32::from_ne_bytes(*record.get(at..)?.first_chunk()?));
        let u16_at = |at: usize| Some(u16::from_ne_bytes(*record.get(at..)?.first_chunk()?));
        let count = usize::try_from(u32_at(64)?).ok()?.min(PARTS);
        // Where a mount is crossed the part is empty.
        let parts = record[HEAD..HEAD + count * PART].chunks(PART).map(text).filter(|part| !part.is_empty());
        let named = text(&record[HEAD + PARTS * PART..]);
        Some(Event {
            what: What::from_number(u32_at(0)?)?,
            flags: u32_at(4)?,
            number: u32_at(8)?,
            mode: u32_at(16)?,
            device: u32_at(20)?,
            family: u16_at(24)?,
            kind: u16_at(26)?,
            port: u16_at(30)?,
            address: *record.get(32..)?.first_chunk()?,
            comm: text(record.get(48..64)?),
            path: path(parts.rev().collect(), &named, count > 0 || !named.is_empty()),
        })
    }
}

/// The path from the root: the parts, then what was passed; an absolute text stands alone.
fn path(mut parts: Vec<String>, named: &str, is_one: bool) -> String {
    if !is_one {
        return String::new();
    }
    if named.starts_with('/') {
        parts.clear();
    }
    for part in named.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part.to_owned()),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_put_together() {
        let parts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(path(parts(&["var", "log"]), "a/../b/./c", true), "/var/log/b/c");
        assert_eq!(path(parts(&["var"]), "/etc//x/", true), "/etc/x");
        assert_eq!(path(parts(&[]), "../../x", true), "/x");
        assert_eq!(path(parts(&["a", "b"]), "", true), "/a/b");
        assert_eq!(path(parts(&[]), "", false), "");
    }

    #[test]
    fn reads_its_size_and_no_other() {
        let mut record = vec![0; SIZE];
        record[0] = 1;
        record[64] = 2;
        record[HEAD..HEAD + 4].copy_from_slice(b"file");
        record[HEAD + PART..HEAD + PART + 3].copy_from_slice(b"dir");
        assert_eq!(Event::parse(&record).map(|event| event.path).as_deref(), Some("/dir/file"));
        record[64] = 255;
        assert!(Event::parse(&record).is_some(), "a count beyond the parts is cut");
        record[0] = 9;
        assert_eq!(Event::parse(&record), None);
        assert_eq!(Event::parse(&record[1..]), None);
    }

    #[test]
    fn fuzz_events_and_documents() {
        let mut seed = vec![0; SIZE];
        seed[0] = 1;
        let target =
            plim_fuzz::Target::new("events of plim learn").seeds([seed, vec![255; SIZE]]).rounds(4_000);
        plim_fuzz::fuzz(target, |bytes| {
            let mut record = bytes.to_vec();
            record.resize(SIZE, 0);
            drop((Event::parse(bytes), Event::parse(&record)));
        });
        let seeds = [
            r#"{"format": "1.0", "workload": {"options": ["--rm"], "command": ["sh"]}, "syscalls": {"x86_64": ["read"]}}"#,
        ];
        let target = plim_fuzz::Target::new("recording, proposal")
            .seeds(seeds)
            .words(&["\"paths\":", "\"1.0\""])
            .rounds(2_000);
        plim_fuzz::fuzz(target, |bytes| {
            drop((crate::recording::Recording::parse(bytes), crate::proposal::Proposal::parse(bytes)));
            drop(crate::trial::Refusals::parse(bytes));
        });
    }
}
