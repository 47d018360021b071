//! The commands of a text that run containers: which they are, and how their words are options, image and command.

use crate::error::{UsageError, What};
use crate::options::{Engine, Takes};
use crate::reference;
use crate::shell::{self, Command, Part, Word};
use crate::values;

/// Shells inside shells that are read (`sh -c 'sh -c …'`).
const DEPTH: usize = 4;

/// One command of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// It runs or creates a container.
    Run(Invocation),
    /// It runs no container, as far as its name says: `cd`, `npm`.
    Other {
        /// Its name.
        name: String,
    },
    /// It may run containers, and the text does not say how.
    NotJudged {
        /// The first words of it.
        what: String,
        /// Why, and what to do.
        why: String,
        /// From 1.
        line: usize,
    },
}

/// `ENGINE run OPTIONS IMAGE COMMAND…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program.
    pub engine: Engine,
    /// The line of the text, from 1.
    pub line: usize,
    /// The options in their order, with their long names; lists are split.
    pub options: Vec<(&'static str, Word)>,
    /// The image, or the first word of the command for [`Engine::Plim`]; `None` where `open` hides it.
    pub image: Option<Word>,
    /// What cannot be decided, as it is written: from this word on it may be any option.
    pub open: Option<String>,
}

/// Reads all commands of a text.
///
/// ```
/// use plim_docker::invocation::{Statement, read};
/// let statements = read("cd /srv && sudo docker --context prod run -it --cap-drop=ALL \"$IMAGE\"").unwrap();
/// let Statement::Run(run) = &statements[1] else { panic!() };
/// assert_eq!(run.options.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["interactive", "tty", "cap-drop"]);
/// assert_eq!(run.image.as_ref().unwrap().source(), "$IMAGE");
/// ```
///
/// # Errors
/// The first command line that its engine would refuse, or a text without one.
pub fn read(text: &str) -> Result<Vec<Statement>, UsageError> {
    let mut statements = Vec::new();
    collect(text, 0, &mut statements)?;
    if !statements
        .iter()
        .any(|statement| matches!(statement, Statement::Run(_) | Statement::NotJudged { .. }))
    {
        let found: String = text.trim().chars().take(60).collect();
        let why = match statements.first() {
            Some(Statement::Other { name }) => format!("{name} runs no container"),
            _ => "there is no command in it".to_owned(),
        };
        return Err(UsageError::new(1, What::NoContainer { found, why }));
    }
    Ok(statements)
}

fn collect(text: &str, depth: usize, into: &mut Vec<Statement>) -> Result<(), UsageError> {
    for command in shell::commands(text)? {
        statement(&command, depth, into)?;
    }
    Ok(())
}

/// Reserved words, and programs that run the command behind them as it is.
const BEFORE: [&str; 17] = [
    "!", "{", "if", "then", "elif", "else", "while", "until", "do", "time", "exec", "command", "builtin",
    "nohup", "sudo", "doas", "env",
];
/// Reserved words that end or begin something without a command.
const ALONE: [&str; 8] = ["}", "fi", "done", "esac", "for", "case", "function", "select"];
/// Their options that take a value in the next word.
const VALUES_BEFORE: [&str; 14] = [
    "-u", "--user", "-g", "--group", "-h", "--host", "-p", "--prompt", "-C", "-S", "-D", "--chdir", "-a",
    "--unset",
];

fn statement(command: &Command, depth: usize, into: &mut Vec<Statement>) -> Result<(), UsageError> {
    substitutions(command, depth, into)?;
    let mut words = command.words.as_slice();
    // What documentation writes in front of a command.
    if let [first, rest @ ..] = words
        && first.known() == Some("$")
    {
        words = rest;
    }
    let leave = |why: &str, into: &mut Vec<Statement>| into.push(not_judged(command, why));
    let mut program = loop {
        let [first, rest @ ..] = words else {
            // `sudo -s <<X`
            if command.fed && !command.words.is_empty() {
                leave("the commands that it runs are not in the text", into);
            }
            return Ok(());
        };
        words = rest;
        if is_assignment(first) {
            continue;
        }
        // Arithmetic; what it substitutes has been looked at.
        if first.unknown().is_some_and(|source| source.starts_with("((")) {
            return Ok(());
        }
        let Some(known) = first.known() else {
            // `$(docker run …)` and `$DOCKER run` alike.
            leave("which command it is stands in a variable", into);
            return Ok(());
        };
        if ALONE.contains(&known) {
            if mentions_engine(command) {
                leave("it may run a container in its own words", into);
            }
            return Ok(());
        }
        if !BEFORE.contains(&base(known)) {
            break base(known).to_owned();
        }
        while let [option, rest @ ..] = words
            && option.prefix().starts_with('-')
        {
            words = rest;
            if base(known) == "env"
                && (option.prefix().contains('S') || option.prefix().starts_with("--split"))
            {
                leave("env splits a text into the command", into);
                return Ok(());
            }
            if option.known().is_some_and(|option| VALUES_BEFORE.contains(&option)) {
                words = words.get(1..).unwrap_or_default();
            }
        }
    };
    if let Some(stripped) = program.strip_suffix(".exe") {
        program = stripped.to_owned();
    }
    if ["sh", "bash", "dash", "ash", "zsh", "ksh", "eval"].contains(&program.as_str()) {
        return shell_in_shell(command, &program, words, depth, into);
    }
    if let Some(engine) = Engine::from_program(&program) {
        return engine_command(engine, &program, command, words, into);
    }
    match (program.as_str(), words.first().and_then(Word::known)) {
        ("docker-compose" | "podman-compose", _) => leave("a Compose project: judge its compose.yaml", into),
        ("kubectl" | "oc", Some("run" | "create" | "debug")) => {
            leave("it makes a pod: judge what it prints with --dry-run=client -o yaml", into);
        }
        _ if reads_commands(&program, command) => {
            leave("the commands that it runs are not in the text", into)
        }
        ("echo" | "printf" | "grep" | "which" | "type" | "hash", _)
            if command.words.iter().all(|word| word.unknown().is_none()) =>
        {
            into.push(Statement::Other { name: program })
        }
        _ if mentions_engine(command) => {
            leave("it may run a container in its own words", into);
        }
        _ => into.push(Statement::Other { name: program }),
    }
    Ok(())
}

fn base(program: &str) -> &str {
    program.rsplit(['/', '\\']).next().unwrap_or(program)
}

fn is_assignment(word: &Word) -> bool {
    let Some((name, _)) = word.prefix().split_once('=') else { return false };
    !name.is_empty()
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The containers that `$(…)` and back-quotes run.
fn substitutions(command: &Command, depth: usize, into: &mut Vec<Statement>) -> Result<(), UsageError> {
    for part in command.words.iter().chain(&command.targets).flat_map(Word::parts) {
        let Part::Unknown { source, .. } = part else { continue };
        if !pieces(source).any(|piece| Engine::from_program(piece).is_some()) {
            continue;
        }
        let inside = ["$(", "<(", ">("].iter().find_map(|open| source.strip_prefix(open)?.strip_suffix(')'));
        let inside = inside.or_else(|| source.strip_prefix('`')?.strip_suffix('`'));
        match inside {
            Some(inside) if depth < DEPTH => collect(inside, depth + 1, into)?,
            _ => into.push(not_judged(command, "the commands inside a substitution are not read")),
        }
    }
    Ok(())
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| letter.is_whitespace() || "/;&|(){}`'\"$=".contains(letter))
}

/// Whether the words hold an engine's command (`ssh host docker run …`, `xargs docker run`, `watch 'docker run …'`).
fn mentions_engine(command: &Command) -> bool {
    const VERBS: [&str; 7] = ["run", "create", "start", "compose", "container", "play", "kube"];
    let mut all = texts(command).flat_map(pieces);
    all.any(is_engine) && all.any(|piece| VERBS.contains(&piece))
}

/// The words as far as they are known.
fn texts(command: &Command) -> impl Iterator<Item = &str> {
    command.words.iter().flat_map(Word::parts).filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Unknown { .. } => None,
    })
}

fn is_engine(piece: &str) -> bool {
    ["docker", "podman", "nerdctl"].contains(&piece)
}

/// Whether an engine may get its verb, or a shell its commands, from elsewhere: `xargs docker`, `alias d=docker`, `source <(…)`.
fn reads_commands(program: &str, command: &Command) -> bool {
    let shell = |piece: &str| ["sh", "bash", "dash", "ash", "zsh", "ksh"].contains(&piece);
    match program {
        "xargs" | "parallel" => texts(command).flat_map(pieces).any(|piece| is_engine(piece) || shell(piece)),
        "alias" => texts(command).flat_map(pieces).any(is_engine),
        "su" | "ssh" | "newgrp" | "at" | "batch" | "source" | "." => {
            command.fed || command.words.iter().any(|word| word.unknown().is_some())
        }
        _ => false,
    }
}

fn not_judged(command: &Command, why: &str) -> Statement {
    let what: Vec<String> = command.words.iter().take(6).map(Word::source).collect();
    let line = command.words.first().map_or(1, |word| word.line);
    Statement::NotJudged { what: what.join(" "), why: why.to_owned(), line }
}

/// `sh -c TEXT` and `eval TEXT`.
fn shell_in_shell(
    command: &Command,
    program: &str,
    words: &[Word],
    depth: usize,
    into: &mut Vec<Statement>,
) -> Result<(), UsageError> {
    let text = if program == "eval" {
        let texts: Option<Vec<&str>> = words.iter().map(Word::known).collect();
        texts.map(|texts| texts.join(" "))
    } else {
        let at = words.iter().position(|word| {
            word.prefix().starts_with('-') && !word.prefix().starts_with("--") && word.prefix().ends_with('c')
        });
        match at {
            Some(at) => words.get(at + 1).and_then(|word| word.known().map(str::to_owned)),
            // A script of its own, which is not in this text; its input is.
            None if !command.fed && !mentions_engine(command) => {
                into.push(Statement::Other { name: program.to_owned() });
                return Ok(());
            }
            None => None,
        }
    };
    match text {
        Some(text) if depth < DEPTH => collect(&text, depth + 1, into),
        _ => {
            into.push(not_judged(command, "the commands that this shell runs are not in the text"));
            Ok(())
        }
    }
}

fn engine_command(
    engine: Engine,
    program: &str,
    command: &Command,
    mut words: &[Word],
    into: &mut Vec<Statement>,
) -> Result<(), UsageError> {
    let line = command.words.first().map_or(1, |word| word.line);
    let leave = |why: &str, into: &mut Vec<Statement>| into.push(not_judged(command, why));
    if program != "plim-run" {
        // Options before the verb.
        while let [word, rest @ ..] = words
            && word.prefix().starts_with('-')
        {
            words = rest;
            let text = word.prefix().trim_start_matches('-');
            let (name, glued) = text.split_once('=').map_or((text, false), |(name, _)| (name, true));
            let long = word.prefix().starts_with("--");
            // `-Htcp://…`: a value behind its letter.
            let letter = name.chars().next().map(String::from).unwrap_or_default();
            let (name, glued) =
                if long || engine.global(name).is_some() { (name, glued) } else { (letter.as_str(), true) };
            match engine.global(name) {
                Some(Takes::Flag) => {}
                Some(_) if glued => {}
                Some(_) => words = words.get(1..).unwrap_or_default(),
                None => {
                    let option = word.source();
                    return Err(UsageError::new(word.line, What::UnknownOption { option, engine }));
                }
            }
        }
        let Some(verb) = words.first() else {
            into.push(Statement::Other { name: program.to_owned() });
            return Ok(());
        };
        let Some(verb) = verb.known() else {
            leave("which command of the engine it is stands in a variable", into);
            return Ok(());
        };
        words = &words[1..];
        match verb {
            "run" | "create" => {}
            "container" if matches!(words.first().and_then(Word::known), Some("run" | "create")) => {
                words = &words[1..];
            }
            "compose" | "stack" => {
                let why = "a Compose project: judge its compose.yaml";
                // Alone it is not a container's command line at all; the reader of the whole text says so.
                leave(why, into);
                return Ok(());
            }
            "exec" | "container" | "service" | "swarm" | "kube" | "play" | "pod" | "start" | "restart"
            | "build" | "buildx" | "update" => {
                let why = match verb {
                    "kube" | "play" => "it makes pods of a manifest: judge the manifest",
                    "service" | "swarm" => "it makes a service, not a container",
                    "exec" => "it runs in a container that there is: judge that container",
                    "update" => "it changes a container that there is: judge that container",
                    "pod" => "it makes a pod, whose options are not read",
                    "build" | "buildx" => "it builds an image, and builds are not judged",
                    _ => "it starts a container that there is: judge that container",
                };
                let harmless = verb == "container"
                    && matches!(
                        words.first().and_then(Word::known),
                        Some("ls" | "list" | "ps" | "inspect" | "logs" | "rm" | "stop" | "wait" | "prune")
                    );
                if harmless {
                    into.push(Statement::Other { name: format!("{program} {verb}") });
                } else {
                    leave(why, into);
                }
                return Ok(());
            }
            // `podman unshare podman run …`
            _ if words
                .iter()
                .any(|word| word.known().is_some_and(|word| is_engine(base(word)) || base(word) == "sh")) =>
            {
                leave("it may run a container in its own words", into);
                return Ok(());
            }
            _ => {
                into.push(Statement::Other { name: format!("{program} {verb}") });
                return Ok(());
            }
        }
    }
    into.push(Statement::Run(run(engine, line, words)?));
    Ok(())
}

/// The words behind `run`.
fn run(engine: Engine, line: usize, mut words: &[Word]) -> Result<Invocation, UsageError> {
    let mut options = Vec::new();
    let mut open = None;
    let mut rootfs = false;
    let image = loop {
        let [word, rest @ ..] = words else { break None };
        words = rest;
        if word.known() == Some("--") {
            break words.first();
        }
        let prefix = word.prefix();
        if prefix.is_empty() && word.unknown().is_some() && (word.splits() || !rest.is_empty()) {
            // Unquoted it may be any options and the image; quoted one option, where something follows that may be the image.
            open = word.unknown().map(str::to_owned);
            break None;
        }
        if prefix.starts_with("--") {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.skip(2), Some(value)),
                None => (word.skip(2), None),
            };
            let Some(name) = name.known() else {
                open = word.unknown().map(str::to_owned);
                break None;
            };
            let option = format!("--{name}");
            // Podman and nerdctl take their global options behind the verb, too; none of them is about the container.
            let persistent =
                matches!(engine, Engine::Podman | Engine::Nerdctl).then(|| engine.global(name)).flatten();
            let Some((name, takes)) = engine.option(name).or(persistent.map(|takes| ("", takes))) else {
                return Err(UsageError::new(word.line, What::UnknownOption { option, engine }));
            };
            rootfs |= name == "rootfs";
            if takes == Takes::Flag {
                options.push((name, value.unwrap_or_else(|| Word::of("true", word.line))));
                continue;
            }
            let value = match value {
                Some(value) => value,
                None => take(&mut words, &option, word.line)?,
            };
            given(&mut options, name, takes, value, &option)?;
        } else if prefix.len() > 1 && prefix.starts_with('-') {
            open = letters(engine, word, &mut words, &mut options)?;
            if open.is_some() {
                break None;
            }
        } else if prefix == "-" && word.unknown().is_some() {
            open = word.unknown().map(str::to_owned);
            break None;
        } else {
            break Some(word);
        }
    };
    if open.is_none() {
        let place = if engine == Engine::Plim { "command" } else { "image" };
        let image = image.ok_or_else(|| UsageError::new(line, What::Nothing(place)))?;
        if engine != Engine::Plim && !rootfs {
            reference::check(image)
                .map_err(|why| UsageError::new(image.line, What::Image { found: image.source(), why }))?;
        }
    }
    Ok(Invocation { engine, line, options, image: image.cloned(), open })
}

fn take(words: &mut &[Word], option: &str, line: usize) -> Result<Word, UsageError> {
    let [value, rest @ ..] = words else {
        return Err(UsageError::new(line, What::NoValue { option: option.to_owned() }));
    };
    *words = rest;
    Ok(value.clone())
}

/// `-it`, `-p80:80`, `-p=80:80`, `-d=false`. Returns what further letters are not known, as in `-it$MORE`.
fn letters(
    engine: Engine,
    word: &Word,
    words: &mut &[Word],
    options: &mut Vec<(&'static str, Word)>,
) -> Result<Option<String>, UsageError> {
    let prefix = word.prefix();
    for (at, letter) in prefix.char_indices().skip(1) {
        let option = format!("-{letter}");
        let Some((name, takes)) = engine.short(letter).and_then(|name| engine.option(name)) else {
            return Err(UsageError::new(word.line, What::UnknownOption { option, engine }));
        };
        let behind = word.skip(at + letter.len_utf8());
        let nothing = behind.parts().is_empty();
        if takes == Takes::Flag {
            if behind.prefix().starts_with('=') {
                options.push((name, behind.skip(1)));
                return Ok(None);
            }
            options.push((name, Word::of("true", word.line)));
            continue;
        }
        let value = if nothing {
            take(words, &option, word.line)?
        } else if behind.prefix().starts_with('=') {
            behind.skip(1)
        } else {
            behind
        };
        given(options, name, takes, value, &option)?;
        return Ok(None);
    }
    Ok(word.unknown().map(str::to_owned))
}

fn given(
    options: &mut Vec<(&'static str, Word)>,
    name: &'static str,
    takes: Takes,
    value: Word,
    option: &str,
) -> Result<(), UsageError> {
    if takes != Takes::List {
        options.push((name, value));
        return Ok(());
    }
    match value.known() {
        Some(known) => {
            let pieces = values::csv(known).map_err(|expected| {
                let (option, found) = (option.to_owned(), known.to_owned());
                UsageError::new(value.line, What::Value { option, found, expected: expected.to_owned() })
            })?;
            options.extend(pieces.iter().map(|piece| (name, Word::of(piece, value.line))));
        }
        None => options.extend(value.split(',').into_iter().map(|piece| (name, piece))),
    }
    Ok(())
}
