use super::*;

fn refused(text: &str, limits: Limits) -> String {
    read(text, limits).expect_err("refused").to_string()
}

#[test]
fn places_are_those_of_an_editor() {
    let documents = read("# comment\nrules:\n  - id: A\n    übel: [1, yes]\n", Limits::POLICY).unwrap();
    let rule = &documents[0].get("rules").unwrap().items()[0];
    assert_eq!(rule.get("id").unwrap().at, Place { line: 3, column: 9 });
    let list = rule.get("übel").unwrap();
    assert_eq!(list.items()[1].at, Place { line: 4, column: 15 });
    assert_eq!((list.items()[0].int(), list.items()[1].bool()), (Some(1), Some(true)));

    let documents = read("{\n \"a\": [1,\n  {\"é\": \"b\\u00e9\\/\"}]}", Limits::INPUT).unwrap();
    let inner = &documents[0].get("a").unwrap().items()[1];
    assert_eq!(inner.at, Place { line: 3, column: 3 });
    assert_eq!(inner.text_of("é"), Some("bé/"));
}

#[test]
fn scalars_mean_what_their_readers_mean() {
    let document = &read(
        "{a: yes, b: \"yes\", c: 0x10, d: 010, e: ~, f: -5, g: 1.5, h: 12ab, i: !!str 5, j: 0o17}",
        Limits::INPUT,
    )
    .unwrap()[0];
    assert_eq!(document.bool_of("a"), Some(true));
    assert_eq!(document.bool_of("b"), None);
    assert_eq!(document.int_of("c"), Some(16));
    assert_eq!(document.int_of("d"), Some(8));
    assert!(document.get("e").is_none());
    assert_eq!(document.int_of("f"), Some(-5));
    assert_eq!(document.get("g").unwrap().to_json(), serde_json::json!(1.5));
    assert_eq!(document.int_of("h"), None);
    assert_eq!(document.int_of("i"), None);
    assert_eq!(document.int_of("j"), Some(15));
}

#[test]
fn aliases_and_merges_in_inputs() {
    let text = "x: &c {a: 1, b: 2}\ny: {<<: *c, b: 3}\nz: {<<: [*c, {d: 4}]}\n";
    let document = &read(text, Limits::INPUT).unwrap()[0];
    assert_eq!(document.get("y").unwrap().to_json(), serde_json::json!({"b": 3, "a": 1}));
    assert_eq!(document.get("z").unwrap().int_of("d"), Some(4));
    assert!(refused(text, Limits::POLICY).contains("aliases are not allowed here"));
    assert!(refused("a: {<<: {b: 1}}\n", Limits::POLICY).contains("merge keys are not allowed"));
    assert!(refused("a: {<<: 5}\n", Limits::INPUT).contains("<<: found 5, expected a mapping"));
    assert!(refused("a: &a [*a]\n", Limits::INPUT).contains("alias"));
}

#[test]
fn hostile_text_is_refused_in_linear_time() {
    // A billion laughs.
    let mut laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ('b'..='k').zip('a'..='j') {
        let all = vec![format!("*{before}"); 10].join(", ");
        laughs.push_str(&format!("{name}: &{name} [{all}]\n"));
    }
    assert!(refused(&laughs, Limits::INPUT).contains("aliases repeat more than 200000 values"));
    let stairs = |n: usize| (0..n.isqrt()).map(|n| " ".repeat(n) + "a:\n").collect::<String>();
    let deep: [&dyn Fn(usize) -> String; 5] =
        [&|n| "[".repeat(n), &|n| "{\"a\":".repeat(n), &|n| "- ".repeat(n), &|n| "? ".repeat(n), &stairs];
    for deep in deep {
        let nested = |n: usize| {
            let error = refused(&deep(n), Limits::INPUT);
            assert!(error.contains("nested more than 64 deep") || error.contains("not YAML"), "{error}");
        };
        plim_fuzz::linear(100_000, nested).unwrap();
    }
    assert!(refused(&"x".repeat(5 << 20), Limits::POLICY).contains("more than the 4194304"));
    assert!(refused(&"- 1\n".repeat(300_000), Limits::POLICY).contains("more than 200000 values"));
    let many = |n: usize| (0..n).map(|n| format!("k{n}: 1\n")).collect::<String>();
    // Merged mappings are as long as others.
    let merging = |n: usize| {
        let merged: String = (0..n).map(|n| format!("    m{n}: 1\n")).collect();
        let text = format!("{}<<:\n{merged}", many(n));
        assert_eq!(read(&text, Limits::INPUT).unwrap()[0].entries().len(), 2 * n);
    };
    plim_fuzz::linear(5_000, merging).unwrap();
    let many = many(100_000);
    assert!(
        refused(&(many.clone() + "k7: 2\n"), Limits::INPUT).contains("\"k7\" stands twice, first in line 8")
    );
    assert!(read(&many, Limits::INPUT).is_ok());
}

/// What `jq -c` writes: one line of megabytes.
#[test]
fn a_long_line_is_read_in_linear_time() {
    let one = "{\"x\":\"é\"},";
    let long = |count: usize| {
        let text = format!("[{}1]", one.repeat(count));
        let documents = read(&text, Limits::INPUT).unwrap();
        let items = documents[0].items();
        assert_eq!((items.len(), items[count].at.line), (count + 1, 1));
        assert_eq!(items[count].at.column, u32::try_from(2 + count * one.chars().count()).unwrap());
    };
    plim_fuzz::linear(20_000, long).unwrap();
}

#[test]
fn errors_name_the_place() {
    for (text, expected) in [
        ("a: [1, 2\nb: 3\n", "line "),
        ("a: b: c\n", "line 1"),
        ("{\"a\": 1", "line 1, column 8: not JSON: found the end, expected '}'"),
        ("{\"a\": 1, \"a\": 2}", "line 1, column 10: key \"a\" stands twice"),
        ("[\"\\x\"]", "not JSON: text with a wrong escape"),
        ("[\"abc", "not JSON: text without its closing quote"),
        ("? [a]\n: b\n", "found a list as a key, expected text"),
        ("a: *b\n", "line 1"),
    ] {
        let error = refused(text, Limits::INPUT);
        assert!(error.contains(expected), "{text}: {error}");
    }
}
