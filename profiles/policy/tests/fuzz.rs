//! The fuzz targets' functions on mutated files with a stable compiler: the same inputs each time, unless a seed is given.

#[path = "../fuzz/entries.rs"]
mod entries;

use plim_fuzz::{Target, fuzz};

const PIECES: &[&str] = &[
    "  ",
    "- ",
    ": ",
    "&a ",
    "*a",
    "<<: ",
    "|\n",
    "#",
    "!",
    "!!str ",
    "0x",
    "---\n",
    "? ",
    "all(",
    "map(a, a)",
    "exists(",
    "&&",
    "snapshot",
    "container.",
    "hostPID: true\n",
    "services:\n",
    "--cap-add ",
    "kind: Pod\n",
];

#[test]
fn fuzz_policies() {
    let seeds: Vec<&str> = plim_policy::packs::names().filter_map(plim_policy::packs::get).collect();
    let project = include_str!("../../../policy-tests/examples/plim-policy.yaml");
    let lock = include_str!("../../../policy-tests/examples/plim.lock");
    let seeds = [project, lock, project, lock, seeds[0], seeds[6]];
    fuzz(Target::new("policy, lock file").seeds(seeds).words(PIECES).rounds(400), entries::policy);
}

#[test]
fn fuzz_inputs() {
    let seeds = [
        include_str!("../../../policy-tests/examples/kubernetes/app.yaml"),
        include_str!("../../../policy-tests/examples/compose/compose.yaml"),
        "docker run --cap-add NET_ADMIN -v \"/a b:/c\" --security-opt seccomp=unconfined -p 80:80 web:1 sleep 5",
        "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"spec\": {\"hostPID\": true, \"containers\": [{\"name\": \"c\"}]}}",
        "{\"ociVersion\": \"1.0.2\", \"process\": {\"user\": {\"uid\": 0}}, \"linux\": {\"namespaces\": [{\"type\": \"pid\"}]}}",
    ];
    fuzz(
        Target::new("manifest, Compose, command line").seeds(seeds).words(PIECES).rounds(400).small(1_500),
        entries::input,
    );
}

#[test]
fn fuzz_expressions() {
    let seeds = [
        "snapshot.all(m, m == \"/\" || snapshot.exists(o, o == m)) && size(container) > 3",
        "!has(snapshot.user) ? container[2] in [1, 2, 3] : workload.filter(x, x > 1).map(y, y - 1).size() == 2",
        "snapshot.exists_one(a, a == 1) || \"abc\".matches(\"^a(b|c)*$\")",
    ];
    // Expressions have a longest length, beyond which nothing is read.
    fuzz(
        Target::new("expression").seeds(seeds).words(PIECES).rounds(4_000).small(1_000),
        entries::expression,
    );
}
