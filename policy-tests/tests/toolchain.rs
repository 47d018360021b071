//! Which packages bring a compiler, by distribution, with an apt that says what theirs says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// What `toolchain.sh --packages` names where apt has these packages, `NAME VERSION` a line.
fn packages(apt: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("packages"), apt).unwrap();
    let program = dir.path().join("apt-cache");
    let script = format!(
        "#!/bin/sh\ncase $1 in\n\
         policy) version=$(sed -n \"s/^$2 //p\" {0}/packages); [ -z \"$version\" ] || printf '%s:\\n  Candidate: %s\\n' $2 $version ;;\n\
         pkgnames) sed -n \"s/^\\($2[^ ]*\\) .*/\\1/p\" {0}/packages ;;\nesac\n",
        dir.path().display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/setup/toolchain.sh"))
        .arg("--packages")
        .env("PATH", format!("{}:/usr/bin:/bin", dir.path().display()))
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn each_distribution_has_a_route() {
    let debian = "rustc 1.63.0+dfsg1-2\nrustc-web 1.96.0+dfsg1-1~deb12u1\ncargo-web 1.96.0\n";
    assert_eq!(packages(debian), (true, "rustc-web cargo-web rustfmt-web rust-web-clippy".to_owned()));
    assert_eq!(packages("rustc 1.96.0+dfsg1-1\n"), (true, "rustc cargo rustfmt rust-clippy".to_owned()));
    // Ubuntu: versioned packages beside an old default; the newest one, though 1.9 sorts behind 1.10 as text.
    let ubuntu = "rustc 1.75.0+dfsg0ubuntu1\nrustc-1.80 1.80.1\nrustc-1.89 1.89.0\nrustc-1.9 1.9.0\nrustc-1.91 1.91.1\n\
                  rustc-1.91-doc 1.91.1\ncargo-1.91 1.91.1\nrustfmt-1.91 1.91.1\nrust-1.91-clippy 1.91.1\n";
    assert_eq!(packages(ubuntu), (true, "rustc-1.91 cargo-1.91 rustfmt-1.91 rust-1.91-clippy".to_owned()));
    assert_eq!(packages("rustc 1.75.0\nrustc-1.80 1.80.1\n"), (false, String::new()));
    assert_eq!(packages(""), (false, String::new()));
}
