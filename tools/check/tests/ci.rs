//! The GitHub action and the GitLab template, run as a runner runs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use plim_policy::text::{Limits, Node, read};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document(path: &str) -> Node {
    let text = std::fs::read_to_string(root().join(path)).expect(path);
    read(&text, Limits::INPUT).unwrap_or_else(|error| panic!("{path}: {error}")).remove(0)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the action's last step does with these inputs, in the example project; its outputs and its step summary.
struct Step {
    output: Output,
    outputs: String,
    summary: String,
    directory: tempfile::TempDir,
}

fn action(inputs: &[(&str, &str)]) -> Step {
    let action = document("action.yml");
    let defaults = action.get("inputs").expect("inputs").entries();
    let mut values: BTreeMap<String, String> = defaults
        .iter()
        .map(|(key, input)| (key.text.clone(), input.text_of("default").unwrap_or_default().to_owned()))
        .collect();
    for (name, value) in inputs {
        assert!(values.insert((*name).to_owned(), (*value).to_owned()).is_some(), "input {name}");
    }
    let steps = action.path(&["runs", "steps"]).expect("steps").items();
    let step = steps.iter().find(|step| step.text_of("id") == Some("check")).expect("the step");
    assert_eq!(step.text_of("shell"), Some("bash"));
    let directory = tempfile::tempdir().expect("directory");
    let (outputs, summary) = (directory.path().join("outputs"), directory.path().join("summary"));
    let programs = Path::new(env!("CARGO_BIN_EXE_plim-check")).parent().expect("a directory").to_owned();
    // `shell: bash` of a composite action (documentation of jobs.<job_id>.steps[*].shell).
    let mut command = Command::new("bash");
    command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step.text_of("run").expect("a script")]);
    command.current_dir(root().join("policy-tests/examples"));
    command.env("GITHUB_OUTPUT", &outputs).env("GITHUB_STEP_SUMMARY", &summary);
    for (key, value) in step.get("env").expect("env").entries() {
        let value = value.text().expect("text");
        let input = value.strip_prefix("${{ inputs.").and_then(|rest| rest.split([' ', '}']).next());
        let input = input.unwrap_or_else(|| panic!("{}: {value}", key.text));
        match input {
            "plim" => command.env(&key.text, &programs),
            other => command.env(&key.text, &values[other]),
        };
    }
    let output = command.output().expect("bash");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    Step { output, outputs: read(&outputs), summary: read(&summary), directory }
}

#[test]
fn the_action_annotates_and_fails() {
    let sarif = tempfile::tempdir().expect("directory");
    let file = sarif.path().join("plim.sarif").display().to_string();
    // Inputs of several lines are as good as those between spaces.
    let step = action(&[
        ("targets", "./compose\n./kubernetes\n"),
        ("policies", "plim-policy.yaml"),
        ("lock", "plim.lock"),
        ("fail-on", "medium"),
        ("sarif", &file),
    ]);
    assert_eq!(step.output.status.code(), Some(1), "{}", text(&step.output.stderr));
    assert_eq!(step.outputs, "status=1\n");
    let told = text(&step.output.stdout);
    let annotations = told.lines().filter(|line| line.starts_with("::")).count();
    assert!((1..=10).contains(&annotations), "{told}");
    assert!(
        told.contains("file=kubernetes/app.yaml") && told.contains("file=compose/compose.yaml"),
        "{told}"
    );
    assert!(step.summary.contains("| Severity |"), "{}", step.summary);
    let log: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).expect("SARIF")).expect("JSON");
    assert!(!log["runs"][0]["results"].as_array().expect("results").is_empty());
    drop(step.directory);
}

#[test]
fn the_action_tells_bad_input_and_what_is_clean() {
    let step = action(&[("targets", "./compose ./missing.yaml"), ("sarif", "")]);
    assert_eq!((step.output.status.code(), step.outputs.as_str()), (Some(2), "status=2\n"));
    assert!(text(&step.output.stderr).contains("missing.yaml"), "{}", text(&step.output.stderr));
    let step =
        action(&[("targets", "./kubernetes"), ("policies", "pack:pss-baseline"), ("fail-on", "critical")]);
    assert_eq!((step.output.status.code(), step.outputs.as_str()), (Some(0), "status=0\n"));
    // A name is a word and never a part of the script.
    let step = action(&[("targets", "$(touch${IFS}/tmp/plim-action-was-here) ;false")]);
    assert_eq!(step.output.status.code(), Some(2));
    assert!(!Path::new("/tmp/plim-action-was-here").exists());
}

#[test]
fn the_gitlab_template_reports_and_fails() {
    let template = document("profiles/library/ci/gitlab.yml");
    let job = template.get(".plim-check").expect("the job");
    let directory = tempfile::tempdir().expect("directory");
    let programs = Path::new(env!("CARGO_BIN_EXE_plim-check")).parent().expect("a directory");
    // What `plim` itself does with a verb.
    let plim = format!("#!/bin/sh\nverb=$1; shift; exec {}/plim-$verb \"$@\"\n", programs.display());
    let place = directory.path().join("plim");
    std::fs::write(&place, plim).expect("written");
    std::fs::set_permissions(&place, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let project = directory.path().join("project");
    for file in ["compose/compose.yaml", "kubernetes/app.yaml", "plim-policy.yaml", "plim.lock"] {
        let to = project.join(file);
        std::fs::create_dir_all(to.parent().expect("a directory")).expect("made");
        std::fs::copy(root().join("policy-tests/examples").join(file), to).expect("copied");
    }
    // A runner puts the lines after one another into one shell that ends at the first failure.
    let script: Vec<&str> =
        job.get("script").expect("script").items().iter().filter_map(Node::text).collect();
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new("bash");
        command.args(["-eo", "pipefail", "-c", &script.join("\n")]).current_dir(&project);
        let path = std::env::var("PATH").expect("PATH");
        command.env("PATH", format!("{}:{path}", directory.path().display()));
        for (key, value) in job.get("variables").expect("variables").entries() {
            command.env(&key.text, value.text().unwrap_or_default());
        }
        command.envs(variables.iter().copied());
        command.output().expect("bash")
    };
    let example = document("policy-tests/examples/gitlab-ci.yml");
    let variables: Vec<(&str, &str)> = example
        .path(&["plim", "variables"])
        .expect("variables")
        .entries()
        .iter()
        .map(|(key, value)| (key.text.as_str(), value.text().unwrap_or_default()))
        .collect();
    let output = run(&variables);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("PSS-"), "the table is in the job's log");
    let report = job.path(&["artifacts", "reports", "junit"]).and_then(Node::text).expect("a report");
    let xml = std::fs::read_to_string(project.join(report)).expect("the report");
    assert!(xml.contains("<failure "), "{xml}");
    // With nothing set the whole project is judged.
    let default = run(&[]);
    assert_eq!(default.status.code(), Some(1), "{}", text(&default.stderr));
    assert!(text(&default.stdout).contains("DOCK-privileged"), "{}", text(&default.stdout));
    let clean = run(&[
        ("PLIM_TARGETS", "./kubernetes"),
        ("PLIM_POLICIES", "--policy pack:pss-baseline"),
        ("PLIM_FAIL_ON", "critical"),
    ]);
    assert_eq!(clean.status.code(), Some(0), "{}", text(&clean.stderr));
}
