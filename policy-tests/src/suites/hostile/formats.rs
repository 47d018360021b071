//! Hostile names in every output format: what a container, a file or a manifest is called stays text.

use std::fs;

use anyhow::{Context, Result, ensure};
use plim_fuzz::HOSTILE;
use plim_model::text::deceives;
use serde_json::{Value, json};

use crate::{Ctx, Need, Suite, Test, Weakening as W, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "names_in_manifests",
            says: "names in a manifest and of its file stay text in every format of plim check",
            needs: &[Need::Plim, Need::Built("plim-check")],
            red_under: &[W::Unescaped],
            run: manifests,
        },
        Test {
            name: "names_in_containers",
            says: "what a container calls its programs and directories stays text in inspect, diff, check and trace",
            needs: &[
                Need::Plim,
                Need::Root,
                Need::Built("plim-run"),
                Need::Built("plim-check"),
                Need::Built("plim-diff"),
                Need::Built("plim-inspect"),
                Need::Program("sh"),
            ],
            red_under: &[W::Unescaped],
            run: containers,
        },
    ],
};

const CHECK: [&str; 7] = ["table", "json", "sarif", "junit", "github", "markdown", "html"];

/// A name that a directory and a program may have: an escape, a line break, a direction, markup and a CI system's command.
const NAME: &str = "e\u{1b}[31m\n\u{202e}<script>##[error]%0A";

/// A `comm`: 15 bytes at most. Its second line is GitHub's command.
const COMM: &str = "\u{1b}\n::error::\u{202e}";

/// Asks a tool, and judges what it says on stdout and stderr by the format.
fn harmless(ctx: &Ctx, tool: &str, format: &str, args: &[&str], statuses: &[i32]) -> Result<String> {
    let outcome = ctx.tool(tool, &[&["--format", format], args].concat())?;
    let what = format!("{tool} --format {format}");
    ensure!(statuses.contains(&outcome.code), "{what}: {outcome:?}");
    for text in [&outcome.stdout, &outcome.stderr] {
        let bad = text.chars().find(|letter| *letter != '\n' && deceives(*letter));
        ensure!(bad.is_none(), "{what} writes {bad:?}: {text:?}");
        ensure!(
            !text.contains("##[") && !text.contains("##vso["),
            "{what} has a CI system's command: {text}"
        );
        let own = |line: &str| {
            format == "github"
                && ["error", "warning", "notice"].iter().any(|word| line.starts_with(&format!("::{word} ")))
        };
        let injected = text.lines().map(str::trim_start).find(|line| line.starts_with("::") && !own(line));
        ensure!(injected.is_none(), "{what} has a command of others: {injected:?}");
        if ["html", "junit"].contains(&format) {
            ensure!(!text.contains("<script"), "{what} has markup of others");
        }
    }
    Ok(outcome.stdout)
}

fn manifests(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-names-").tempdir()?;
    let pods: Vec<Value> = HOSTILE
        .iter()
        .map(|name| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": name},
                "spec": {"hostPID": true, "containers": [{"name": name, "image": name, "command": [name],
                "securityContext": {"privileged": true, "procMount": name, "seLinuxOptions": {"type": name}}}]}})
        })
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": pods});
    let file = dir.path().join(format!("{}.json", NAME.replace("<script>", "")));
    fs::write(&file, list.to_string())?;
    let file = file.to_str().context("a name that is text")?;
    for format in CHECK {
        let text = harmless(ctx, "plim-check", format, &[file], &[1])?;
        if format == "json" {
            let findings: Value = serde_json::from_str(&text)?;
            let targets: Vec<&str> = findings["findings"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|row| row["target"].as_str())
                .collect();
            for name in HOSTILE.iter().filter(|name| !name.is_empty()) {
                ensure!(
                    targets.iter().any(|target| target.contains(name)),
                    "{name:?} is not in the JSON as it is"
                );
            }
        }
    }
    Ok(())
}

fn containers(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-names-").tempdir()?;
    let evil = dir.path().join(NAME.replace('/', ""));
    fs::create_dir(&evil)?;
    let volume = format!("type=bind,source={},target=/data", evil.display());
    let script = format!(
        "printf '{}' >/proc/$$/comm; echo ready; while :; do unshare -m true 2>/dev/null; sleep 0.05; done",
        octal(COMM)
    );
    let mut running = ctx.plim_host_start(&["--mount", &volume], &["sh", "-c", &script])?;
    running.wait_for("ready")?;
    let target = format!("plim:{}", running.case.tag);
    let snapshot: Value = serde_json::from_str(&harmless(ctx, "plim-inspect", "json", &[&target], &[0, 3])?)?;
    let comm = fs::read_to_string(format!("/proc/{}/comm", snapshot["target"]["pid"]))?;
    same("the name that the host sees", comm.trim_end_matches('\n'), COMM)?;
    let roots =
        snapshot["mounts"].as_array().into_iter().flatten().filter_map(|mount| mount["root"].as_str());
    ensure!(
        roots.into_iter().any(|root| root.ends_with(NAME)),
        "the directory is not in the JSON as it is: {snapshot}"
    );
    harmless(ctx, "plim-inspect", "table", &[&target], &[0, 3])?;
    for format in ["table", "json", "unified", "html"] {
        harmless(ctx, "plim-diff", format, &["self", &target], &[0, 1, 3])?;
    }
    for format in CHECK {
        harmless(ctx, "plim-check", format, &[&target], &[0, 1, 3])?;
    }
    if Need::Kernel(5, 15).missing(ctx).is_none() && Need::Capability(39, "CAP_BPF").missing(ctx).is_none() {
        for format in ["table", "json", "jsonl"] {
            let text = harmless(ctx, "plim-trace", format, &["--duration", "300ms", &target], &[0, 3])?;
            ensure!(!text.is_empty(), "plim-trace --format {format}: nothing");
        }
    }
    // The name of a target that is not there comes back in an error.
    for tool in ["plim-inspect", "plim-check"] {
        let missing = format!("plim:{NAME}");
        harmless(ctx, tool, "table", &[&missing], &[2, 3])?;
    }
    Ok(())
}

/// As printf(1) reads it.
fn octal(text: &str) -> String {
    text.bytes().map(|byte| format!("\\{byte:03o}")).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn octal_is_what_printf_reads() {
        let printed = Command::new("printf").arg(octal(COMM)).output().unwrap();
        assert_eq!(printed.stdout, COMM.as_bytes());
    }
}
