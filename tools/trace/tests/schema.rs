//! The committed JSON Schema is that of the code. `UPDATE_SCHEMA=1 cargo test -p plim-trace` writes it anew.

#[test]
fn denial() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/denial-1.0.json");
    let schema = plim_trace::denial::schema();
    let current = serde_json::to_string_pretty(&schema).expect("schema as text") + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &current).expect("write the schema");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "{} is not what the code says; run `UPDATE_SCHEMA=1 cargo test -p plim-trace` and review the change",
        path.display()
    );
}
