//! Shell text: bash is the judge of what the words are, shlex a second opinion.

use std::process::Command;

use plim_docker::shell::{Expansion, Part, commands};
use proptest::prelude::*;

/// The words of every `docker` command, as bash passes them.
fn bash(text: &str) -> Vec<Vec<String>> {
    let script = format!("docker() {{ printf '%s\\0' \"$@\" >&3; printf '\\1\\0' >&3; }}\n{text}");
    let directory = std::env::temp_dir();
    let file =
        directory.join(format!("plim-shell-words-{}-{:?}", std::process::id(), std::thread::current().id()));
    let wrapped = format!("exec 3>'{}'\n{script}", file.display());
    let status = Command::new("bash").args(["--norc", "-c", &wrapped]).current_dir("/").env_clear().output();
    assert!(status.is_ok(), "bash: {status:?}");
    let written = std::fs::read(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    let mut all = Vec::new();
    let mut words = Vec::new();
    for piece in written.split(|byte| *byte == 0) {
        match piece {
            [1] => all.push(std::mem::take(&mut words)),
            _ => words.push(String::from_utf8_lossy(piece).into_owned()),
        }
    }
    all
}

/// The same words, as this crate reads them.
fn ours(text: &str) -> Vec<Vec<String>> {
    let commands = commands(text).expect(text);
    let words = commands.iter().map(|command| {
        let reserved =
            command.words.iter().take_while(|word| ["then", "{"].contains(&word.known().unwrap_or_default()));
        &command.words[reserved.count()..]
    });
    let docker = words.filter(|words| words[0].known() == Some("docker"));
    docker.map(|words| words[1..].iter().map(|word| word.known().expect(text).to_owned()).collect()).collect()
}

#[test]
fn words_are_bash_s() {
    let table = [
        "docker run nginx",
        "docker  run\t-e 'A B' -e \"C D\" nginx",
        "docker run \\\n  --rm \\\n  nginx",
        "docker run -e A=\\$B -e 'A=$B' -e \"A=\\$B\" x",
        "docker run -e a\\ b 'it'\"'\"'s' x",
        "docker run \"a\\nb\" 'a\\nb' a\\nb x",
        "docker run \"a\\\nb\" x",
        "docker run a; docker run b && docker run c; false || docker run d",
        "docker run a | cat; true & docker run b",
        "docker run a > /dev/null 2>&1 x",
        "docker run a >/dev/null b 2>/dev/null c",
        "docker run &>/dev/null a",
        "docker run a < /dev/null b",
        "docker run # a comment\ndocker run b",
        "docker run a#b # c",
        "docker run -d \\\n  # comment\n  --privileged nginx 2>/dev/null",
        "docker run '' \"\" x",
        "docker run $'a\\tb\\x41\\u0042\\101' x",
        "docker run {a} a{b}c {a x",
        "docker run [ x ",
        "docker run '{{.ID}}' {{.ID}} x",
        "docker run a\\\\b x",
        "docker run \\\n\\\n x",
        "if true; then docker run a; fi",
        "( docker run a ) ; { docker run b; }",
        "docker run <<EOF a\ndocker run b\nEOF\ndocker run c",
        "docker run <<-'EOF' a\n\tdocker run b\n\tEOF\ndocker run c",
        "docker run <<< word a",
        "docker run a\\",
        "docker run 2 4>/dev/null x",
        "docker run a^b ^ x",
        "docker run % ! = + , @ x",
        "docker run \"a'b\" 'a\"b' x",
        "docker run a~ b/~ x",
        "docker run -e A='x y'z\"q\" x",
    ];
    for text in table {
        assert_eq!(ours(text), bash(text), "{text:?}");
    }
    // Line ends of Windows, which bash does not take.
    assert_eq!(ours("docker run \\\r\n  a\r\ndocker run b\r"), [vec!["run", "a"], vec!["run", "b"]]);
    // PowerShell and cmd.
    assert_eq!(ours("docker run `\n  a `\r\n b"), [["run", "a", "b"]]);
    assert_eq!(ours("docker run ^\r\n  a ^\n b"), [["run", "a", "b"]]);
}

#[test]
fn what_only_the_shell_knows_is_unknown() {
    for (text, source, value) in [
        ("x $A", "$A", Expansion::Words),
        ("x a$A", "$A", Expansion::Words),
        ("x \"$A\"", "$A", Expansion::Text),
        ("x ${A:-'b}'}", "${A:-'b}'}", Expansion::Words),
        ("x $(id -u \")\" ')' $(a))", "$(id -u \")\" ')' $(a))", Expansion::Words),
        ("x `id -u`", "`id -u`", Expansion::Words),
        ("x \"$(a)\"", "$(a)", Expansion::Text),
        ("x $((1+(2)))", "$((1+(2)))", Expansion::Words),
        ("x \"$@\"", "$@", Expansion::Words),
        ("x \"${a[@]}\"", "${a[@]}", Expansion::Words),
        ("x $1", "$1", Expansion::Words),
        ("x *", "*", Expansion::Words),
        ("x a?b", "?", Expansion::Words),
        ("x [a-z]", "[", Expansion::Words),
        ("x {a,b}", "{", Expansion::Words),
        ("x --cap-add={NET_ADMIN,SYS_ADMIN}", "{", Expansion::Words),
        ("x {1..3}", "{", Expansion::Words),
        ("x <(ls)", "<(ls)", Expansion::Text),
        ("x $PWD", "$PWD", Expansion::Directory),
        ("x ${PWD}/a", "${PWD}", Expansion::Directory),
        ("x \"$(pwd)\"/a", "$(pwd)", Expansion::Directory),
        ("x `pwd`", "`pwd`", Expansion::Directory),
        ("x ~/a", "~", Expansion::Directory),
        ("x ~root", "~root", Expansion::Directory),
    ] {
        let commands = commands(text).expect(text);
        let word = &commands[0].words[1];
        let expected = Part::Unknown { source: source.to_owned(), value };
        assert!(word.parts().contains(&expected), "{text}: {word:?}");
        assert_eq!(word.known(), None, "{text}");
    }
}

#[test]
fn what_has_no_end_is_refused_where_it_begins() {
    for (text, line) in [
        ("a 'b", 1),
        ("a\nb \"c", 2),
        ("a $(b", 1),
        ("\n\na ${b", 3),
        ("a `b", 1),
        ("a $'b", 1),
        ("a \"$(b\"", 1),
    ] {
        assert_eq!(commands(text).expect_err(text).line, line, "{text:?}");
    }
    let deep = format!("a {}", "$(".repeat(100_000));
    assert!(commands(&deep).is_err());
}

proptest! {
    /// Nothing but quotes, backslashes, blanks and letters: what shlex splits, too.
    #[test]
    fn quoting_is_shlex_s(text in r#"[ab '"\\]{0,24}"#) {
        let expected = shlex::split(&text);
        let got = commands(&text).ok().map(|commands| {
            commands.iter().flat_map(|command| &command.words).map(|word| word.known().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        // A backslash at the very end: bash keeps it, shlex refuses it.
        if !text.ends_with('\\') {
            prop_assert_eq!(got, expected.map(Some));
        }
    }

    /// Any text is read or refused, and the work does not depend on what it says.
    #[test]
    fn any_text_is_read_or_refused(text in r#"[a-c $(){}`'"\\<>|&;#~*\n-]{0,64}"#) {
        let _ = commands(&text);
        let _ = plim_docker::invocation::read(&text);
    }
}
