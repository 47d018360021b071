//! The committed JSON Schemas are those of the code. `UPDATE_SCHEMA=1 cargo test -p plim-model` writes them anew.

use std::path::Path;

fn committed_is_current(name: &str, schema: &serde_json::Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name);
    let current = serde_json::to_string_pretty(schema).expect("schema as text") + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("schema directory");
        std::fs::write(&path, &current).expect("write the schema");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "{} is not what the code says; run `UPDATE_SCHEMA=1 cargo test -p plim-model` and review the change",
        path.display()
    );
}

#[test]
fn snapshot() {
    committed_is_current("snapshot-1.0.json", &plim_model::snapshot::schema());
}

#[test]
fn diff() {
    committed_is_current("diff-1.2.json", &plim_model::diff::schema());
}
