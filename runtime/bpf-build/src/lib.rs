//! Builds the C half of a crate that loads BPF programs; for build scripts alone.
//!
//! The object is made by clang, with BTF and CO-RE relocations, and embedded by the crate
//! (`include_bytes_aligned!(concat!(env!("OUT_DIR"), "/NAME.o"))`). Without clang the build fails and says what is
//! missing: an empty object would only fail later, on the user's machine.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// What a build needs and does not find, or what clang said.
#[derive(Debug)]
pub struct BuildError(String);

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BuildError {}

/// The oldest clang whose BTF and CO-RE relocations the programs are written for (Debian 12's).
const OLDEST: u32 = 14;
/// Names under which clang is looked for when the variable `CLANG` names none.
const NAMES: [&str; 8] =
    ["clang", "clang-21", "clang-20", "clang-19", "clang-18", "clang-16", "clang-15", "clang-14"];

/// Where `plim_bpf.h` is: maps, helpers and program sections for C sources.
pub fn include_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// Compiles `source` to `OUT_DIR/STEM.o` (`filters.bpf.c` becomes `filters.o`) for the machine that cargo builds for,
/// and tells cargo what it depends on.
///
/// # Errors
/// No clang of version 14 or newer, or what clang printed.
pub fn compile(source: &str) -> Result<PathBuf, BuildError> {
    let out =
        std::env::var_os("OUT_DIR").ok_or_else(|| BuildError("OUT_DIR: not set by cargo".to_owned()))?;
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let endian = std::env::var("CARGO_CFG_TARGET_ENDIAN").unwrap_or_default();
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let stem = Path::new(source).file_name().and_then(|name| name.to_str()).unwrap_or(source);
    let stem = stem.trim_end_matches(".c").trim_end_matches(".bpf");
    let object = Path::new(&out).join(format!("{stem}.o"));
    let dependencies = Path::new(&out).join(format!("{stem}.d"));
    let _stale = std::fs::remove_file(&object);

    let clang = find_clang()?;
    let output = Command::new(&clang)
        .args([
            "-target",
            if endian == "big" { "bpfeb" } else { "bpfel" },
            "-mcpu=v3",
            "-O2",
            "-g",
            "-std=gnu11",
        ])
        .args(["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-fno-stack-protector", "-nostdinc"])
        .arg(format!("-DPLIM_ARCH_{}", arch.to_uppercase()))
        .arg("-I")
        .arg(include_dir())
        // No path of the machine that builds it in the object.
        .arg(format!("-ffile-prefix-map={}=.", manifest.display()))
        .arg("-MD")
        .arg("-MF")
        .arg(&dependencies)
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(&object)
        .current_dir(&manifest)
        .output()
        .map_err(|error| BuildError(format!("run {}: {error}", clang.display())))?;
    if !output.status.success() {
        return Err(BuildError(format!(
            "{} could not compile {source}:\n{}",
            clang.display(),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    let length = std::fs::metadata(&object).map(|metadata| metadata.len()).unwrap_or_default();
    if length == 0 {
        return Err(BuildError(format!("{} made no object of {source}", clang.display())));
    }
    let listed = std::fs::read_to_string(&dependencies).unwrap_or_default();
    instruct(source, &listed);
    Ok(object)
}

/// A build script's words to cargo go to stdout.
#[allow(clippy::print_stdout, reason = "stdout is how a build script talks to cargo")]
fn instruct(source: &str, dependencies: &str) {
    println!("cargo::rerun-if-env-changed=CLANG");
    println!("cargo::rerun-if-changed={source}");
    let files = dependencies.split_once(':').map_or("", |(_, files)| files);
    for file in files.split_whitespace().filter(|word| *word != "\\" && *word != source) {
        println!("cargo::rerun-if-changed={file}");
    }
}

/// The clang of the variable `CLANG`, or the first on PATH that is new enough and can make BPF.
fn find_clang() -> Result<PathBuf, BuildError> {
    let named = std::env::var_os("CLANG").filter(|value| !value.is_empty());
    let candidates: Vec<PathBuf> = match &named {
        Some(clang) => vec![PathBuf::from(clang)],
        None => NAMES.iter().map(PathBuf::from).collect(),
    };
    let mut found = Vec::new();
    for clang in &candidates {
        let Ok(output) = Command::new(clang).arg("--version").output() else { continue };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match version(&text) {
            Some(version) if version >= OLDEST => return Ok(clang.clone()),
            Some(version) => found.push(format!("{} is version {version}", clang.display())),
            None => found.push(format!("{} does not tell its version", clang.display())),
        }
    }
    let found = match (found.is_empty(), &named) {
        (false, _) => found.join(", "),
        (true, Some(clang)) => format!("CLANG={} cannot be run", clang.display()),
        (true, None) => "none on PATH".to_owned(),
    };
    Err(BuildError(format!(
        "the BPF programs need clang {OLDEST} or newer to be built: {found}\n\
         install it (Debian and Ubuntu: apt-get install clang), or name one with the variable CLANG"
    )))
}

/// `Debian clang version 14.0.6` is 14.
fn version(text: &str) -> Option<u32> {
    text.split_once("clang version ")?.1.split(['.', ' ', '\n']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn reads_the_version_of_every_vendors_clang() {
        assert_eq!(version("Debian clang version 14.0.6\nTarget: x86_64"), Some(14));
        assert_eq!(version("Ubuntu clang version 18.1.3 (1ubuntu1)"), Some(18));
        assert_eq!(version("clang version 19.1.7"), Some(19));
        assert_eq!(version("gcc (Debian) 12"), None);
    }
}
