//! Compiles the default seccomp profile for the default capabilities ahead of time.
//!
//! Most containers have just this filter, and resolving and compiling it takes about a fifth of the time that a
//! container takes to start. The result is data of the build, like the profile itself; `profile.rs` uses it only for
//! exactly these facts, and a test compiles the profile anew and compares.

use std::path::{Path, PathBuf};

use plim_seccomp::arch::Arch;
use plim_seccomp::resolve::{Facts, KernelVersion};
use plim_seccomp::{compile, dialect, presets, resolve};

#[path = "src/defaults/capabilities.rs"]
mod capabilities;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/defaults/capabilities.rs");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let target = std::env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    let arch = Arch::from_name(&target).unwrap_or_else(|| panic!("{target} is no architecture with seccomp"));

    let text = presets::get(capabilities::SECCOMP_PRESET).expect("the default profile is a preset");
    let written = dialect::parse(text.as_bytes()).expect("the default profile is one");
    // From the newest kernel that the profile distinguishes on, its meaning is the same.
    let kernel = written
        .rules
        .iter()
        .flat_map(|rule| [rule.includes.min_kernel, rule.excludes.min_kernel])
        .flatten()
        .max()
        .unwrap_or(KernelVersion { major: 0, minor: 0 });
    let facts = Facts::new(arch, capabilities::capabilities(), kernel);
    let resolved = resolve::resolve(&written, &facts).expect("it resolves").expect("it is on");
    let program = compile::compile(&resolved).expect("it compiles");

    write(&out, "default-filter.bpf", &program.to_bytes());
    write(&out, "default-filter.json", resolved.to_oci_json().to_string().as_bytes());
    let (major, minor, flags) = (kernel.major, kernel.minor, resolved.flag_bits());
    let facts = format!(
        "PrebuiltFacts {{ kernel: KernelVersion {{ major: {major}, minor: {minor} }}, flags: {flags} }}"
    );
    write(&out, "default-filter.rs", facts.as_bytes());
}

fn write(out: &Path, name: &str, bytes: &[u8]) {
    let path = out.join(name);
    std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}
