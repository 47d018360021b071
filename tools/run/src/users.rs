//! `--user` and `--group-add`: names become numbers with the container's own /etc/passwd and /etc/group.
//!
//! The rules are those of runc's `user` package (github.com/moby/sys/user, GetExecUser). The files are the container's
//! and so are untrusted text: a line that does not parse is skipped, and never becomes uid 0.

use anyhow::{Context, Result, anyhow, bail};
use plim_runtime::config::User;

use plim_tools_common::nearest::hint;

/// A resolved user and where it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The numbers.
    pub(crate) user: User,
    /// Home directory of its passwd entry, `/` without one.
    pub(crate) home: String,
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or_default();
        Some(Account { name, uid, gid, home })
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

/// The largest id that runc takes (2^31 - 1); -1 as u32 would mean "unchanged" to the kernel.
const MAX_ID: u32 = 0x7fff_ffff;

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= MAX_ID)
}

/// Resolves `USER[:GROUP]` (empty for root) and the added groups. The primary group is the first supplementary group
/// too, as moby does since 20.10.18 (CVE-2022-36109).
///
/// # Errors
/// A name that is not in the container's files; an id out of range.
pub(crate) fn resolve(spec: &str, group_add: &[String], passwd: &str, group: &str) -> Result<Resolved> {
    let (user_arg, group_arg) = spec.split_once(':').unwrap_or((spec, ""));
    let account = account(user_arg, passwd).with_context(|| format!("--user {spec:?}"))?;
    let (uid, mut gid, home) = match &account {
        Ok(account) => (account.uid, account.gid, account.home),
        Err(uid) => (*uid, 0, ""),
    };
    let mut supplementary = Vec::new();
    if !group_arg.is_empty() {
        gid = gid_of(group_arg, group).with_context(|| format!("--user {spec:?}"))?;
    } else if let Ok(account) = &account {
        let is_member = |g: &Group| g.members.split(',').any(|member| member == account.name);
        supplementary.extend(groups(group).filter(is_member).map(|g| g.gid));
    }
    for text in group_add {
        supplementary.push(gid_of(text, group).with_context(|| format!("--group-add {text:?}"))?);
    }
    let mut additional_gids = vec![gid];
    for gid in supplementary {
        if !additional_gids.contains(&gid) {
            additional_gids.push(gid);
        }
    }
    let home = if home.starts_with('/') { home } else { "/" };
    Ok(Resolved { user: User { uid, gid, additional_gids, umask: None }, home: home.to_owned() })
}

/// The passwd entry that the word names, else the number that it is.
fn account<'a>(word: &str, passwd: &'a str) -> Result<Result<Account<'a>, u32>> {
    let id = if word.is_empty() { Some(0) } else { number(word) };
    if let Some(found) = accounts(passwd).find(|a| a.name == word || Some(a.uid) == id) {
        return Ok(Ok(found));
    }
    match id {
        Some(uid) => Ok(Err(uid)),
        None => Err(missing("user", word, accounts(passwd).map(|a| a.name))),
    }
}

fn gid_of(word: &str, group: &str) -> Result<u32> {
    let id = number(word);
    if word.is_empty() {
        bail!("the group has no name");
    }
    if let Some(found) = groups(group).find(|g| g.name == word || Some(g.gid) == id) {
        return Ok(found.gid);
    }
    id.ok_or_else(|| missing("group", word, groups(group).map(|g| g.name)))
}

fn missing<'a>(what: &str, word: &str, known: impl Iterator<Item = &'a str>) -> anyhow::Error {
    if word.bytes().all(|b| b.is_ascii_digit()) {
        return anyhow!("the {what} id is above {MAX_ID}");
    }
    let file = if what == "user" { "/etc/passwd" } else { "/etc/group" };
    // The nearest name comes from the container's file: shown only if it is a plain word.
    let plain = known.filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
    anyhow!("no {what} of that name in the container's {file}{}", hint(word, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
        broken\n\
        evil:x:notanumber:0::/:/bin/sh\n\
        web:x:1000:1001:,,,:/home/web:/bin/sh\n\
        1234:x:77:78::/odd:/bin/sh\n\
        nohome:x:1002:1002\n";
    const GROUP: &str =
        "root:x:0:\nadm:x:4:web,root\nwww:x:33:web\nwebbers:x:1001:\nempty:x:5:\nbad:x:y:web\n";

    fn ids(spec: &str, add: &[&str]) -> (u32, u32, Vec<u32>, String) {
        let add: Vec<String> = add.iter().map(|s| (*s).to_owned()).collect();
        let resolved = resolve(spec, &add, PASSWD, GROUP).unwrap();
        (resolved.user.uid, resolved.user.gid, resolved.user.additional_gids, resolved.home)
    }

    #[test]
    fn names_and_numbers_resolve_as_in_runc() {
        for (spec, add, uid, gid, groups, home) in [
            ("", &[][..], 0, 0, &[0, 4][..], "/root"),
            ("root", &[], 0, 0, &[0, 4], "/root"),
            ("web", &[], 1000, 1001, &[1001, 4, 33], "/home/web"),
            ("1000", &[], 1000, 1001, &[1001, 4, 33], "/home/web"),
            ("web:www", &[], 1000, 33, &[33], "/home/web"),
            ("web:33", &[], 1000, 33, &[33], "/home/web"),
            ("web:4242", &[], 1000, 4242, &[4242], "/home/web"),
            ("5555", &[], 5555, 0, &[0], "/"),
            ("5555:6666", &[], 5555, 6666, &[6666], "/"),
            (":www", &[], 0, 33, &[33], "/root"),
            // A name of digits is a name first.
            ("1234", &[], 77, 78, &[78], "/odd"),
            ("nohome", &[], 1002, 1002, &[1002], "/"),
            ("5555", &["adm", "99"], 5555, 0, &[0, 4, 99], "/"),
            ("web", &["adm", "empty"], 1000, 1001, &[1001, 4, 33, 5], "/home/web"),
        ] {
            assert_eq!(ids(spec, add), (uid, gid, groups.to_vec(), home.to_owned()), "{spec} {add:?}");
        }
    }

    #[test]
    fn a_root_without_files_has_numbers_alone() {
        let resolved = resolve("", &[], "", "").unwrap();
        assert_eq!((resolved.user.uid, resolved.user.gid, resolved.home.as_str()), (0, 0, "/"));
        assert!(resolve("root", &[], "", "").is_err());
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        for (spec, add, message) in [
            ("wbe", &[][..], "no user of that name in the container's /etc/passwd, did you mean \"web\"?"),
            ("evil", &[], "no user of that name"),
            ("web:wwx", &[], "did you mean \"www\"?"),
            ("4294967295", &[], "above 2147483647"),
            ("-1", &[], "no user of that name"),
            ("0:99999999999", &[], "above 2147483647"),
            ("", &["bad"], "no group of that name"),
            ("", &[""], "no name"),
        ] {
            let add: Vec<String> = add.iter().map(|s| (*s).to_owned()).collect();
            let error = format!("{:#}", resolve(spec, &add, PASSWD, GROUP).expect_err(spec));
            assert!(error.contains(message), "{spec}: {error}");
        }
    }
}
