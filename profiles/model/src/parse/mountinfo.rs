//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use super::{ParseError, number};
use crate::mount::{Mount, Propagation};

/// One line of the file: the mount, and the numbers that tie the lines together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Mount id, unique while the mount lives.
    pub id: u64,
    /// Id of the parent mount; its own id for the root of the mount tree.
    pub parent: u64,
    /// Device number of the file system.
    pub major: u32,
    /// Device number of the file system.
    pub minor: u32,
    /// `shared:N`: the peer group it sends to and receives from.
    pub shared: Option<u64>,
    /// `master:N`: the peer group it receives from.
    pub master: Option<u64>,
    /// `propagate_from:N`: the nearest dominating peer group below the reader's root.
    pub propagate_from: Option<u64>,
    /// What the snapshot keeps.
    pub mount: Mount,
}

/// Reads the whole file, in the kernel's order. Paths are decoded (`\040` is a space) and invalid UTF-8 is replaced.
///
/// # Errors
/// A line without its fields or its separator `-`, or a number that is none. Unknown optional fields are passed over,
/// as the manual asks.
///
/// ```
/// let line = br"36 35 98:0 /a\040b /mnt rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
/// let entries = plim_model::parse::mountinfo::parse(line)?;
/// assert_eq!(entries[0].mount.root, "/a b");
/// assert_eq!(entries[0].master, Some(1));
/// # Ok::<(), plim_model::parse::ParseError>(())
/// ```
pub fn parse(text: &[u8]) -> Result<Vec<MountEntry>, ParseError> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines.into_iter().enumerate().map(|(index, line)| entry(index + 1, line)).collect()
}

const SHAPE: &str = "`ID PARENT MAJOR:MINOR ROOT TARGET OPTIONS [OPTIONAL…] - TYPE SOURCE SUPER-OPTIONS`";

fn entry(line: usize, content: &[u8]) -> Result<MountEntry, ParseError> {
    let bad_shape = || ParseError::new(line, &String::from_utf8_lossy(content), SHAPE);
    // Single spaces: a mount source may be the empty string, which leaves two in a row.
    let fields: Vec<&[u8]> = content.split(|byte| *byte == b' ').collect();
    let separator = fields.iter().skip(6).position(|field| *field == b"-").ok_or_else(bad_shape)? + 6;
    let [id, parent, device, root, target, options] = fields[..6] else {
        return Err(bad_shape());
    };
    let (Some(fs_type), Some(source), Some(super_options)) =
        (fields.get(separator + 1), fields.get(separator + 2), fields.get(separator + 3..))
    else {
        return Err(bad_shape());
    };
    if root.is_empty() || target.is_empty() || fs_type.is_empty() || super_options.is_empty() {
        return Err(bad_shape());
    }
    let device = text(device);
    let (major, minor) = device
        .split_once(':')
        .ok_or_else(|| ParseError::new(line, &device, "a device number MAJOR:MINOR"))?;

    let (mut shared, mut master, mut propagate_from, mut unbindable) = (None, None, None, false);
    for field in &fields[6..separator] {
        let field = text(field);
        let (tag, value) = field.split_once(':').unwrap_or((&field, ""));
        let into = match tag {
            "shared" => &mut shared,
            "master" => &mut master,
            "propagate_from" => &mut propagate_from,
            "unbindable" => {
                unbindable = true;
                continue;
            }
            _ => continue,
        };
        *into = Some(number(line, value, "the number of a peer group")?);
    }
    let propagation = match (shared, master) {
        (Some(_), Some(_)) => Propagation::SharedSlave,
        (Some(_), None) => Propagation::Shared,
        (None, Some(_)) => Propagation::Slave,
        (None, None) if unbindable => Propagation::Unbindable,
        (None, None) => Propagation::Private,
    };
    Ok(MountEntry {
        id: number(line, &text(id), "a mount id")?,
        parent: number(line, &text(parent), "the id of the parent mount")?,
        major: number(line, major, "a device number MAJOR:MINOR")?,
        minor: number(line, minor, "a device number MAJOR:MINOR")?,
        shared,
        master,
        propagate_from,
        mount: Mount {
            target: decode(target),
            root: decode(root),
            fs_type: decode(fs_type),
            source: decode(source),
            options: option_list(options),
            super_options: option_list(&super_options.join(&b' ')),
            propagation,
        },
    })
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// Splits before decoding: a comma inside a value is written `\054` (fs/proc_namespace.c, seq_escape).
fn option_list(field: &[u8]) -> Vec<String> {
    let mut options: Vec<String> =
        field.split(|byte| *byte == b',').filter(|option| !option.is_empty()).map(decode).collect();
    options.sort();
    options.dedup();
    options
}

/// Decodes `\ooo` (three octal digits, as the kernel's mangle() writes space, tab, newline and backslash); anything
/// else that follows a backslash stays as it is.
fn decode(field: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) = (first, tail) {
            bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = &tail[3..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> MountEntry {
        parse(line.as_bytes()).expect(line).remove(0)
    }

    #[test]
    fn reads_real_lines() {
        let text = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
            90 27 0:40 /var/lib/docker/containers/ab/hostname /etc/hostname ro,nosuid master:1 - ext4 /dev/vda rw\n";
        let entries = parse(text).expect("well formed");
        assert_eq!(entries.len(), 3);
        let proc = &entries[0];
        assert_eq!((proc.id, proc.parent, proc.major, proc.minor), (22, 27, 0, 21));
        assert_eq!(proc.mount.target, "/proc");
        assert_eq!(proc.mount.options, ["relatime", "rw"]);
        assert_eq!(proc.mount.propagation, Propagation::Private);
        assert_eq!((entries[1].shared, entries[1].master), (Some(1), None));
        assert_eq!(entries[1].mount.super_options, ["discard", "rw"]);
        assert_eq!(entries[2].mount.root, "/var/lib/docker/containers/ab/hostname");
        assert_eq!(entries[2].mount.propagation, Propagation::Slave);
    }

    #[test]
    fn reads_every_propagation() {
        let cases = [
            ("", Propagation::Private),
            ("shared:7 ", Propagation::Shared),
            ("master:3 ", Propagation::Slave),
            ("shared:7 master:3 ", Propagation::SharedSlave),
            ("master:3 propagate_from:2 ", Propagation::Slave),
            ("unbindable ", Propagation::Unbindable),
            ("future:9 novel ", Propagation::Private),
        ];
        for (optional, expected) in cases {
            let entry = one(&format!("1 0 0:1 / /m rw {optional}- tmpfs tmpfs rw"));
            assert_eq!(entry.mount.propagation, expected, "{optional:?}");
        }
        assert_eq!(one("1 0 0:1 / /m rw master:3 propagate_from:2 - tmpfs t rw").propagate_from, Some(2));
    }

    #[test]
    fn decodes_octal_and_keeps_the_rest() {
        let cases = [
            (r"/a\040b", "/a b"),
            (r"/a\011b\012c\134d", "/a\tb\nc\\d"),
            (r"/a\134040", r"/a\040"),
            (r"/end\04", r"/end\04"),
            (r"/end\", r"/end\"),
            (r"/not\x41", r"/not\x41"),
            (r"/big\777", r"/big\777"),
            (r"/nine\089", r"/nine\089"),
            ("/-", "/-"),
            ("/ünï", "/ünï"),
        ];
        for (written, expected) in cases {
            assert_eq!(one(&format!("1 0 0:1 / {written} rw - tmpfs t rw")).mount.target, expected);
        }
        let broken = parse(b"1 0 0:1 / /\xff\xfe rw - tmpfs t rw").expect("well formed");
        assert_eq!(broken[0].mount.target, "/\u{fffd}\u{fffd}");
        let split_char = parse(br"1 0 0:1 / /\303\251 rw - tmpfs t rw").expect("well formed");
        assert_eq!(split_char[0].mount.target, "/é");
    }

    #[test]
    fn a_target_named_dash_and_an_empty_source_do_not_confuse() {
        // The target is a relative-looking "-" only after an escape the kernel never needs; the sixth field on counts.
        let entry = one("1 0 0:1 / - rw - tmpfs  rw,size=4k");
        assert_eq!(entry.mount.target, "-");
        assert_eq!(entry.mount.source, "");
        assert_eq!(entry.mount.super_options, ["rw", "size=4k"]);
        let comma = one(r"1 0 0:1 / /m rw - overlay overlay rw,lowerdir=/a\054b:/c,upperdir=/u");
        assert_eq!(comma.mount.super_options, ["lowerdir=/a,b:/c", "rw", "upperdir=/u"]);
    }

    #[test]
    fn bad_lines_are_errors_with_their_number() {
        let good = "1 0 0:1 / /m rw - tmpfs tmpfs rw";
        for bad in [
            "",
            "1",
            "1 0 0:1 / /m rw",
            "1 0 0:1 / /m rw -",
            "1 0 0:1 / /m rw - tmpfs",
            "1 0 0:1 / /m rw - tmpfs tmpfs",
            "1 0 0:1 / /m rw tmpfs tmpfs rw",
            "x 0 0:1 / /m rw - tmpfs tmpfs rw",
            "1 -1 0:1 / /m rw - tmpfs tmpfs rw",
            "1 0 01 / /m rw - tmpfs tmpfs rw",
            "1 0 0:x / /m rw - tmpfs tmpfs rw",
            "1 0 0:1  /m rw - tmpfs tmpfs rw",
            "1 0 0:1 / /m rw shared:x - tmpfs tmpfs rw",
            "1 0 0:1 / /m rw shared - tmpfs tmpfs rw",
        ] {
            let error = parse(format!("{good}\n{bad}\n{good}\n").as_bytes()).expect_err(bad);
            assert_eq!(error.line, 2, "{bad:?}: {error}");
        }
        assert_eq!(parse(b"").expect("no mounts"), []);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn never_panics_on_near_misses(line in "[0-9]{1,2} [0-9]{1,2} [0-9]:[0-9] [/a\\\\0-7]{0,9} [/a\\\\0-7]{0,9} r?w? (shared:[0-9]? )?-? [a-z ]{0,9}") {
            let _ = parse(line.as_bytes());
        }

        #[test]
        fn what_the_kernel_escapes_comes_back(path in "/[a-z \t\n\\\\]{0,20}") {
            let escaped: String = path.bytes().map(|b| match b {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{b:03o}"),
                b => char::from(b).to_string(),
            }).collect();
            prop_assert_eq!(one(&format!("1 0 0:1 / {escaped} rw - tmpfs t rw")).mount.target, path);
        }
    }
}
