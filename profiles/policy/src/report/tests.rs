use super::*;
use crate::finding::{Failures, NotApplicable};
use crate::{Findings, Outcome};

fn finding(rule: &str, severity: Severity, outcome: Outcome, place: Option<(&str, u32)>) -> Finding {
    Finding {
        rule: rule.to_owned(),
        title: "Title | with <b>, \"quotes\" & a \u{202e}mark".to_owned(),
        severity,
        target: "prod/Deployment/w,e:b".to_owned(),
        outcome,
        message: "It does\nnot hold: 100%".to_owned(),
        evidence: vec!["a ]]> b".to_owned(), "@team https://x.example `c` \u{7}".to_owned()],
        remedy: "Do <this>".to_owned(),
        place: place.map(|(file, line)| Where { file: file.to_owned(), line }),
    }
}

fn sample() -> Findings {
    let all = vec![
        finding("A-1", Severity::Low, Outcome::Fail, Some(("deploy/a b.yaml", 3))),
        finding("A-2", Severity::Critical, Outcome::Fail, Some(("/repo/x.yaml", 7))),
        finding("A-3", Severity::High, Outcome::NotObservable, None),
        finding("A-4", Severity::Medium, Outcome::Ignored, None),
        finding("A-5", Severity::Medium, Outcome::Pass, None),
    ];
    let elsewhere =
        vec![NotApplicable { target: "Service/s".to_owned(), why: "none".to_owned(), rules: vec![] }];
    Findings::new(1, all, elsewhere)
}

fn infos() -> Vec<RuleInfo> {
    ["A-1", "A-2", "A-3", "A-4", "A-5"]
        .iter()
        .map(|id| RuleInfo {
            id: (*id).to_owned(),
            title: "T".to_owned(),
            severity: Severity::High,
            why: Some("because".to_owned()),
            remedy: "r".to_owned(),
            place: Some(Where { file: "pack:x".to_owned(), line: 4 }),
        })
        .collect()
}

/// What SARIF 2.1.0 (OASIS, sections 3.13 to 3.52) and GitHub's code scanning ask for of what we write.
fn assert_sarif(log: &serde_json::Value) {
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for rule in rules {
        assert!(ids.insert(rule["id"].as_str().unwrap()), "ids are unique (3.19.23)");
        assert!(!rule["shortDescription"]["text"].as_str().unwrap().is_empty());
        assert!(!rule["help"]["text"].as_str().unwrap().is_empty());
        let score: f64 = rule["properties"]["security-severity"].as_str().unwrap().parse().unwrap();
        assert!((0.1..=10.0).contains(&score));
        assert!(rule["properties"]["tags"].as_array().unwrap().len() <= 20);
        let level = rule["defaultConfiguration"]["level"].as_str().unwrap();
        assert!(["none", "note", "warning", "error"].contains(&level));
    }
    let results = run["results"].as_array().unwrap();
    assert!(results.len() <= 5_000);
    for result in results {
        if let Some(index) = result["ruleIndex"].as_u64() {
            let index = usize::try_from(index).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"], "3.27.6");
        }
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let (kind, level) = (result["kind"].as_str().unwrap(), result["level"].as_str().unwrap());
        assert!(kind == "fail" || level == "none", "3.27.10: {kind} {level}");
        let locations = result["locations"].as_array().unwrap();
        assert_eq!(locations.len(), 1);
        let place = &locations[0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(!uri.is_empty() && uri.bytes().all(|byte| byte.is_ascii_graphic()), "{uri}");
        assert!(place["region"]["startLine"].as_u64().unwrap() >= 1);
        assert!(!result["partialFingerprints"]["plimFinding/v1"].as_str().unwrap().is_empty());
    }
}

#[test]
fn sarif_keeps_to_the_standard() {
    let log = sarif(&sample(), &infos(), Some("/repo"), "policy.yaml");
    assert_sarif(&log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let rules: Vec<&str> = results.iter().map(|result| result["ruleId"].as_str().unwrap()).collect();
    assert_eq!(rules, ["A-2", "A-1", "A-3", "A-4"], "the worst first, passes left out");
    let uri = |n: usize| results[n]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
    assert_eq!((uri(0), uri(1), uri(2)), ("x.yaml".into(), "deploy/a%20b.yaml".into(), "policy.yaml".into()));
    assert_eq!(results[2]["kind"], "open");
    assert_eq!(results[3]["suppressions"][0]["kind"], "external");
    // The fingerprint is that of rule and target.
    assert_ne!(results[0]["partialFingerprints"], results[1]["partialFingerprints"]);
    let moved = sarif(
        &Findings::new(
            1,
            vec![finding("A-2", Severity::Critical, Outcome::Fail, Some(("y.yaml", 9)))],
            vec![],
        ),
        &infos(),
        None,
        "p",
    );
    assert_eq!(moved["runs"][0]["results"][0]["partialFingerprints"], results[0]["partialFingerprints"]);
}

#[test]
fn sarif_is_within_what_is_shown() {
    let mut many: Vec<Finding> =
        (0..6_000).map(|_| finding("A-1", Severity::Low, Outcome::Fail, None)).collect();
    many.push(finding("A-2", Severity::Critical, Outcome::Fail, None));
    let log = sarif(&Findings::new(1, many, vec![]), &infos(), None, "p");
    assert_sarif(&log);
    let run = &log["runs"][0];
    assert_eq!(run["results"].as_array().unwrap().len(), 5_000);
    assert_eq!(run["results"][0]["ruleId"], "A-2");
    let note = run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"].as_str().unwrap();
    assert!(note.starts_with("1001 more results"));
}

struct Element {
    parent: String,
    name: String,
    attributes: std::collections::BTreeMap<String, String>,
}

/// The elements of an XML text in order, checked for nesting; attributes must be unique and quoted.
fn elements(xml: &str) -> Vec<Element> {
    let mut open: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut rest = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").expect("declaration");
    while let Some(start) = rest.find('<') {
        let between = &rest[..start];
        assert!(
            !between.contains('>')
                && between.split('&').skip(1).all(|text| {
                    ["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|entity| text.starts_with(entity))
                }),
            "{between}"
        );
        // Text stands in these alone.
        let mixed = open.last().is_some_and(|name| ["failure", "error", "skipped"].contains(&name.as_str()));
        assert!(mixed || between.trim().is_empty(), "{between} in {open:?}");
        let end = rest[start..].find('>').expect("closed") + start;
        let inside = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = inside.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "nesting");
            continue;
        }
        let alone = inside.ends_with('/');
        let inside = inside.trim_end_matches('/');
        let (name, mut rest_of) = inside.split_once(' ').unwrap_or((inside, ""));
        let mut attributes = std::collections::BTreeMap::new();
        while let Some((key, tail)) = rest_of.split_once("=\"") {
            let (value, tail) = tail.split_once('"').expect("quoted");
            assert!(attributes.insert(key.trim().to_owned(), value.to_owned()).is_none(), "{key} twice");
            rest_of = tail;
        }
        let parent = open.last().cloned().unwrap_or_default();
        found.push(Element { parent, name: name.to_owned(), attributes });
        if !alone {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty());
    found
}

/// Element, its parents, attributes that must be there, attributes that may.
type Allowed = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

/// What `junit-10.xsd` lets stand where.
const JUNIT: [Allowed; 6] = [
    ("testsuites", &[""], &[], &["name", "time", "tests", "failures", "errors"]),
    (
        "testsuite",
        &["testsuites", "testsuite"],
        &["name", "tests", "failures", "errors"],
        &["group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"],
    ),
    ("testcase", &["testsuite"], &["name"], &["time", "classname", "group"]),
    ("failure", &["testcase"], &[], &["type", "message"]),
    ("error", &["testcase"], &[], &["type", "message"]),
    ("skipped", &["testcase"], &[], &["type", "message"]),
];

fn assert_junit(xml: &str) -> Vec<Element> {
    assert!(
        xml.chars().all(|letter| letter == '\n' || (letter >= ' ' && letter != '\u{202e}')),
        "legal in XML 1.0"
    );
    let elements = elements(xml);
    for Element { parent, name, attributes } in &elements {
        let known = JUNIT.iter().find(|(known, ..)| known == name);
        let (_, parents, required, optional) = known.unwrap_or_else(|| panic!("<{name}>"));
        assert!(parents.contains(&parent.as_str()), "<{name}> in <{parent}>");
        assert!(required.iter().all(|key| attributes.contains_key(*key)), "<{name}> {attributes:?}");
        for key in attributes.keys() {
            assert!(required.iter().chain(*optional).any(|known| known == key), "<{name} {key}>");
        }
    }
    elements
}

#[test]
fn junit_is_what_readers_expect() {
    let xml = junit(&sample());
    let elements = assert_junit(&xml);
    let names = |name: &str| elements.iter().filter(|element| element.name == name).count();
    let counts = (
        names("testsuites"),
        names("testsuite"),
        names("testcase"),
        names("failure"),
        names("error"),
        names("skipped"),
    );
    assert_eq!(counts, (1, 1, 5, 2, 1, 1));
    let suite = &elements[1].attributes;
    let numbers = ["tests", "failures", "errors", "skipped"].map(|key| suite[key].as_str());
    assert_eq!(numbers, ["5", "2", "1", "1"]);
    assert!(elements.iter().filter(|e| e.parent == "testcase").all(|e| e.attributes.contains_key("message")));
    // Where it is written: in the failure's text, and on the suite where all of it is one file's.
    assert!(xml.contains(">deploy/a b.yaml:3\na ]]&gt; b\n") && !suite.contains_key("file"), "{xml}");
    let of = |file| vec![finding("A-1", Severity::Low, Outcome::Fail, Some((file, 3))); 2];
    let xml = junit(&Findings::new(1, of("a&b.yaml"), vec![]));
    assert!(assert_junit(&xml)[1].attributes["file"] == "a&amp;b.yaml", "{xml}");
}

#[test]
fn annotations_are_at_most_ten() {
    let text = github(&sample());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("::error file=/repo/x.yaml,line=7,title=A-2 (critical)::prod/Deployment/w,e:b: It does\\nnot hold: 100%25"), "{}", lines[0]);
    assert!(lines[1].starts_with("::notice file=deploy/a b.yaml,line=3,"), "{}", lines[1]);
    assert!(lines[2].starts_with("::warning title=A-3"));
    let severities = [Severity::Low, Severity::High, Severity::Medium];
    let many = (0..30).map(|n| {
        let severity = if n < 20 { Severity::High } else { severities[n % 3] };
        finding("A,1:x", severity, Outcome::Fail, None)
    });
    let many = many.collect();
    let text = github(&Findings::new(1, many, vec![]));
    assert_eq!(text.lines().filter(|line| line.starts_with("::error title=A%2C1%3Ax")).count(), 10);
    assert_eq!(text.lines().filter(|line| line.starts_with("::")).count(), 10, "the worst, and no others");
    assert!(text.ends_with("20 more findings stand in the step's summary\n"));
}

#[test]
fn markdown_and_html_hold_text_of_others() {
    let text = markdown(&sample());
    assert!(text.starts_with("## ❌ Policy findings"));
    let row = text.lines().find(|line| line.contains("A-2")).unwrap();
    assert_eq!(row.matches(" | ").count(), 3, "{row}");
    assert!(
        row.contains("\\|")
            && row.contains("&lt;b&gt;")
            && row.contains("&#64;team")
            && !row.contains("https://")
    );
    let many: Vec<Finding> = (0..3_000).map(|_| finding("A-1", Severity::Low, Outcome::Fail, None)).collect();
    let long = markdown(&Findings::new(1, many, vec![]));
    assert!(long.chars().count() < 65_536 && long.contains("more findings"));
    assert!(markdown(&Findings::new(2, vec![], vec![])).contains("✅"));

    let page = html(&sample());
    assert!(!page.contains("<b>") && page.contains("&lt;b&gt;") && !page.contains('\u{202e}'));
    assert!(page.contains("Service/s: none"));
    assert_eq!(sample().summary.failures, Failures { critical: 1, high: 0, medium: 0, low: 1 });
}

/// Every string that others choose carries the alphabet, in every format; what each reader takes for more than text is not in it.
#[test]
fn names_of_others_stay_text_in_every_format() {
    use plim_fuzz::{HOSTILE, hostile_letters};
    use plim_model::text::deceives;

    let letters: String = hostile_letters().collect();
    for name in HOSTILE.iter().map(|text| (*text).to_owned()).chain([letters, HOSTILE.concat()]) {
        let outcomes = [Outcome::Fail, Outcome::NotObservable, Outcome::Ignored];
        let all = outcomes.map(|outcome| Finding {
            title: name.clone(),
            target: name.clone(),
            message: name.clone(),
            evidence: vec![name.clone(), format!("{name:?}"), name.clone()],
            remedy: name.clone(),
            place: Some(Where { file: format!("f{name}"), line: 3 }),
            ..finding("A-1", Severity::High, outcome, None)
        });
        let elsewhere = vec![NotApplicable { target: name.clone(), why: name.clone(), rules: vec![] }];
        let findings = Findings::new(1, all.to_vec(), elsewhere);
        let lines = |text: &str| {
            assert!(!text.chars().any(|letter| letter != '\n' && deceives(letter)), "{name:?}: {text}");
            text.lines().map(|line| line.trim_start().to_owned()).collect::<Vec<_>>()
        };

        let xml = junit(&findings);
        assert!(!lines(&xml).iter().any(|line| line.starts_with("::")), "{name:?}: {xml}");
        let count = |what: &str| assert_junit(&xml).iter().filter(|element| element.name == what).count();
        assert_eq!(["testcase", "failure", "error", "skipped"].map(count), [3, 1, 1, 1], "{name:?}");
        // As many lines as for any other name.
        let plain = Findings::new(1, vec![finding("A-1", Severity::High, Outcome::Fail, None)], vec![]);
        assert_eq!(github(&plain).lines().count(), 1);

        let page = html(&findings);
        assert!(!lines(&page).iter().any(|line| line.starts_with("::")), "{name:?}: {page}");
        assert!(!page.contains("<script") && !page.contains("onmouseover=\""), "{name:?}: {page}");
        assert_eq!(page.matches("<tr>").count(), 4, "{name:?}");

        let rows = lines(&markdown(&findings)).iter().filter(|line| line.starts_with("| ")).count();
        assert_eq!(rows, 5, "{name:?}: a head, its rule and three rows");

        let commands = github(&findings);
        assert_eq!(lines(&commands).len(), 2, "{name:?}: {commands}");
        assert!(
            lines(&commands)
                .iter()
                .all(|line| line.starts_with("::error ") || line.starts_with("::warning "))
        );

        let log = sarif(&findings, &infos(), None, "p");
        assert_sarif(&log);
        for value in [serde_json::to_value(&findings).unwrap(), log] {
            let text = plim_model::text::json(&format!("{value:#}"));
            lines(&text);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value, "{name:?}");
        }
    }
}
