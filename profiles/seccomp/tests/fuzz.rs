//! The fuzz targets' corpus, and mutations of it, through the targets' own functions: no panic, and work that grows with its input.

use std::path::Path;

use plim_fuzz::{Target, fuzz};

#[path = "../fuzz/entries.rs"]
mod entries;

fn target(name: &'static str) -> Target {
    Target::new(name)
        .corpus(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name))
        .small(4_000)
}

#[test]
fn fuzz_json() {
    fuzz(
        target("json").words(&["\"names\":", "\"args\":", "\"SCMP_ACT_ERRNO\"", "\"includes\":"]).rounds(240),
        entries::json,
    );
}

#[test]
fn fuzz_bpf() {
    fuzz(target("bpf").rounds(700), entries::bpf);
}

#[test]
fn fuzz_diagram() {
    fuzz(target("diagram").rounds(480), entries::diagram);
}
