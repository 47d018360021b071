//! The committed JSON Schema is that of the code. `UPDATE_SCHEMA=1 cargo test -p plim-policy --test schema` writes it anew.

use std::path::Path;

#[test]
fn findings() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/findings-1.0.json");
    let current =
        serde_json::to_string_pretty(&plim_policy::finding::schema()).expect("schema as text") + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::create_dir_all(path.parent().expect("has a parent")).expect("schema directory");
        std::fs::write(&path, &current).expect("write the schema");
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == current,
        "{} is not what the code says; run `UPDATE_SCHEMA=1 cargo test -p plim-policy` and review the change",
        path.display()
    );
}
