//! A proposal in the words of each engine.

use std::fmt::Write as _;

use crate::proposal::{Proposal, Verdict};

/// Options of `plim run`, `docker run` and `podman run`, which are the same.
pub fn flags(proposal: &Proposal, profile: &str) -> Vec<String> {
    let mut words = vec!["--security-opt".to_owned(), format!("seccomp={profile}")];
    let mut put = |option: &str, value: &str| words.extend([option.to_owned(), value.to_owned()]);
    if proposal.no_new_privileges {
        put("--security-opt", "no-new-privileges");
    }
    put("--cap-drop", "ALL");
    for kept in &proposal.capabilities {
        put("--cap-add", kept.name.trim_start_matches("CAP_"));
    }
    for device in &proposal.devices {
        let (path, access) = device.name.rsplit_once(':').unwrap_or((&device.name, "rw"));
        put("--device", &format!("{path}:{path}:{access}"));
    }
    if proposal.read_only {
        words.push("--read-only".to_owned());
        for directory in &proposal.tmpfs {
            words.extend(["--tmpfs".to_owned(), directory.name.clone()]);
        }
    }
    words
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=./:,@%+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// One command line: `docker run …`.
pub fn command_line(proposal: &Proposal, profile: &str) -> String {
    let words: Vec<String> = flags(proposal, profile).iter().map(|word| quoted(word)).collect();
    // An option and its value stay on one line.
    let mut text = "docker run".to_owned();
    for word in words {
        text.push_str(if word.starts_with("--") { " \\\n  " } else { " " });
        text.push_str(&word);
    }
    text.push_str(" \\\n  IMAGE\n");
    text
}

/// The security context of a Kubernetes container and its volumes; the profile lies in the kubelet's directory of profiles.
pub fn kubernetes(proposal: &Proposal, profile: &str) -> String {
    let mut text = String::new();
    let mut line = |text_line: &str| {
        text.push_str(text_line);
        text.push('\n');
    };
    line("# The profile lies on every node as /var/lib/kubelet/seccomp/PROFILE.");
    line("apiVersion: v1");
    line("kind: Pod");
    line("metadata:");
    line("  name: learned");
    line("spec:");
    line("  containers:");
    line("  - name: learned");
    line("    image: IMAGE");
    line("    securityContext:");
    line(&format!("      allowPrivilegeEscalation: {}", !proposal.no_new_privileges));
    line(&format!("      readOnlyRootFilesystem: {}", proposal.read_only));
    line("      seccompProfile:");
    line("        type: Localhost");
    line(&format!("        localhostProfile: {}", serde_json::Value::from(profile)));
    line("      capabilities:");
    line("        drop: [\"ALL\"]");
    let kept: Vec<String> = proposal
        .capabilities
        .iter()
        .map(|one| format!("{:?}", one.name.trim_start_matches("CAP_")))
        .collect();
    if !kept.is_empty() {
        line(&format!("        add: [{}]", kept.join(", ")));
    }
    let tmpfs = if proposal.read_only { proposal.tmpfs.as_slice() } else { &[] };
    if !tmpfs.is_empty() {
        line("    volumeMounts:");
        for (index, directory) in tmpfs.iter().enumerate() {
            line(&format!("    - name: writable-{index}"));
            line(&format!("      mountPath: {}", serde_json::Value::from(directory.name.as_str())));
        }
        line("  volumes:");
        for index in 0..tmpfs.len() {
            line(&format!("  - name: writable-{index}"));
            line("    emptyDir:");
            line("      medium: Memory");
        }
    }
    text
}

/// A drop-in for a systemd service (systemd.exec(5)). Conditions on arguments cannot be said there: the names alone are listed.
pub fn systemd(proposal: &Proposal) -> String {
    let mut text = "[Service]\n".to_owned();
    let mut put = |key: &str, value: &str| {
        let _ = writeln!(text, "{key}={value}");
    };
    let mut names: Vec<&str> = proposal
        .calls
        .iter()
        .filter(|entry| entry.verdict == Verdict::Allow)
        .map(|entry| entry.syscall.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    for some in names.chunks(8) {
        put("SystemCallFilter", &some.join(" "));
    }
    // The filter lists what is allowed; of the rest some are said not to be there.
    let mut missing: Vec<&str> = proposal
        .calls
        .iter()
        .filter(|entry| entry.verdict == Verdict::Enosys)
        .map(|entry| entry.syscall.as_str())
        .filter(|name| !names.contains(name))
        .collect();
    missing.sort_unstable();
    put("SystemCallErrorNumber", "EPERM");
    for some in missing.chunks(6) {
        let words: Vec<String> = some.iter().map(|name| format!("{name}:ENOSYS")).collect();
        put("SystemCallFilter", &format!("~{}", words.join(" ")));
    }
    let architectures: Vec<&str> = proposal
        .architectures
        .iter()
        .map(|name| match name.as_str() {
            "SCMP_ARCH_X86" => "x86",
            "SCMP_ARCH_X32" => "x32",
            _ => "native",
        })
        .collect();
    put("SystemCallArchitectures", &architectures.join(" "));
    let kept: Vec<&str> = proposal.capabilities.iter().map(|one| one.name.as_str()).collect();
    put("CapabilityBoundingSet", &kept.join(" "));
    put("NoNewPrivileges", if proposal.no_new_privileges { "yes" } else { "no" });
    if proposal.read_only {
        put("ProtectSystem", "strict");
        for directory in &proposal.tmpfs {
            put("ReadWritePaths", &format!("-{}", directory.name));
        }
    }
    let families: Vec<&str> = proposal
        .calls
        .iter()
        .filter(|entry| entry.syscall == "socket" || entry.syscall == "socketpair")
        .flat_map(|entry| entry.when.as_deref().unwrap_or_default().split_whitespace())
        .filter(|word| word.starts_with("AF_"))
        .collect();
    let unconditional = proposal.calls.iter().any(|entry| entry.syscall == "socket" && entry.args.is_empty());
    if !unconditional {
        let mut families = families;
        families.sort_unstable();
        families.dedup();
        put(
            "RestrictAddressFamilies",
            if families.is_empty() { "none".to_owned() } else { families.join(" ") }.as_str(),
        );
    }
    if proposal.devices.is_empty() {
        put("PrivateDevices", "yes");
    } else {
        put("DevicePolicy", "closed");
        for device in &proposal.devices {
            let (path, access) = device.name.rsplit_once(':').unwrap_or((&device.name, "rw"));
            put("DeviceAllow", &format!("{path} {access}"));
        }
    }
    text
}

#[cfg(test)]
#[path = "forms_tests.rs"]
mod tests;
