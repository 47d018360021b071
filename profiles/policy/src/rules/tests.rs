use super::*;
use crate::packs;

/// Files by name.
struct Files(&'static [(&'static str, &'static str)]);

impl Source for Files {
    fn text(&self, name: &str, _: Option<&str>) -> Result<(String, String), String> {
        let file = self.0.iter().find(|(known, _)| *known == name);
        file.map(|(name, text)| ((*text).to_owned(), (*name).to_owned())).ok_or_else(|| "ENOENT".to_owned())
    }
}

fn set(text: &'static str) -> Result<PolicySet, String> {
    load(&["p.yaml".to_owned()], &Files(Box::leak(Box::new([("p.yaml", text)]))))
        .map_err(|error| error.to_string())
}

#[test]
fn every_pack_loads_and_its_rules_are_whole() {
    for name in packs::names() {
        let set = load(&[format!("pack:{name}")], &Files(&[])).unwrap_or_else(|error| panic!("{error}"));
        assert!(set.rules.len() >= 7, "{name} has {} rules", set.rules.len());
        for rule in &set.rules {
            assert!(!rule.remedy.is_empty() && rule.title.len() < 100, "{name} {}", rule.id);
        }
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../library/policies");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().into_string().unwrap().strip_suffix(".yaml").map(str::to_owned)
        })
        .collect();
    files.sort();
    assert_eq!(files, packs::names().collect::<Vec<_>>());
}

#[test]
fn versions_of_packs() {
    let check =
        |name: &str| load(&[name.to_owned()], &Files(&[])).map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(check("pack:pss-restricted@1.31"), Ok(()));
    assert_eq!(check("pack:pss-baseline@latest"), Ok(()));
    assert!(check("pack:pss-restricted@2.0").unwrap_err().contains("expected one such as 1.31"));
    assert!(check("pack:hardened@1.31").unwrap_err().contains("has no versions"));
    assert!(check("pack:pss-restrictde").unwrap_err().contains("did you mean \"pss-restricted\"?"));
}

const RULE: &str =
    "format: \"1.0\"\nname: x\nrules:\n  - id: A\n    title: t\n    severity: high\n    remedy: r\n";

#[test]
fn errors_have_line_column_and_the_nearest_word() {
    for (rest, expected) in [
        (
            "    asert: \"true\"\n",
            "p.yaml: line 8, column 5: rule: unknown key \"asert\", did you mean \"assert\"?",
        ),
        (
            "    assert: snapshto.user\n",
            "line 8, column 13: assert: unknown variable \"snapshto\", did you mean \"snapshot\"?",
        ),
        ("    assert: |\n      true &&\n      snapshot..x\n", "line 10, column 1: assert: not CEL"),
        ("    assert: snapshot.user.frobnicate()\n", "unknown method \"frobnicate\""),
        (
            "    assert: snapshot.no_new_prvs == true\n",
            "line 8, column 13: assert: snapshot has no field \"no_new_prvs\", did you mean \"no_new_privs\"?",
        ),
        (
            "    assert: snapshot.mounts.all(m, m.optoins.all(o, o != \"x\"))\n",
            "line 8, column 13: assert: m has no field \"optoins\", did you mean \"options\"?",
        ),
        (
            "    assert: \"!has(container.namespaces.pid) || container.previleged == false\"\n",
            "line 8, column 13: assert: container has no field \"previleged\", did you mean \"privileged\"?",
        ),
        (
            "    assert: container.image.matches(\"(web\")\n",
            "line 8, column 13: assert: matches: \"(web\" is no pattern: unclosed group",
        ),
        ("", "line 4, column 5: rule A: nothing to check"),
        (
            "    capabilities: {at_most: [NET_RAWW]}\n",
            "line 8, column 30: at_most: unknown capability \"NET_RAWW\", did you mean \"CAP_NET_RAW\"?",
        ),
        ("    seccomp: {subset_of: \"preset:dcoker-default\"}\n", "did you mean \"docker-default\"?"),
        ("    seccomp: {}\n", "expected one of subset_of and equals"),
        ("    syscall: {must_deny: [sokcet]}\n", "unknown system call \"sokcet\", did you mean \"socket\"?"),
        (
            "    syscall: {must_deny: [\"socket(famly=AF_ALG)\"]}\n",
            "has no argument \"famly\", did you mean \"family\"?",
        ),
        ("    syscall: {must_deny: [\"socket(family=AF_AGL)\"]}\n", "did you mean \"AF_ALG\"?"),
        ("    syscall: {must_deny: [\"socket(family\"]}\n", "no ) at the end"),
        ("    verify_installed: no\n", "verify_installed: found no, expected true"),
        ("    pod_security: hostPorts\n", "does not say its level and version"),
        ("    on: {kind: [kubernets]}\n    no_escape_paths: true\n", "did you mean \"kubernetes\"?"),
        ("    live: {pod_security: hostPorts}\n", "pod_security"),
        (
            "    declared: {assert: \"snapshot.no_new_privs\"}\n",
            "declared: this expression is about live targets",
        ),
        (
            "    no_escape_paths: true\n  - id: A\n    title: t\n    severity: low\n    remedy: r\n    no_escape_paths: true\n",
            "line 9, column 5: rule \"A\" stands twice, first in line 4",
        ),
        ("    no_escape_paths: true\nignores:\n  - rule: A\n    target: x\n", "ignore: reason is missing"),
        (
            "    no_escape_paths: true\nignores:\n  - {rule: A, target: x, reason: y, expires: 2026-02-30}\n",
            "line 10, column 46: expires: found \"2026-02-30\"",
        ),
        (
            "    no_escape_paths: true\noverrides:\n  - {rule: B, severity: low}\n",
            "no rule \"B\", did you mean \"A\"?",
        ),
        ("    no_escape_paths: true\noverrides:\n  - {rule: A, severity: hihg}\n", "did you mean \"high\"?"),
        (
            "    no_escape_paths: true\nextends: [pack:hardend]\n",
            "p.yaml: line 9, column 11: extends pack:hardend: no such pack, did you mean \"hardened\"?",
        ),
        ("    no_escape_paths: true\nextends: [p2.yaml]\n", "extends p2.yaml: ENOENT"),
        ("    no_escape_paths: true\n    title: again\n", "key \"title\" stands twice, first in line 5"),
        ("    no_escape_paths: &x true\n    verify_installed: *x\n", "aliases are not allowed here"),
    ] {
        let text: &'static str = Box::leak(format!("{RULE}{rest}").into_boxed_str());
        let error = set(text).map(|_| ()).expect_err(rest);
        assert!(error.contains(expected), "{rest}\n   found {error}\nexpected {expected}");
    }
    assert!(set("format: \"2.0\"\nname: x\n").unwrap_err().contains("format \"2.0\" is not supported"));
    assert!(set("name: x\n").unwrap_err().contains("format is missing"));
    assert!(set("").unwrap_err().contains("an empty file"));
    assert!(set("format: \"1.0\"\nname: a\n---\nname: b\n").unwrap_err().contains("a second document"));
}

#[test]
fn extending() {
    let files: &[(&str, &str)] = &[
        (
            "a",
            "format: \"1.0\"\nname: a\nextends: [b, pack:docker-default]\noverrides:\n  - {rule: DOCK-seccomp, severity: \"off\"}\n  - {rule: DOCK-masked, severity: critical}\n",
        ),
        ("b", "format: \"1.0\"\nname: b\nextends: pack:docker-default\n"),
        ("loop", "format: \"1.0\"\nname: loop\nextends: [loop2]\n"),
        ("loop2", "format: \"1.0\"\nname: loop2\nextends: [loop]\n"),
    ];
    let files = Files(Box::leak(files.to_vec().into_boxed_slice()));
    let set = load(&["a".to_owned()], &files).unwrap();
    assert!(set.rule("DOCK-seccomp").is_none());
    assert_eq!(set.rule("DOCK-masked").unwrap().severity, crate::Severity::Critical);
    assert_eq!(set.off[0].0, "DOCK-seccomp");
    // Each file is taken once, so a circle ends.
    assert!(load(&["loop".to_owned()], &files).unwrap().rules.is_empty());
}

#[test]
fn expressions_cannot_run_away() {
    let deep = format!("{}true{}", "(".repeat(100), ")".repeat(100));
    let nots = "!".repeat(3000) + "true";
    let sums = vec!["1"; 1500].join("+") + " == 1";
    let chain = vec!["snapshot.lsm == null"; 150].join(" && ");
    let indexes = format!("snapshot{}", "[0]".repeat(1200));
    let doubling = format!("[\"x\"]{}.size() == 1", ".map(a, a + a)".repeat(40));
    let loops =
        "snapshot.a.all(a, snapshot.a.all(b, snapshot.a.all(c, snapshot.a.all(d, a == b && c == d))))";
    for text in [
        deep.as_str(),
        &nots,
        &sums,
        &indexes,
        &doubling,
        loops,
        "x".repeat(5000).as_str(),
        "snapshot.a.matches(snapshot.b)",
        "snapshot[?\"x\"] == 1",
        "a{b: 1}",
    ] {
        assert!(Expression::new(text).is_err(), "{}", &text[..text.len().min(60)]);
    }
    // Each more of these doubles what it would hold: refused before it is tried.
    let doubled = |n: usize| {
        let text = format!("[\"x\"]{}.size() == 1", ".map(a, a + a)".repeat(n));
        assert!(Expression::new(&text).is_err());
    };
    plim_fuzz::linear(40, doubled).unwrap();
    assert!(Expression::new(&chain).is_ok());
    let three =
        "snapshot.mounts.all(a, snapshot.mounts.all(b, snapshot.mounts.all(c, a == b || b == c || c == a)))";
    let expression = Expression::new(three).unwrap();
    let context = cel::Context::default();
    assert!(
        matches!(expression.evaluate(&context, &[], 10_000), Evaluated::Unknown(why) if why.contains("steps"))
    );
}
