//! `/proc/PID/cgroup` and the limit files of both cgroup versions (cgroups(7), Documentation/admin-guide/cgroup-v1/ and
//! cgroup-v2.rst).

use std::collections::BTreeMap;

use super::{ParseError, number, numbered};
use crate::cgroup::IoLimits;
use crate::rlimit::Limit;

mod cpulist;
pub use cpulist::CpuList;

/// One line of `/proc/PID/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Hierarchy number; 0 is the unified (v2) hierarchy.
    pub hierarchy_id: u32,
    /// Controllers of a v1 hierarchy, or `name=NAME` of one without; empty for v2.
    pub controllers: Vec<String>,
    /// Path of the cgroup below the hierarchy's root, as the reader's cgroup namespace shows it.
    pub path: String,
}

/// Reads `/proc/PID/cgroup`, in the kernel's order.
///
/// # Errors
/// A line that is not `NUMBER:CONTROLLERS:/PATH`.
pub fn membership(text: &str) -> Result<Vec<Membership>, ParseError> {
    const SHAPE: &str = "`HIERARCHY:CONTROLLERS:/PATH`";
    numbered(text)
        .map(|(line, content)| {
            let mut fields = content.splitn(3, ':');
            let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next())
            else {
                return Err(ParseError::new(line, content, SHAPE));
            };
            if !path.starts_with('/') {
                return Err(ParseError::new(line, content, SHAPE));
            }
            Ok(Membership {
                hierarchy_id: number(line, id, SHAPE)?,
                controllers: controllers.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect(),
                path: path.to_owned(),
            })
        })
        .collect()
}

/// From this value up a v1 memory limit means none: the kernel counts pages in a signed long and shows
/// `LONG_MAX / PAGE_SIZE * PAGE_SIZE` (PAGE_COUNTER_MAX), 9223372036854771712 with 4 KiB pages and this with 64 KiB.
const V1_NO_LIMIT: u64 = 0x7fff_ffff_ffff_0000;

/// Reads a file with one limit: a number, v2's `max`, v1's `-1` or its highest number of pages, both no limit.
///
/// # Errors
/// Anything else; 0 is a limit.
pub fn limit(text: &str) -> Result<Limit, ParseError> {
    match text.trim() {
        "max" | "-1" => Ok(Limit::Max),
        word => match number(1, word, "a number, \"max\" or -1")? {
            V1_NO_LIMIT.. => Ok(Limit::Max),
            value => Ok(Limit::Of(value)),
        },
    }
}

/// Reads a file with one number (`cpu.shares`, `pids.current`).
///
/// # Errors
/// Anything that is not one number.
pub fn single(text: &str) -> Result<u64, ParseError> {
    number(1, text.trim(), "a number")
}

/// v2's `cpu.max`: time allowed per period, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuMax {
    /// Time per period in microseconds.
    pub quota_us: Limit,
    /// The period in microseconds.
    pub period_us: u64,
}

/// Reads v2's `cpu.max` (`max 100000`).
///
/// # Errors
/// Anything but a quota and a period above 0.
pub fn cpu_max(text: &str) -> Result<CpuMax, ParseError> {
    const SHAPE: &str = "`QUOTA PERIOD` in microseconds, or `max PERIOD`";
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [quota, period] = words[..] else {
        return Err(ParseError::new(1, text, SHAPE));
    };
    let quota_us = if quota == "max" { Limit::Max } else { Limit::Of(number(1, quota, SHAPE)?) };
    match number(1, period, SHAPE)? {
        0 => Err(ParseError::new(1, period, "a period above 0")),
        period_us => Ok(CpuMax { quota_us, period_us }),
    }
}

/// Reads v2's `io.max` by device number (`8:0 rbps=max wbps=1048576 riops=max wiops=max`). A key that is not among
/// the four is passed over, as cgroup-v2.rst asks of nested keyed files.
///
/// # Errors
/// A line without a device number, a word without `=`, a value that is neither a number nor `max`.
pub fn io_max(text: &str) -> Result<BTreeMap<String, IoLimits>, ParseError> {
    let mut devices = BTreeMap::new();
    for (line, content) in numbered(text) {
        let (device, rest) = device_and_rest(line, content)?;
        let mut limits = NO_IO_LIMITS;
        for word in rest.split_ascii_whitespace() {
            const SHAPE: &str = "`KEY=NUMBER` or `KEY=max`";
            let (key, value) = word.split_once('=').ok_or_else(|| ParseError::new(line, word, SHAPE))?;
            let into = match key {
                "rbps" => &mut limits.read_bytes_per_second,
                "wbps" => &mut limits.write_bytes_per_second,
                "riops" => &mut limits.read_operations_per_second,
                "wiops" => &mut limits.write_operations_per_second,
                _ => continue,
            };
            *into = if value == "max" { Limit::Max } else { Limit::Of(number(line, value, SHAPE)?) };
        }
        if devices.insert(device.to_owned(), limits).is_some() {
            return Err(ParseError::new(line, device, "each device once"));
        }
    }
    Ok(devices)
}

/// A device without a throttle.
pub const NO_IO_LIMITS: IoLimits = IoLimits {
    read_bytes_per_second: Limit::Max,
    write_bytes_per_second: Limit::Max,
    read_operations_per_second: Limit::Max,
    write_operations_per_second: Limit::Max,
};

/// Reads one of v1's `blkio.throttle.{read,write}_{bps,iops}_device`: the limit by device number (`8:0 1048576`).
///
/// # Errors
/// A line that is not a device number and a number, or a device twice.
pub fn throttle(text: &str) -> Result<BTreeMap<String, u64>, ParseError> {
    let mut devices = BTreeMap::new();
    for (line, content) in numbered(text) {
        let (device, rest) = device_and_rest(line, content)?;
        let value = number(line, rest.trim(), "a number after the device number")?;
        if devices.insert(device.to_owned(), value).is_some() {
            return Err(ParseError::new(line, device, "each device once"));
        }
    }
    Ok(devices)
}

/// Reads the default of v2's `io.weight` (`default 100`, then weights by device) or v1's `blkio.weight` (`500`).
///
/// # Errors
/// A first line that is neither.
pub fn io_weight(text: &str) -> Result<u64, ParseError> {
    let first = text.lines().next().unwrap_or_default().trim();
    number(1, first.strip_prefix("default ").unwrap_or(first).trim(), "`default WEIGHT` or a weight")
}

/// Reads a flat keyed file (`cpu.stat`, `memory.events`, v1's `memory.stat`).
///
/// # Errors
/// A line that is not a key and a number.
pub fn flat_keyed(text: &str) -> Result<BTreeMap<String, u64>, ParseError> {
    numbered(text)
        .map(|(line, content)| {
            let (key, value) =
                content.split_once(' ').ok_or_else(|| ParseError::new(line, content, "`KEY NUMBER`"))?;
            Ok((key.to_owned(), number(line, value.trim(), "`KEY NUMBER`")?))
        })
        .collect()
}

/// Splits off `MAJOR:MINOR`, both numbers.
fn device_and_rest(line: usize, content: &str) -> Result<(&str, &str), ParseError> {
    const SHAPE: &str = "a device number MAJOR:MINOR and a limit";
    let (device, rest) =
        content.trim().split_once(' ').ok_or_else(|| ParseError::new(line, content, SHAPE))?;
    let (major, minor) = device.split_once(':').ok_or_else(|| ParseError::new(line, device, SHAPE))?;
    number::<u32>(line, major, SHAPE)?;
    number::<u32>(line, minor, SHAPE)?;
    Ok((device, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_membership_of_every_layout() {
        let hybrid = "9:name=systemd:/\n4:memory:/docker/ab:cd\n2:cpu,cpuacct:/a b\n0::/\n";
        let found = membership(hybrid).expect("well formed");
        assert_eq!(found.len(), 4);
        assert_eq!(found[0].controllers, ["name=systemd"]);
        assert_eq!((found[1].hierarchy_id, found[1].path.as_str()), (4, "/docker/ab:cd"));
        assert_eq!(found[2].controllers, ["cpu", "cpuacct"]);
        assert!(found[3].controllers.is_empty());
        assert_eq!(membership("0::/../../x (deleted)\n").expect("v2")[0].path, "/../../x (deleted)");
        assert_eq!(membership("").expect("none"), []);
    }

    #[test]
    fn refuses_other_membership() {
        for text in ["0", "0:", "0::", "0::relative", ":memory:/", "x:memory:/", "-1:memory:/", "0::/\n\n"] {
            assert!(membership(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn reads_limits_of_both_versions() {
        let cases = [
            ("max\n", Limit::Max),
            ("-1\n", Limit::Max),
            ("0\n", Limit::Of(0)),
            ("67108864\n", Limit::Of(67_108_864)),
            ("9223372036854771712\n", Limit::Max),
            ("9223372036854710272\n", Limit::Max),
            ("9223372036854710271\n", Limit::Of(9_223_372_036_854_710_271)),
            ("18446744073709551615\n", Limit::Max),
        ];
        for (text, expected) in cases {
            assert_eq!(limit(text), Ok(expected), "{text:?}");
        }
        for text in ["", "\n", "MAX", "-2", "1 2", "1.5", "12m", "18446744073709551616"] {
            assert!(limit(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn reads_cpu_max() {
        assert_eq!(cpu_max("max 100000\n"), Ok(CpuMax { quota_us: Limit::Max, period_us: 100_000 }));
        assert_eq!(cpu_max("50000 100000\n"), Ok(CpuMax { quota_us: Limit::Of(50_000), period_us: 100_000 }));
        for text in ["", "max", "max 0", "50000", "x 100000", "1 2 3", "-1 100000"] {
            assert!(cpu_max(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn reads_io_limits() {
        let found = io_max("8:0 rbps=max wbps=1048576 riops=120 wiops=max\n8:16 rbps=1 future=7\n")
            .expect("well formed");
        assert_eq!(found["8:0"].write_bytes_per_second, Limit::Of(1_048_576));
        assert_eq!(found["8:0"].read_operations_per_second, Limit::Of(120));
        assert_eq!(found["8:0"].read_bytes_per_second, Limit::Max);
        assert_eq!(found["8:16"].read_bytes_per_second, Limit::Of(1));
        assert_eq!(io_max("").expect("none").len(), 0);
        for text in ["8:0", "8 rbps=1", "8:x rbps=1", "8:0 rbps", "8:0 rbps=-1", "8:0 rbps=1\n8:0 rbps=2"] {
            assert!(io_max(text).is_err(), "{text:?}");
        }
        assert_eq!(throttle("8:0 1048576\n254:0 5\n").expect("well formed")["254:0"], 5);
        assert_eq!(throttle("").expect("none").len(), 0);
        for text in ["8:0", "8:0 max", "8:0 1 2", "sda 5", "8:0 1\n8:0 1"] {
            assert!(throttle(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn reads_weights_and_keyed_files() {
        assert_eq!(io_weight("default 100\n8:0 50\n"), Ok(100));
        assert_eq!(io_weight("500\n"), Ok(500));
        assert!(io_weight("").is_err());
        assert!(io_weight("8:0 50").is_err());
        assert_eq!(flat_keyed("usage_usec 5\nnr_periods 0\n").expect("well formed")["usage_usec"], 5);
        assert!(flat_keyed("usage_usec\n").is_err());
        assert_eq!(single("1024\n"), Ok(1024));
        assert!(single("max").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9a-z:=,/ \n-]{0,120}") {
            let _ = (membership(&text), limit(&text), cpu_max(&text), io_max(&text), throttle(&text));
            let _ = (io_weight(&text), flat_keyed(&text), single(&text), CpuList::parse(&text));
        }

        #[test]
        fn never_panics_on_anything(text in "\\PC*") {
            let _ = (membership(&text), limit(&text), cpu_max(&text), io_max(&text), throttle(&text));
        }
    }
}
