use super::*;

fn items(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("call{index:03}")).collect()
}

/// A workload that needs these, and of each pair one.
fn needs<'a>(
    needed: &'a [&'a str],
    pairs: &'a [(&'a str, &'a str)],
    trials: &'a mut usize,
) -> impl FnMut(&Removed) -> Result<(bool, String)> + 'a {
    move |removed| {
        *trials += 1;
        let missed = needed.iter().find(|name| removed.contains(**name)).copied();
        let pair = pairs.iter().find(|(a, b)| removed.contains(*a) && removed.contains(*b)).map(|(a, _)| *a);
        Ok(match missed.or(pair) {
            None => (true, "passed".to_owned()),
            Some(name) => (false, format!("no {name}")),
        })
    }
}

#[test]
fn finds_what_is_needed_and_says_why() {
    for count in [1, 3, 9, 60, 200] {
        let all = items(count);
        let last = all[count - 1].clone();
        let needed = ["call000", last.as_str()];
        let mut trials = 0;
        let found =
            search(&all, &mut Log::none(), needs(&needed, &[], &mut trials), |_, _, _| ()).expect("no error");
        let left: Vec<&String> = all.iter().filter(|item| !found.removed.contains(*item)).collect();
        let mut wanted: Vec<&String> = all.iter().filter(|item| needed.contains(&item.as_str())).collect();
        wanted.dedup();
        assert_eq!(left, wanted, "{count}");
        assert_eq!(
            found.needed[&last],
            format!("no {}", left[0].min(&last)).replace(left[0].as_str(), &last)
        );
        assert!(trials <= 2 * count + 4, "{count}: {trials} trials");
    }
}

#[test]
fn nothing_more_can_go_in_the_end() {
    let all = items(12);
    let pairs = [("call002", "call009"), ("call003", "call004")];
    let mut trials = 0;
    let found = search(&all, &mut Log::none(), needs(&["call007"], &pairs, &mut trials), |_, _, _| ())
        .expect("no error");
    let left: Vec<String> = all.iter().filter(|item| !found.removed.contains(*item)).cloned().collect();
    assert_eq!(left.len(), 3, "{left:?}");
    let mut one = 0;
    let mut trial = needs(&["call007"], &pairs, &mut one);
    for item in &left {
        let mut removed = found.removed.clone();
        removed.insert(item.clone());
        assert!(!trial(&removed).expect("no error").0, "{item} could go as well");
        assert!(found.needed.contains_key(item));
    }
}

#[test]
fn nothing_is_needed_and_all_is() {
    let all = items(5);
    let found =
        search(&all, &mut Log::none(), |_| Ok((true, String::new())), |_, _, _| ()).expect("no error");
    assert_eq!(found.removed.len(), 5);
    let found =
        search(&all, &mut Log::none(), |_| Ok((false, "x".to_owned())), |_, _, _| ()).expect("no error");
    assert_eq!((found.removed.len(), found.needed.len()), (0, 5));
    let found =
        search(&[], &mut Log::none(), |_| Ok((false, String::new())), |_, _, _| ()).expect("no error");
    assert_eq!(found.removed.len(), 0);
}

fn proposal(calls: &[&str]) -> Proposal {
    let text = serde_json::json!({
        "format": "1.0", "workload": null, "architectures": ["SCMP_ARCH_X86_64"], "usual": [], "dropped": [],
        "calls": calls.iter().map(|name| serde_json::json!({
            "syscall": name, "verdict": "allow", "source": "used", "evidence": "once"
        })).collect::<Vec<_>>(),
        "capabilities": [{"name": "CAP_NET_RAW", "evidence": "seen"}], "no_new_privileges": true,
        "privileged_programs": [], "read_only": true, "tmpfs": [{"name": "/run", "evidence": "seen"}], "written": [],
        "devices": [{"name": "/dev/fuse:rw", "evidence": "seen"}], "ports": [], "refused": [], "limits": []
    });
    Proposal::parse(text.to_string().as_bytes()).expect("a proposal")
}

#[test]
fn a_search_that_was_stopped_goes_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("log");
    let whole = proposal(&["read", "write", "close", "openat", "execve", "mmap"]);
    let all = removable(&whole);
    let needed = ["read", "mmap", "CAP_NET_RAW"];
    let mut trials = 0;
    let mut trial = needs(&needed, &[], &mut trials);
    let mut left = 5;
    let mut log = Log::open(&path, &whole).expect("begins");
    let stopped = search(
        &all,
        &mut log,
        |removed| {
            left -= 1;
            if left == 0 { anyhow::bail!("stopped") } else { trial(removed) }
        },
        |_, _, _| (),
    );
    assert!(stopped.is_err());
    drop(log);
    // A line that was cut off by a kill is no trial.
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("the log");
    std::io::Write::write_all(&mut file, b"{\"removed\":[\"re").expect("writes");
    let mut log = Log::open(&path, &whole).expect("goes on");
    assert_eq!(log.len(), 4);
    let (mut again, mut fresh) = (0, 0);
    let resumed = search(&all, &mut log, needs(&needed, &[], &mut again), |_, _, _| ()).expect("no error");
    let whole_search =
        search(&all, &mut Log::none(), needs(&needed, &[], &mut fresh), |_, _, _| ()).expect("no error");
    assert_eq!(resumed, whole_search);
    assert_eq!(again + 4, fresh);
    let other = Log::open(&path, &proposal(&["read"])).expect_err("another proposal").to_string();
    assert!(other.contains("another proposal"), "{other}");
    let other = Log::open(&path, &(&whole, "tested otherwise")).expect_err("another test").to_string();
    assert!(other.contains("another test"), "{other}");
}

#[test]
fn what_is_taken_away_is_refused_as_libc_wants_it() {
    let whole = proposal(&["read", "statx", "getpid"]);
    let removed: Removed =
        ["statx", "getpid", "CAP_NET_RAW", "tmpfs /run", "device /dev/fuse:rw"].map(str::to_owned).into();
    let less = without(&whole, &removed);
    let names: Vec<(&str, Verdict)> =
        less.calls.iter().map(|entry| (entry.syscall.as_str(), entry.verdict)).collect();
    assert_eq!(names, [("read", Verdict::Allow), ("statx", Verdict::Enosys)]);
    assert!(less.capabilities.is_empty() && less.tmpfs.is_empty() && less.devices.is_empty());
    assert_eq!(removable(&whole).len(), 6);
}
