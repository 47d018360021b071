//! `plim VERB` from outside: the built program among scripts that play the verbs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// A directory with a copy of the program and nothing else.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let directory = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir(directory.path().join("own")).expect("own directory");
        std::fs::create_dir(directory.path().join("path")).expect("directory on PATH");
        let place = Place { directory };
        // A hard link where it can be: a copy that is still open for writing elsewhere cannot be executed (ETXTBSY).
        let (from, to) = (Path::new(env!("CARGO_BIN_EXE_plim")), place.own().join("plim"));
        if std::fs::hard_link(from, &to).is_err() {
            std::fs::copy(from, &to).expect("copy the program");
        }
        place
    }

    fn own(&self) -> std::path::PathBuf {
        self.directory.path().join("own")
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("path")
    }

    fn script(&self, directory: &Path, name: &str, body: &str) {
        let file = directory.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{body}\n")).expect("script");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("executable");
    }

    fn plim(&self, arguments: &[&str]) -> Output {
        let path = format!("{}::.:/usr/bin:/bin", self.path().display());
        Command::new(self.own().join("plim"))
            .args(arguments)
            .env("PATH", path)
            .current_dir(self.directory.path())
            .output()
            .expect("plim starts")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn executes_the_program_beside_it_with_every_argument_as_it_is() {
    let place = Place::new();
    place.script(&place.own(), "plim-hello", r#"printf '<%s>' "$@"; exit 42"#);
    let output = place.plim(&["hello", "a b", "--help", "", "--", "-x"]);
    assert_eq!(text(&output.stdout), "<a b><--help><><--><-x>");
    assert_eq!(output.status.code(), Some(42), "the verb's own status");
}

#[test]
fn beside_goes_before_path_and_path_is_searched() {
    let place = Place::new();
    place.script(&place.own(), "plim-x", "echo beside");
    place.script(&place.path(), "plim-x", "echo path");
    place.script(&place.path(), "plim-y", "echo path");
    assert_eq!(text(&place.plim(&["x"]).stdout), "beside\n");
    assert_eq!(text(&place.plim(&["y"]).stdout), "path\n");
}

#[test]
fn the_current_directory_is_no_place_for_programs() {
    let place = Place::new();
    place.script(place.directory.path(), "plim-evil", "echo evil");
    let output = place.plim(&["evil"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""));
}

#[test]
fn an_unknown_verb_is_answered_with_the_nearest() {
    let place = Place::new();
    place.script(&place.own(), "plim-inspect", "exit 0");
    place.script(&place.own(), "plim-run", "exit 0");
    let output = place.plim(&["inpsect", "web"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        text(&output.stderr),
        "plim: unknown verb \"inpsect\", did you mean \"inspect\"? (no plim-inpsect beside plim or on PATH; found: inspect, run)\n"
    );
    assert!(output.stdout.is_empty());
    let far = text(&place.plim(&["zzz"]).stderr);
    assert!(far.contains("unknown verb \"zzz\" (no plim-zzz"), "{far}");
}

#[test]
fn help_lists_what_is_found() {
    let place = Place::new();
    place.script(&place.own(), "plim-run", "echo 'Runs a container'; echo more");
    place.script(&place.path(), "plim-extra", "echo never executed for the help >&2; exit 1");
    std::fs::write(place.own().join("plim-notes"), "not executable").expect("file");
    for arguments in [&["--help"][..], &["-h"], &["help"]] {
        let output = place.plim(arguments);
        assert_eq!(output.status.code(), Some(0));
        let help = text(&output.stdout);
        assert!(help.contains("\n  run    Runs a container\n"), "{help}");
        assert!(help.contains(&format!("\n  extra  ({}/plim-extra)\n", place.path().display())), "{help}");
        assert!(!help.contains("notes"), "{help}");
        assert!(output.stderr.is_empty());
    }
    place.script(&place.own(), "plim-run", "echo \"args: $*\"");
    assert_eq!(text(&place.plim(&["help", "run"]).stdout), "args: --help\n");
}

#[test]
fn no_verb_is_a_usage_error() {
    let place = Place::new();
    let output = place.plim(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && text(&output.stderr).contains("Usage: plim VERB"));
}

#[test]
fn bad_words_are_refused() {
    let place = Place::new();
    place.script(place.directory.path(), "plim-up", "echo up");
    for (word, expected) in [
        ("../up", "is no verb"),
        ("", "is no verb"),
        ("Run", "is no verb"),
        ("r un", "is no verb"),
        ("--hlep", "unknown option \"--hlep\""),
    ] {
        let output = place.plim(&[word]);
        assert_eq!(output.status.code(), Some(2), "{word}");
        assert!(text(&output.stderr).contains(expected), "{word}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn version_and_completions() {
    let place = Place::new();
    place.script(&place.own(), "plim-run", "echo 'Runs a container'");
    assert_eq!(text(&place.plim(&["--version"]).stdout), format!("plim {}\n", env!("CARGO_PKG_VERSION")));
    for (shell, expected) in
        [("bash", "run"), ("zsh", "Runs a container"), ("fish", "Runs a container"), ("man", "plim")]
    {
        let output = place.plim(&["--generate", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(text(&output.stdout).contains(expected), "{shell}");
    }
    assert_eq!(place.plim(&["--generate", "tcsh"]).status.code(), Some(2));
}

#[test]
fn a_program_that_cannot_be_executed_is_an_error_with_its_path() {
    let place = Place::new();
    let file = place.own().join("plim-broken");
    std::fs::write(&file, "#!/no/such/interpreter\n").expect("file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let output = place.plim(&["broken"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("plim-broken: No such file"), "{}", text(&output.stderr));
}
