//! `/proc/PID/status` (proc_pid_status(5)).

use super::{ParseError, number, numbered};
use crate::{CapabilitySet, CapabilitySets};

/// The fields of `/proc/PID/status` that say how a thread is confined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `Name:` as the kernel escapes it (`\n` and `\\`); set by the process itself, so no proof of anything.
    pub name: String,
    /// `Tgid:`, the process id in the reader's pid namespace.
    pub tgid: i32,
    /// `Pid:`, the thread id in the reader's pid namespace.
    pub pid: i32,
    /// `PPid:`, 0 when the parent is outside the reader's pid namespace.
    pub ppid: i32,
    /// `TracerPid:`, 0 when nobody traces it.
    pub tracer_pid: i32,
    /// `NSpid:`, from the reader's pid namespace inward; empty before Linux 4.1.
    pub ns_pid: Vec<i32>,
    /// `Uid:` real, effective, saved, file system.
    pub uid: [u32; 4],
    /// `Gid:` real, effective, saved, file system.
    pub gid: [u32; 4],
    /// `Groups:`, sorted.
    pub groups: Vec<u32>,
    /// `Threads:`.
    pub threads: u32,
    /// `CapInh:` to `CapAmb:`; the ambient set is empty before Linux 4.3, where there is none.
    pub capabilities: CapabilitySets,
    /// `NoNewPrivs:` (Linux 4.10).
    pub no_new_privs: Option<bool>,
    /// `Seccomp:` (Linux 3.8; absent without CONFIG_SECCOMP).
    pub seccomp_mode: Option<u32>,
    /// `Seccomp_filters:` (Linux 5.9).
    pub seccomp_filters: Option<u32>,
}

/// Reads the whole file. Fields that are not about confinement are passed over.
///
/// # Errors
/// A field that does not have its documented shape, a field twice, or a mandatory field that is not there
/// (`Name`, `Tgid`, `Pid`, `PPid`, `Uid`, `Gid`, and the four capability sets that every supported kernel has).
///
/// ```
/// let text = "Name:\tsh\nTgid:\t7\nPid:\t7\nPPid:\t1\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nThreads:\t1\n\
///             CapInh:\t0\nCapPrm:\t2000\nCapEff:\t2000\nCapBnd:\t2000\nNoNewPrivs:\t1\n";
/// let status = plim_model::parse::status::parse(text)?;
/// assert_eq!(status.capabilities.effective.names(), ["CAP_NET_RAW"]);
/// assert_eq!((status.no_new_privs, status.seccomp_mode), (Some(true), None));
/// # Ok::<(), plim_model::parse::ParseError>(())
/// ```
pub fn parse(text: &str) -> Result<Status, ParseError> {
    let mut status = Status::default();
    let mut seen: Vec<&str> = Vec::new();
    let mut last_line = 1;
    for (line, content) in numbered(text) {
        last_line = line;
        let Some((key, value)) = content.split_once(':') else {
            return Err(ParseError::new(line, content, "a line `Field:\\tvalue`"));
        };
        let value = value.trim();
        let known = match key {
            // Only the separating tab is taken off: spaces belong to the name.
            "Name" => {
                let raw = &content["Name:".len()..];
                status.name = raw.strip_prefix('\t').unwrap_or(raw).to_owned();
                true
            }
            "Tgid" => set(&mut status.tgid, line, value, "a process id")?,
            "Pid" => set(&mut status.pid, line, value, "a thread id")?,
            "PPid" => set(&mut status.ppid, line, value, "a process id")?,
            "TracerPid" => set(&mut status.tracer_pid, line, value, "a process id")?,
            "Threads" => set(&mut status.threads, line, value, "a number of threads")?,
            "NSpid" => {
                status.ns_pid = list(line, value, "process ids")?;
                true
            }
            "Uid" => {
                status.uid = four_ids(line, value)?;
                true
            }
            "Gid" => {
                status.gid = four_ids(line, value)?;
                true
            }
            "Groups" => {
                status.groups = list(line, value, "group ids")?;
                status.groups.sort_unstable();
                true
            }
            "CapInh" => set_capabilities(&mut status.capabilities.inheritable, line, value)?,
            "CapPrm" => set_capabilities(&mut status.capabilities.permitted, line, value)?,
            "CapEff" => set_capabilities(&mut status.capabilities.effective, line, value)?,
            "CapBnd" => set_capabilities(&mut status.capabilities.bounding, line, value)?,
            "CapAmb" => set_capabilities(&mut status.capabilities.ambient, line, value)?,
            "NoNewPrivs" => {
                status.no_new_privs = Some(match value {
                    "0" => false,
                    "1" => true,
                    _ => return Err(ParseError::new(line, value, "0 or 1 for NoNewPrivs")),
                });
                true
            }
            "Seccomp" => {
                status.seccomp_mode = Some(number(line, value, "a seccomp mode")?);
                true
            }
            "Seccomp_filters" => {
                status.seccomp_filters = Some(number(line, value, "a number of seccomp filters")?);
                true
            }
            _ => false,
        };
        if known {
            if seen.contains(&key) {
                return Err(ParseError::new(line, key, "each field once"));
            }
            seen.push(key);
        }
    }
    for (field, expected) in MANDATORY {
        if !seen.contains(&field) {
            return Err(ParseError::missing(last_line, expected));
        }
    }
    Ok(status)
}

/// Fields that every supported kernel writes for every thread; one of them missing means a cut text.
const MANDATORY: [(&str, &str); 11] = [
    ("Name", "a line `Name:`"),
    ("Tgid", "a line `Tgid:`"),
    ("Pid", "a line `Pid:`"),
    ("PPid", "a line `PPid:`"),
    ("Uid", "a line `Uid:`"),
    ("Gid", "a line `Gid:`"),
    ("Threads", "a line `Threads:`"),
    ("CapInh", "a line `CapInh:`"),
    ("CapPrm", "a line `CapPrm:`"),
    ("CapEff", "a line `CapEff:`"),
    ("CapBnd", "a line `CapBnd:`"),
];

fn set<T: std::str::FromStr>(
    into: &mut T,
    line: usize,
    value: &str,
    expected: &'static str,
) -> Result<bool, ParseError> {
    *into = number(line, value, expected)?;
    Ok(true)
}

fn set_capabilities(into: &mut CapabilitySet, line: usize, value: &str) -> Result<bool, ParseError> {
    // from_str_radix takes a sign, which the kernel never writes.
    if value.starts_with('+') {
        return Err(ParseError::new(line, value, "a hexadecimal capability mask of up to 64 bits"));
    }
    let bits = u64::from_str_radix(value, 16)
        .map_err(|_| ParseError::new(line, value, "a hexadecimal capability mask of up to 64 bits"))?;
    *into = CapabilitySet::from_bits(bits);
    Ok(true)
}

fn list<T: std::str::FromStr>(
    line: usize,
    value: &str,
    expected: &'static str,
) -> Result<Vec<T>, ParseError> {
    value.split_ascii_whitespace().map(|word| number(line, word, expected)).collect()
}

fn four_ids(line: usize, value: &str) -> Result<[u32; 4], ParseError> {
    let ids: Vec<u32> = list(line, value, "four ids: real, effective, saved, file system")?;
    ids.try_into().map_err(|_| ParseError::new(line, value, "four ids: real, effective, saved, file system"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DOCKER: &str = "Name:\tsleep\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nNgid:\t0\nPid:\t4711\n\
        PPid:\t4690\nTracerPid:\t0\nUid:\t1000\t1000\t1000\t1000\nGid:\t100\t100\t100\t100\nFDSize:\t64\n\
        Groups:\t27 4 20 \nNStgid:\t4711\t1\nNSpid:\t4711\t1\nThreads:\t1\nSigQ:\t0/96365\n\
        CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
        CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n\
        Seccomp_filters:\t1\nSpeculation_Store_Bypass:\tvulnerable\n";

    #[test]
    fn reads_a_docker_container() {
        let status = parse(DOCKER).expect("well formed");
        assert_eq!(status.name, "sleep");
        assert_eq!((status.tgid, status.pid, status.ppid, status.threads), (4711, 4711, 4690, 1));
        assert_eq!(status.ns_pid, [4711, 1]);
        assert_eq!(status.uid, [1000; 4]);
        assert_eq!(status.gid, [100; 4]);
        assert_eq!(status.groups, [4, 20, 27]);
        assert_eq!(status.capabilities.bounding.bits(), 0xa804_25fb);
        assert_eq!(status.capabilities.bounding.iter().count(), 14);
        assert!(status.capabilities.ambient.is_empty());
        assert_eq!(status.no_new_privs, Some(false));
        assert_eq!(status.seccomp_mode, Some(2));
        assert_eq!(status.seccomp_filters, Some(1));
    }

    #[test]
    fn what_an_old_kernel_does_not_write_is_none() {
        let old: String = DOCKER
            .lines()
            .filter(|line| {
                !["NoNewPrivs", "Seccomp", "CapAmb", "NSpid", "Seccomp_filters"]
                    .iter()
                    .any(|field| line.starts_with(&format!("{field}:")))
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let status = parse(&old).expect("well formed");
        assert_eq!(status.no_new_privs, None);
        assert_eq!(status.seccomp_mode, None);
        assert_eq!(status.seccomp_filters, None);
        assert!(status.ns_pid.is_empty());
    }

    #[test]
    fn a_name_cannot_forge_a_field() {
        // The kernel escapes newline and backslash in the name; a colon and spaces stay.
        let text = DOCKER.replace("Name:\tsleep", "Name:\t Seccomp:\\n0 ");
        let status = parse(&text).expect("well formed");
        assert_eq!(status.name, " Seccomp:\\n0 ");
        assert_eq!(status.seccomp_mode, Some(2));
    }

    #[test]
    fn bad_input_is_an_error_with_its_place() {
        let cases = [
            ("", "line 1: found nothing, expected a line `Name:`"),
            ("Name:\tx\n", "line 1: found nothing, expected a line `Tgid:`"),
            ("nonsense", "line 1: found \"nonsense\", expected a line `Field:\\tvalue`"),
            ("Name:\tx\nUid:\t0\t0\t0\n", "line 2: found \"0\\t0\\t0\", expected four ids"),
            ("Name:\tx\nUid:\t0\t0\t0\t0\t0\n", "line 2: found \"0\\t0\\t0\\t0\\t0\", expected four ids"),
            ("Name:\tx\nUid:\t0\t0\t0\t-1\n", "line 2: found \"-1\", expected four ids"),
            ("Name:\tx\nCapEff:\txyz\n", "line 2: found \"xyz\", expected a hexadecimal"),
            ("Name:\tx\nCapEff:\t+1\n", "line 2: found \"+1\", expected a hexadecimal"),
            (
                "Name:\tx\nCapEff:\t1ffffffffffffffff\n",
                "expected a hexadecimal capability mask of up to 64 bits",
            ),
            ("Name:\tx\nNoNewPrivs:\t2\n", "line 2: found \"2\", expected 0 or 1"),
            ("Name:\tx\nSeccomp:\t-1\n", "line 2: found \"-1\", expected a seccomp mode"),
            ("Name:\tx\nName:\ty\n", "line 2: found \"Name\", expected each field once"),
            ("Name:\tx\nPid:\t99999999999\n", "line 2: found \"99999999999\", expected a thread id"),
        ];
        for (text, expected) in cases {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn every_cut_is_an_error_until_the_mandatory_fields_are_there() {
        let end = DOCKER.find("CapBnd:").expect("is there");
        for cut in 0..end {
            assert!(parse(&DOCKER[..cut]).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_on_fields(lines in proptest::collection::vec("(Name|Uid|Gid|Groups|CapEff|NSpid|Seccomp|NoNewPrivs|Pid):\t?[0-9a-f \t-]{0,20}", 0..20)) {
            let _ = parse(&lines.join("\n"));
        }
    }
}
