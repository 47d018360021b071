use serde_json::{Map, Value};

use super::*;
use crate::cause::Cause;
use crate::missed::Unseen;

fn denial(syscall: &str, kind: Kind) -> Denial {
    let mut remedy = Map::new();
    remedy.insert("summary".to_owned(), Value::from("allow it"));
    remedy.insert("docker".to_owned(), Value::from("--so"));
    Denial {
        boot_ns: None,
        container: "web".to_owned(),
        engine: "plim".to_owned(),
        pid: 1,
        tid: 1,
        comm: "x".to_owned(),
        arch: "x86_64".to_owned(),
        syscall: Some(syscall.to_owned()),
        number: 1,
        args: vec!["0x0".to_owned(); 6],
        decoded: Map::from_iter([("flags".to_owned(), Value::from("1"))]),
        errno: Some("EPERM".to_owned()),
        cause: Cause {
            kind,
            capability: None,
            rule: Some("/defaultAction".to_owned()),
            detail: Some("why".to_owned()),
        },
        remedy,
    }
}

fn report(format: Format, summary: bool, times: bool, wanted: Wanted) -> Report<Vec<u8>> {
    let look = Look { format, summary, times, style: Style::plain(false) };
    let mut report = Report::new(Vec::new(), look, wanted);
    report.clock = Clock { boot_ns: 1_000_000_000, wall_ns: 49_020_000_000_000 };
    report
}

fn tell(report: &mut Report<Vec<u8>>, denials: &[(&Denial, u64, u64)]) {
    for (denial, id, boot_ns) in denials {
        report.tell(Told { denial, id: *id, slot: 0, boot_ns: *boot_ns, pid: 7, tid: 8 }).expect("written");
    }
}

fn lost() -> Missed {
    let web = Unseen { container: "web".to_owned(), engine: "plim".to_owned(), lost: 3, ..Unseen::default() };
    Missed { targets: vec![web], ..Missed::default() }
}

fn text(report: Report<Vec<u8>>) -> String {
    String::from_utf8(report.finish(lost()).expect("written").0).expect("text")
}

#[test]
fn one_line_for_each() {
    let mount = denial("mount", Kind::Seccomp);
    let mut lines = report(Format::Table, false, false, Wanted::default());
    tell(&mut lines, &[(&mount, 1, 1_500_000_000)]);
    let expected =
        "web x[7] mount(\"1\") = EPERM: seccomp /defaultAction: why -> allow it (docker run --so)\n";
    assert_eq!(text(lines), expected);
    let mut timed = report(Format::Table, false, true, Wanted::default());
    tell(&mut timed, &[(&mount, 1, 1_500_000_000)]);
    assert_eq!(text(timed), format!("13:37:00.500Z {expected}"));
}

#[test]
fn times_only_where_they_are_wanted() {
    let mount = denial("mount", Kind::Seccomp);
    for (times, expected) in [(false, Value::Null), (true, Value::from(5))] {
        let mut lines = report(Format::Jsonl, false, times, Wanted::default());
        tell(&mut lines, &[(&mount, 1, 5)]);
        let text = text(lines);
        let line: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        assert_eq!(
            (&line["boot_ns"], &line["pid"], &line["tid"]),
            (&expected, &Value::from(7), &Value::from(8))
        );
    }
}

#[test]
fn a_summary_counts_and_says_first_and_last() {
    let (mount, socket) = (denial("mount", Kind::Seccomp), denial("socket", Kind::Capability));
    let told = [(&mount, 1, 1_250_000_000), (&socket, 2, 1_500_000_000), (&socket, 3, 3_000_000_000)];
    let mut table = report(Format::Table, true, false, Wanted::default());
    tell(&mut table, &told);
    let table = text(table);
    let mut lines = table.lines().skip(1);
    assert!(lines.next().expect("a row").starts_with("2      +0.500s  +2.000s  web"), "{table}");
    assert!(lines.next().expect("a row").starts_with("1      +0.250s  +0.250s  web"), "{table}");
    let mut document = report(Format::Json, true, true, Wanted::default());
    tell(&mut document, &told);
    let document: Value = serde_json::from_str(&text(document)).expect("JSON");
    assert_eq!(document["groups"][0]["count"], 2);
    assert_eq!(document["groups"][0]["first_boot_ns"], 1_500_000_000u64);
    assert_eq!(document["groups"][0]["last_boot_ns"], 3_000_000_000u64);
    assert_eq!(document["missed"]["lost"], 3);
}

#[test]
fn only_what_is_wanted() {
    let (mount, socket) = (denial("mount", Kind::Seccomp), denial("socket", Kind::Capability));
    let wanted = Wanted { causes: vec![Kind::Seccomp], syscalls: vec!["mount".to_owned()] };
    for summary in [false, true] {
        let mut document = report(Format::Json, summary, false, wanted.clone());
        tell(&mut document, &[(&mount, 1, 5), (&socket, 2, 6)]);
        let document: Value = serde_json::from_str(&text(document)).expect("JSON");
        let list = document[if summary { "groups" } else { "denials" }].as_array().expect("a list").len();
        assert_eq!(list, 1);
    }
}

#[test]
fn a_screen_is_no_higher_than_the_terminal() {
    let denials: Vec<Denial> = (0..20).map(|index| denial(&format!("call{index}"), Kind::Seccomp)).collect();
    let mut screen = report(Format::Table, true, false, Wanted::default());
    for (id, denial) in (0..).zip(&denials) {
        tell(&mut screen, &[(denial, id, 1_500_000_000)]);
    }
    screen.redraw(10, &lost()).expect("written");
    let text = String::from_utf8(screen.out.clone()).expect("text");
    assert!(text.starts_with("\x1b[H\x1b[J20 refused calls, 20 kinds, 3 events lost; "), "{text}");
    assert_eq!(text.lines().count(), 9);
}

#[test]
fn a_denial_that_was_read_is_written_as_the_one_that_was_seen() {
    let mut seen = denial("openat", Kind::Seccomp);
    seen.decoded = Map::from_iter(
        [("dfd", "AT_FDCWD"), ("filename", "/x"), ("flags", "O_RDONLY")]
            .map(|(name, word)| (name.to_owned(), Value::from(word))),
    );
    let read: Denial =
        serde_json::from_str(&serde_json::to_string(&seen).expect("as JSON")).expect("reads what it wrote");
    assert_eq!(read.call(), "openat(AT_FDCWD, \"/x\", O_RDONLY)");
    let nameless = Denial { syscall: None, number: 999, decoded: Map::new(), ..seen };
    assert_eq!(nameless.call(), "call 999(0x0, 0x0, 0x0, 0x0, 0x0, 0x0)");
}

#[test]
fn what_was_not_seen_is_in_every_form() {
    let mount = denial("mount", Kind::Seccomp);
    for (format, summary) in
        [(Format::Json, false), (Format::Json, true), (Format::Jsonl, false), (Format::Jsonl, true)]
    {
        let mut report = report(format, summary, false, Wanted::default());
        tell(&mut report, &[(&mount, 1, 5)]);
        let text = text(report);
        let last = if format == Format::Json { &text } else { text.lines().last().expect("a line") };
        let document: Value = serde_json::from_str(last).expect("JSON");
        let missed = &document["missed"];
        assert_eq!(
            (&missed["lost"], &missed["ring_operations"]),
            (&Value::from(3), &Value::from(0)),
            "{format:?}"
        );
        assert_eq!(missed["targets"].as_array().expect("a list").len(), 1);
        assert_eq!(
            (&missed["targets"][0]["container"], &missed["targets"][0]["lost"]),
            (&Value::from("web"), &Value::from(3))
        );
    }
    // Where all was seen a line is a denial.
    let mut lines = report(Format::Jsonl, false, false, Wanted::default());
    tell(&mut lines, &[(&mount, 1, 5)]);
    let (text, _) = lines.finish(Missed::default()).expect("written");
    assert_eq!(String::from_utf8(text).expect("text").lines().count(), 1);
    // An io_uring is a row of its own where people read.
    let mut missed = lost();
    missed.targets[0].ring_operations = 20;
    let table = report(Format::Table, false, false, Wanted::default());
    let (text, _) = table.finish(missed).expect("written");
    assert!(String::from_utf8(text).expect("text").contains("20"));
}

#[test]
fn a_container_that_makes_up_refusals_leaves_the_others_theirs() {
    let (mut flood, mount) = (denial("mkdir", Kind::Permission), denial("mount", Kind::Seccomp));
    let mut document = report(Format::Json, false, false, Wanted::default());
    let mut summary = report(Format::Json, true, false, Wanted::default());
    flood.comm = "x".repeat(1 << 16);
    for id in 0..2000 {
        document.tell(Told { denial: &flood, id, slot: 0, boot_ns: 1, pid: 1, tid: 1 }).expect("told");
    }
    for id in 0..2 * MOST_GROUPS {
        flood.comm = id.to_string();
        summary.tell(Told { denial: &flood, id, slot: 0, boot_ns: 1, pid: 1, tid: 1 }).expect("told");
    }
    for report in [&mut document, &mut summary] {
        for (id, comm) in (1 << 32..).zip(["a", "b"]) {
            let mount = Denial { comm: comm.to_owned(), container: "quiet".to_owned(), ..mount.clone() };
            report.tell(Told { denial: &mount, id, slot: 1, boot_ns: 1, pid: 1, tid: 1 }).expect("told");
        }
    }
    assert!(summary.groups.len() < usize::try_from(MOST_GROUPS).expect("small"));
    let two = Missed { targets: vec![Unseen::default(), Unseen::default()], ..Missed::default() };
    let (text, missed) = document.finish(two).expect("written");
    assert!(missed.targets[0].left_out > 0 && missed.targets[1].left_out == 0, "{missed:?}");
    assert!(!missed.words().is_empty());
    let document: Value = serde_json::from_slice(&text).expect("JSON");
    let of_quiet = |list: &Value, at: &str| {
        let list = list.as_array().expect("a list");
        list.iter().filter(|one| one.pointer(at) == Some(&Value::from("quiet"))).count()
    };
    assert_eq!(of_quiet(&document["denials"], "/container"), 2);
    let summary: Value = serde_json::from_str(&self::text(summary)).expect("JSON");
    assert_eq!(of_quiet(&summary["groups"], "/denial/container"), 2);
}
