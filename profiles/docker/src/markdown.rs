//! Commands in documentation.

/// Languages of code blocks that hold commands; a block without one may.
const SHELLS: [&str; 16] = [
    "",
    "bash",
    "bat",
    "batch",
    "cmd",
    "console",
    "powershell",
    "ps1",
    "pwsh",
    "sh",
    "shell",
    "shell-session",
    "shellsession",
    "terminal",
    "text",
    "zsh",
];

/// The commands of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The commands, with every other line empty, so that lines keep their numbers.
    pub text: String,
    /// Other lines that speak of running a container, by number from 1: prose, output, or a block of another language.
    pub left: Vec<(usize, String)>,
}

/// The commands of a Markdown text; a text without code blocks is a script as it is. In a block with prompts (`$ `, `# `)
/// other lines are output.
///
/// ```
/// let script = plim_docker::markdown::script("Run it:\n```console\n$ docker run \\\n    nginx\nStarted.\n```\nOr `docker run x`.\n");
/// assert_eq!(script.text, "\n\ndocker run \\\n    nginx\n\n\n\n");
/// assert_eq!(script.left, [(7, "Or `docker run x`.".to_owned())]);
/// ```
pub fn script(text: &str) -> Script {
    let fence = |line: &str| {
        let line = line.trim_start();
        ["```", "~~~"].into_iter().find(|fence| line.starts_with(fence))
    };
    if !text.lines().any(|line| fence(line).is_some()) {
        return Script { text: text.to_owned(), left: Vec::new() };
    }
    let mut script = String::with_capacity(text.len());
    let mut block: Option<(&str, bool, Vec<&str>)> = None;
    for line in text.lines() {
        match (&mut block, fence(line)) {
            (None, None) => script.push('\n'),
            (None, Some(opened)) => {
                script.push('\n');
                let language = line.trim_start().trim_start_matches(['`', '~']);
                let language =
                    language.split([' ', '{', ',']).next().unwrap_or_default().to_ascii_lowercase();
                block = Some((opened, SHELLS.contains(&language.as_str()), Vec::new()));
            }
            (Some((opened, _, _)), Some(closing)) if *opened == closing => {
                if let Some((_, shell, lines)) = block.take() {
                    commands(&lines, shell, &mut script);
                }
                script.push('\n');
            }
            (Some((_, _, lines)), _) => lines.push(line),
        }
    }
    if let Some((_, shell, lines)) = block {
        commands(&lines, shell, &mut script);
    }
    let left = text
        .lines()
        .zip(script.lines())
        .enumerate()
        .filter(|(_, (line, kept))| kept.is_empty() && runs(line));
    let left = left.map(|(index, (line, _))| (index + 1, line.trim().to_owned())).collect();
    Script { text: script, left }
}

/// Whether a line speaks of running a container.
fn runs(line: &str) -> bool {
    let mut words = line.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.any(|word| ["docker", "podman", "nerdctl"].contains(&word))
        && words.any(|word| ["run", "create"].contains(&word))
}

fn prompt(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")).or_else(|| line.strip_prefix("PS> "))
}

fn commands(lines: &[&str], shell: bool, script: &mut String) {
    // A `#` alone is a comment as often as root's prompt: both are no command of a script.
    let prompts = lines.iter().any(|line| line.trim_start().starts_with("$ ") || line.starts_with("PS> "));
    let root = !prompts
        && lines.first().is_some_and(|line| line.starts_with("# docker ") || line.starts_with("# podman "));
    let mut continued = false;
    for line in lines {
        let typed = if !prompts && !root {
            Some(*line)
        } else if continued {
            Some(line.strip_prefix("> ").unwrap_or(line))
        } else {
            prompt(line)
        };
        let typed = typed.filter(|_| shell).unwrap_or_default();
        continued = typed.ends_with('\\') || typed.ends_with(" `") || typed.ends_with(" ^");
        script.push_str(typed);
        script.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_other_languages_hold_no_commands() {
        let text = "```yaml\ndocker run x\n```\n```sh\ndocker run y\n```\n~~~\n$ docker run z\noutput\n~~~\n";
        let script = script(text).text;
        assert_eq!(script.lines().count(), text.lines().count());
        assert_eq!(
            script.split_whitespace().collect::<Vec<_>>(),
            ["docker", "run", "y", "docker", "run", "z"]
        );
    }

    #[test]
    fn a_script_is_itself() {
        assert_eq!(script("#!/bin/sh\ndocker run x\n").text, "#!/bin/sh\ndocker run x\n");
    }

    #[test]
    fn nothing_that_speaks_of_a_container_is_left_out_silently() {
        let fenced = "```sh\ndocker run ok\n```\n";
        for other in [
            "    docker run --privileged x",
            "`docker run --privileged x`",
            "> ```sh\n> docker run --privileged x\n> ```",
            "<pre>podman run --privileged x</pre>",
            "```ruby\ndocker run --privileged x\n```",
            "```console\n$ docker run ok\nme@host:~$ docker run --privileged x\n```",
        ] {
            assert_eq!(script(&format!("{fenced}{other}\n")).left.len(), 1, "{other}");
        }
    }
}
