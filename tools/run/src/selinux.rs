//! The SELinux labels of a container: `--security-opt label=` and the defaults of container-selinux.
//!
//! The first process runs as `container_t`, what it may write is labelled `container_file_t`, and a pair of categories that no
//! other container has keeps containers of the same types apart (`container_selinux(8)`). Labels that were asked for are had or
//! are an error. Where the default cannot be had the container runs with the launcher's label, and that is said.

use anyhow::{Result, bail};
use plim_tools_common::nearest::hint;

use crate::world::World;

/// What `--security-opt label=` said, with Docker's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    disabled: bool,
    user: Option<String>,
    role: Option<String>,
    kind: Option<String>,
    file_kind: Option<String>,
    level: Option<String>,
}

const KEYS: [&str; 6] = ["disable", "user", "role", "type", "filetype", "level"];

impl Choice {
    /// Reads what is behind `label=`; options of several kinds add up.
    ///
    /// # Errors
    /// An unknown word, or one without its value.
    pub(crate) fn read(&mut self, value: &str) -> Result<()> {
        let (key, value) = value.split_once(':').unwrap_or((value, ""));
        let slot = match key {
            "disable" if value.is_empty() => {
                *self = Choice { disabled: true, ..Choice::default() };
                return Ok(());
            }
            "user" => &mut self.user,
            "role" => &mut self.role,
            "type" => &mut self.kind,
            "filetype" => &mut self.file_kind,
            "level" => &mut self.level,
            _ => bail!("unknown label option {key:?}{}; they are {}", hint(key, KEYS), KEYS.join(", ")),
        };
        // A context is one word; its level may have colons and commas.
        let wrong =
            |c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c) || key == "level" && ":,-".contains(c));
        if value.is_empty() || value.contains(wrong) {
            bail!("label={key}:{value}: expected label={key}:NAME");
        }
        *slot = Some(value.to_owned());
        self.disabled = false;
        Ok(())
    }

    fn asked(&self) -> bool {
        *self != Choice::default() && !self.disabled
    }
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Label of the container's processes.
    pub(crate) process: Option<String>,
    /// Label of the file systems that are mounted for it.
    pub(crate) mount: Option<String>,
    /// Why there is none where one was to be expected.
    pub(crate) note: Option<String>,
}

/// What of the machine's SELinux matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// SELinux is not active, or has no policy yet.
    Inactive,
    /// The policy does not have this context.
    Unknown,
    /// The policy has the context, and the launcher may not start a process in it.
    Forbidden,
    /// A process can be started in it.
    Possible,
}

/// Two categories of the 1024 of the targeted policy, from the container's id.
fn categories(id: &str) -> String {
    let part = |range: std::ops::Range<usize>| {
        u32::from_str_radix(id.get(range).unwrap_or_default(), 16).unwrap_or_default() % 1024
    };
    let (first, second) = (part(0..8), part(8..16));
    let second = if first == second { (second + 1) % 1024 } else { second };
    format!("s0:c{},c{}", first.min(second), first.max(second))
}

/// Decides. `nosuid` as for [`World::selinux`]; `shared` is the reason why the container has no label by default, as in Docker: it is privileged, or in the host's
/// pid or ipc namespace, whose objects have other labels.
///
/// # Errors
/// A label that was asked for and cannot be had.
pub(crate) fn choose(
    choice: &Choice,
    shared: bool,
    nosuid: bool,
    id: &str,
    world: &impl World,
) -> Result<Chosen> {
    if choice.disabled || shared && !choice.asked() {
        return Ok(Chosen::default());
    }
    let part = |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
    let user = part(&choice.user, "system_u");
    let level = choice.level.clone().unwrap_or_else(|| categories(id));
    let process =
        format!("{user}:{}:{}:{level}", part(&choice.role, "system_r"), part(&choice.kind, "container_t"));
    let mount = format!("{user}:object_r:{}:{level}", part(&choice.file_kind, "container_file_t"));
    let wrong = match (world.selinux(&process, nosuid), world.selinux(&mount, nosuid)) {
        (Answer::Inactive, _) if !choice.asked() => return Ok(Chosen::default()),
        (Answer::Inactive, _) => "SELinux is not active, or has no policy".to_owned(),
        (Answer::Unknown, _) => format!("the policy does not have the context {process}"),
        (_, Answer::Unknown) => format!("the policy does not have the context {mount}"),
        (Answer::Forbidden, _) => format!(
            "the policy does not let plim run start a process as {process} (process {{ transition }}, and on nosuid mounts \
             process2 {{ nosuid_transition }} with nnp_nosuid_transition)"
        ),
        (Answer::Possible, _) => {
            return Ok(Chosen { process: Some(process), mount: Some(mount), note: None });
        }
    };
    if choice.asked() {
        bail!("--security-opt label: {wrong}");
    }
    let note = format!("the container has no SELinux label of its own: {wrong}");
    Ok(Chosen { note: Some(note), ..Chosen::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_categories_is_two_and_in_order() {
        for (id, level) in [
            ("00000000000000000", "s0:c0,c1"),
            ("000003ff000003ff", "s0:c0,c1023"),
            ("0000000700000003", "s0:c3,c7"),
            ("00000407ffffffff", "s0:c7,c1023"),
        ] {
            assert_eq!(categories(id), level, "{id}");
        }
    }

    #[test]
    fn label_options_add_up_and_disable_wins_over_what_came_before() {
        let read = |list: &[&str]| {
            let mut choice = Choice::default();
            list.iter().try_for_each(|word| choice.read(word)).map(|()| choice)
        };
        let level = read(&["type:spc_t", "level:s0:c1,c2"]).unwrap();
        assert_eq!((level.kind.as_deref(), level.level.as_deref()), (Some("spc_t"), Some("s0:c1,c2")));
        assert!(read(&["type:x", "disable"]).unwrap().disabled);
        assert!(read(&["disable", "type:x"]).unwrap().asked());
        for bad in ["typ:x", "type", "type:", "type:a:b", "level:s0 c1", "disable:x", "user:\"u"] {
            assert!(read(&[bad]).is_err(), "{bad}");
        }
    }
}
