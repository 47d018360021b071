use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_workload_keeps_what_a_trial_does_not_say_itself() {
    let options = "--learn f -v /a:/b --cap-add=NET_ADMIN --cap-drop ALL --security-opt seccomp=x --security-opt=apparmor=y \
                   --read-only --name n -m 64m --";
    let workload = Workload::of(&words(options), &words("nginx --name x"));
    assert_eq!(workload.options, words("-v /a:/b --security-opt=apparmor=y -m 64m"));
    assert_eq!(workload.command, words("nginx --name x"));
}

#[test]
fn an_image_stands_for_the_files_of_a_workload() {
    for options in ["--rootfs /r -v /a:/b", "-v /a:/b --rootfs=/r", "-v /a:/b --bundle /b"] {
        let workload = Workload::of(&words(options), &words("true"));
        assert_eq!(workload.options, words(options));
        assert_eq!(workload.options_beside_image(), words("-v /a:/b"));
    }
}

fn call(name: &str, count: u64) -> CallUse {
    CallUse {
        arch: "x86_64".to_owned(),
        syscall: Some(name.to_owned()),
        number: u32::try_from(name.len()).expect("short"),
        runtime: false,
        args: Vec::new(),
        count,
    }
}

fn recording(calls: Vec<CallUse>) -> Recording {
    Recording {
        format: FORMAT.to_owned(),
        granted: vec!["CAP_CHOWN".to_owned()],
        sees_capabilities: true,
        calls,
        ..Recording::default()
    }
}

#[test]
fn merging_adds_up_and_loses_nothing() {
    let mut one = recording(vec![call("read", 2), call("close", 1)]);
    one.files.push(FileUse {
        path: "/x".to_owned(),
        created: false,
        calls: vec!["chmod".to_owned()],
        cut: false,
    });
    let mut other = recording(vec![call("read", 3), call("openat", 7)]);
    other.files.push(FileUse {
        path: "/x".to_owned(),
        created: true,
        calls: vec!["openat".to_owned()],
        cut: false,
    });
    other.granted = vec!["CAP_KILL".to_owned()];
    other.missed.files = 4;
    other.missed.ring_operations = 5;
    other.missed.rings_hidden = true;
    one.merge(other);
    let counts: Vec<(String, u64)> =
        one.calls.iter().map(|call| (call.syscall.clone().expect("named"), call.count)).collect();
    assert_eq!(counts, [("read".to_owned(), 5), ("close".to_owned(), 1), ("openat".to_owned(), 7)]);
    assert_eq!(one.granted, ["CAP_CHOWN", "CAP_KILL"]);
    assert_eq!((one.files[0].created, one.files[0].calls.len()), (true, 2));
    assert_eq!((one.missed.files, one.missed.ring_operations, one.missed.rings_hidden), (4, 5, true));
}

#[test]
fn a_document_that_is_no_recording_is_refused_by_name() {
    for (text, words) in [
        ("{}", "format"),
        ("[", "expected a recording"),
        (r#"{"format": "2.0"}"#, "expected 1.0"),
        (r#"{"format": "1.0"}"#, "missing field"),
    ] {
        let error = Recording::parse(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    let whole = serde_json::to_vec(&recording(vec![call("read", 1)])).expect("as JSON");
    assert_eq!(Recording::parse(&whole).expect("reads what it wrote"), recording(vec![call("read", 1)]));
}
