//! Refusals made on purpose: what a container is given, what is tried in it, and what must be told of that.

mod capabilities;
mod files;
mod filters;
mod limits;

pub(super) use capabilities::{CAPABILITIES, NESTED, NEW_PRIVS, NO_NEW_PRIVS, OWNERS};
pub(super) use files::{
    APPARMOR, APPARMOR_UNSEEN, FILES, LANDLOCK, LANDLOCK_UNSEEN, READ_ONLY, SELINUX, USER,
};
pub(super) use filters::{ACTIONS, FILTERS, GATE, OWN_FILTERS};
pub(super) use limits::LIMITS;
use serde_json::Value;

/// A call of `try`; and what is told of it: call, errno (`-` when the task is killed), kind, and words that stand in the rule, the
/// capability or the detail (`-`: neither rule nor capability; `A|B`: either, where kernels differ). A call that begins with `?` is not made by every kernel.
pub(super) type Row = (&'static str, Option<[&'static str; 4]>);

/// One container.
pub(super) struct Group {
    /// For messages.
    pub(super) name: &'static str,
    /// Options that `plim run` and `docker run` share.
    pub(super) options: &'static [&'static str],
    /// A seccomp profile of its own.
    pub(super) profile: Option<fn() -> Value>,
    /// What is tried, in this order.
    pub(super) rows: &'static [Row],
    /// What is tried after that under plim alone: dockerd 20.10's default profile is older than ours.
    pub(super) newer: &'static [Row],
}

const PLAIN: Group = Group { name: "", options: &[], profile: None, rows: &[], newer: &[] };
const UNCONFINED: &str = "seccomp=unconfined";

const fn seccomp(call: &'static str, name: &'static str) -> Row {
    (call, Some([name, "EPERM", "seccomp", "/defaultAction"]))
}

const fn lacks(call: &'static str, name: &'static str, capability: &'static str) -> Row {
    (call, Some([name, "EPERM", "capability", capability]))
}

const fn bound(call: &'static str, name: &'static str, words: &'static str) -> Row {
    (call, Some([name, "EACCES", "permission", words]))
}

const fn elsewhere(call: &'static str, name: &'static str, capability: &'static str) -> Row {
    (call, Some([name, "EPERM", "namespace", capability]))
}

const fn fine(call: &'static str) -> Row {
    (call, None)
}

/// Every container of the table.
pub(super) fn all() -> impl Iterator<Item = &'static Group> {
    const ALL: [&Group; 11] = [
        &FILTERS,
        &GATE,
        &ACTIONS,
        &OWN_FILTERS,
        &CAPABILITIES,
        &OWNERS,
        &USER,
        &FILES,
        &READ_ONLY,
        &NO_NEW_PRIVS,
        &NEW_PRIVS,
    ];
    ALL.into_iter().chain(&LIMITS).chain([&NESTED])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_has_at_least_sixty_refusals_and_every_capability_that_refuses() {
        let refused: Vec<&Row> =
            all().flat_map(|group| group.rows).filter(|(_, expected)| expected.is_some()).collect();
        assert!(refused.len() >= 60, "{}", refused.len());
        let words = refused
            .iter()
            .filter_map(|(_, expected)| expected.as_ref())
            .flat_map(|row| row[3].split([' ', '|']));
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("CAP_")).collect();
        // FSETID, NET_BROADCAST and BLOCK_SUSPEND never refuse, netlink's AUDIT_WRITE and AUDIT_CONTROL do so in a message, and
        // MAC_OVERRIDE and MAC_ADMIN are Smack's.
        let without = [
            "CAP_FSETID",
            "CAP_NET_BROADCAST",
            "CAP_BLOCK_SUSPEND",
            "CAP_AUDIT_WRITE",
            "CAP_AUDIT_CONTROL",
            "CAP_MAC_OVERRIDE",
            "CAP_MAC_ADMIN",
        ];
        for capability in plim_model::Capability::known() {
            let capability = capability.to_string();
            let capability = capability.as_str();
            assert!(named.contains(capability) != without.contains(&capability), "{capability}");
        }
    }
}
