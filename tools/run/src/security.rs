//! Capabilities and `--security-opt`.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use plim_model::{Capability, CapabilitySet};

use crate::sizes;
use crate::{apparmor, defaults, selinux};
use plim_tools_common::nearest::hint;

/// What `--security-opt seccomp=` chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum SeccompChoice {
    /// `docker-default`, and nothing for a privileged container.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A shipped profile.
    Preset(String),
    /// A profile in a file.
    File(PathBuf),
}

/// `--security-opt`, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SecurityOptions {
    /// The seccomp profile.
    pub(crate) seccomp: SeccompChoice,
    /// `no-new-privileges`.
    pub(crate) no_new_privileges: bool,
    /// `apparmor=PROFILE` or `apparmor=unconfined`.
    pub(crate) apparmor: apparmor::Choice,
    /// `label=…`
    pub(crate) label: selinux::Choice,
    /// `systempaths=unconfined`: mask nothing in /proc and /sys.
    pub(crate) unmask: bool,
}

const KEYS: [&str; 5] = ["seccomp", "no-new-privileges", "apparmor", "systempaths", "label"];

/// Reads the options in order; a later one replaces an earlier one of its kind, as Docker does.
///
/// # Errors
/// An unknown option or value.
pub(crate) fn options(list: &[String]) -> Result<SecurityOptions> {
    let mut out = SecurityOptions::default();
    for text in list {
        option(text, &mut out).with_context(|| format!("--security-opt {text:?}"))?;
    }
    Ok(out)
}

fn option(text: &str, out: &mut SecurityOptions) -> Result<()> {
    if text == "no-new-privileges" {
        out.no_new_privileges = true;
        return Ok(());
    }
    // Docker's older separator is a colon; the first of the two decides.
    let Some((key, value)) = text.split_once('=').or_else(|| text.split_once(':')) else {
        if KEYS.contains(&text) {
            bail!("{text} needs a value, as {text}=…");
        }
        bail!("unknown option{}; the options are {}", hint(text, KEYS), KEYS.join(", "));
    };
    if value.is_empty() {
        bail!("{key} needs a value");
    }
    match key {
        "seccomp" => {
            out.seccomp = match value {
                "unconfined" => SeccompChoice::Unconfined,
                "builtin" => SeccompChoice::Preset(defaults::SECCOMP_PRESET.to_owned()),
                _ => match value.strip_prefix("preset:") {
                    Some(name) => SeccompChoice::Preset(name.to_owned()),
                    None => SeccompChoice::File(PathBuf::from(value)),
                },
            }
        }
        "no-new-privileges" => out.no_new_privileges = sizes::boolean(value)?,
        "apparmor" => {
            out.apparmor = match value {
                "unconfined" => apparmor::Choice::Unconfined,
                name => apparmor::Choice::Profile(name.to_owned()),
            }
        }
        "systempaths" if value == "unconfined" => out.unmask = true,
        "systempaths" => bail!("found {value:?}, expected unconfined"),
        "label" => out.label.read(value)?,
        _ => bail!("unknown option {key:?}{}; the options are {}", hint(key, KEYS), KEYS.join(", ")),
    }
    Ok(())
}

/// The result of `--cap-add`, `--cap-drop` and `--privileged`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// What the container gets.
    pub(crate) set: CapabilitySet,
    /// What it would have got by default or by ALL and the caller does not hold.
    pub(crate) missing: CapabilitySet,
}

enum Word {
    All,
    One(Capability),
}

fn words(option: &str, list: &[String]) -> Result<Vec<Word>> {
    list.iter()
        .map(|text| {
            if text.eq_ignore_ascii_case("all") {
                return Ok(Word::All);
            }
            Capability::from_name(text).map(Word::One).ok_or_else(|| {
                let known = Capability::known().map(|c| c.to_string()).collect::<Vec<_>>();
                let upper = text.to_ascii_uppercase();
                let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
                anyhow!(
                    "{option} {text:?}: unknown capability{}",
                    hint(&full, known.iter().map(String::as_str))
                )
            })
        })
        .collect()
}

/// Docker's rules (moby `daemon/pkg/oci/caps`, TweakCapabilities): ALL added wins over everything but single drops;
/// ALL dropped leaves what is added; else the default set less the drops, and then the adds.
///
/// Two differences, both towards less: Docker ignores `--cap-drop` beside `--privileged`, here it is honoured; and a
/// capability of the default set that the caller does not hold is left out (and reported), where Docker fails.
///
/// # Errors
/// An unknown name; a capability asked for by name that the caller does not hold.
pub(crate) fn capabilities(
    add: &[String],
    drop: &[String],
    privileged: bool,
    held: CapabilitySet,
) -> Result<Granted> {
    let (add, drop) = (words("--cap-add", add)?, words("--cap-drop", drop)?);
    let all = |list: &[Word]| list.iter().any(|word| matches!(word, Word::All));
    let single = |list: &[Word]| -> CapabilitySet {
        list.iter().filter_map(|word| if let Word::One(c) = word { Some(*c) } else { None }).collect()
    };
    let (added, dropped) = (single(&add), single(&drop));
    let wanted = if privileged || all(&add) {
        Capability::known().collect::<CapabilitySet>().union(held).difference(dropped)
    } else {
        if let Some(first) = added.difference(held).iter().next() {
            bail!(
                "--cap-add {first}: the caller does not hold {first} itself, or the kernel does not have it, so it \
                 cannot be granted"
            );
        }
        if all(&drop) { added } else { defaults::capabilities().difference(dropped).union(added) }
    };
    Ok(Granted { set: wanted.intersection(held), missing: wanted.difference(held) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> CapabilitySet {
        names.iter().map(|name| Capability::from_name(name).unwrap()).collect()
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    fn every() -> CapabilitySet {
        Capability::known().collect()
    }

    fn granted(add: &[&str], drop: &[&str]) -> CapabilitySet {
        capabilities(&strings(add), &strings(drop), false, every()).unwrap().set
    }

    #[test]
    fn the_default_is_dockers_fourteen() {
        assert_eq!(
            granted(&[], &[]).names(),
            [
                "CAP_AUDIT_WRITE",
                "CAP_CHOWN",
                "CAP_DAC_OVERRIDE",
                "CAP_FOWNER",
                "CAP_FSETID",
                "CAP_KILL",
                "CAP_MKNOD",
                "CAP_NET_BIND_SERVICE",
                "CAP_NET_RAW",
                "CAP_SETFCAP",
                "CAP_SETGID",
                "CAP_SETPCAP",
                "CAP_SETUID",
                "CAP_SYS_CHROOT",
            ]
        );
    }

    /// The cases of moby's own TestTweakCapabilities, in our words.
    #[test]
    fn adds_and_drops_combine_as_in_docker() {
        let default = defaults::capabilities();
        let ptrace = set(&["SYS_PTRACE"]);
        let table: [(&[&str], &[&str], CapabilitySet); 12] = [
            (&["SYS_PTRACE"], &[], default.union(ptrace)),
            (&[], &["NET_RAW"], default.difference(set(&["NET_RAW"]))),
            (&["SYS_PTRACE"], &["NET_RAW"], default.union(ptrace).difference(set(&["NET_RAW"]))),
            (&[], &["ALL"], CapabilitySet::EMPTY),
            (&["NET_RAW"], &["ALL"], set(&["NET_RAW"])),
            (&["ALL"], &[], every()),
            (&["ALL"], &["NET_RAW"], every().difference(set(&["NET_RAW"]))),
            (&["ALL"], &["ALL"], every()),
            (&["ALL", "SYS_PTRACE"], &["ALL", "CHOWN"], every().difference(set(&["CHOWN"]))),
            // The same name in both lists: Docker drops from the default first and adds after.
            (&["NET_RAW"], &["NET_RAW"], default),
            (
                &["cap_net_admin"],
                &["cap_Net_Raw"],
                default.union(set(&["NET_ADMIN"])).difference(set(&["NET_RAW"])),
            ),
            (&["all"], &["Cap_Net_Raw"], every().difference(set(&["NET_RAW"]))),
        ];
        for (add, drop, expected) in table {
            assert_eq!(granted(add, drop).names(), expected.names(), "add {add:?} drop {drop:?}");
        }
    }

    #[test]
    fn privileged_grants_what_is_held_and_says_what_is_missing() {
        let held = every().difference(set(&["SYS_RESOURCE"]));
        let granted = capabilities(&[], &[], true, held).unwrap();
        assert_eq!(granted.set, held);
        assert_eq!(granted.missing.names(), ["CAP_SYS_RESOURCE"]);
        let less = capabilities(&[], &strings(&["SYS_ADMIN"]), true, held).unwrap();
        assert!(!less.set.contains(Capability::from_name("SYS_ADMIN").unwrap()));
    }

    #[test]
    fn a_default_capability_that_is_not_held_is_left_out_and_one_asked_by_name_is_an_error() {
        let held = every().difference(set(&["MKNOD", "SYS_RESOURCE"]));
        let granted = capabilities(&[], &[], false, held).unwrap();
        assert_eq!(granted.missing.names(), ["CAP_MKNOD"]);
        let error = capabilities(&strings(&["sys_resource"]), &[], false, held).unwrap_err().to_string();
        assert!(error.contains("CAP_SYS_RESOURCE") && error.contains("does not hold"), "{error}");
    }

    #[test]
    fn an_unknown_capability_gets_the_nearest_name() {
        for (name, nearest) in [("NET_RWA", "CAP_NET_RAW"), ("cap_sysadmin", "CAP_SYS_ADMIN")] {
            for (add, drop) in [(strings(&[name]), vec![]), (vec![], strings(&[name]))] {
                let error = capabilities(&add, &drop, false, every()).unwrap_err().to_string();
                assert!(error.contains("unknown capability") && error.contains(nearest), "{error}");
            }
        }
        let error = capabilities(&strings(&["zzzzzzzzz"]), &[], false, every()).unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn security_options_read_as_docker_reads_them() {
        let read = |list: &[&str]| options(&strings(list)).unwrap();
        assert_eq!(read(&[]), SecurityOptions::default());
        assert_eq!(read(&["seccomp=unconfined"]).seccomp, SeccompChoice::Unconfined);
        assert_eq!(read(&["seccomp=builtin"]).seccomp, SeccompChoice::Preset("docker-default".into()));
        assert_eq!(read(&["seccomp=preset:tcpdump"]).seccomp, SeccompChoice::Preset("tcpdump".into()));
        assert_eq!(read(&["seccomp=a/b=c.json"]).seccomp, SeccompChoice::File("a/b=c.json".into()));
        assert_eq!(read(&["seccomp:p.json"]).seccomp, SeccompChoice::File("p.json".into()));
        for text in
            ["no-new-privileges", "no-new-privileges=true", "no-new-privileges:true", "no-new-privileges=1"]
        {
            assert!(read(&[text]).no_new_privileges, "{text}");
        }
        assert!(!read(&["no-new-privileges", "no-new-privileges:false"]).no_new_privileges);
        assert_eq!(read(&["apparmor=mine"]).apparmor, apparmor::Choice::Profile("mine".into()));
        assert_eq!(read(&["apparmor=mine", "apparmor=unconfined"]).apparmor, apparmor::Choice::Unconfined);
        assert!(read(&["systempaths=unconfined"]).unmask);
        assert_ne!(read(&["label=disable"]), SecurityOptions::default());
    }

    #[test]
    fn bad_security_options_are_errors() {
        for (text, message) in [
            ("secomp=unconfined", "did you mean \"seccomp\""),
            ("no-new-privs", "unknown option"),
            ("no-new-privileges=maybe", "expected true or false"),
            ("seccomp", "needs a value"),
            ("seccomp=", "needs a value"),
            ("systempaths=all", "expected unconfined"),
            ("label=typ:x", "did you mean \"type\""),
            ("label=type:", "label=type:NAME"),
        ] {
            let error = format!("{:#}", options(&strings(&[text])).expect_err(text));
            assert!(error.contains(message), "{text}: {error}");
        }
    }
}
