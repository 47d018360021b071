//! The committed JSON Schemas are those of the code. `UPDATE_SCHEMA=1 cargo test -p plim-learn` writes them anew.

fn check(name: &str, schema: &serde_json::Value) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
    let current = serde_json::to_string_pretty(schema).expect("schema as text") + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &current).expect("write the schema");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "{} is not what the code says; run `UPDATE_SCHEMA=1 cargo test -p plim-learn` and review the change",
        path.display()
    );
}

#[test]
fn recording() {
    check("recording-1.0.json", &plim_learn::recording::schema());
}

#[test]
fn proposal() {
    check("proposal-1.0.json", &plim_learn::proposal::schema());
}
