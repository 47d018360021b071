//! Text that others wrote, made safe to print.

/// Escapes what could move the cursor, reorder or hide text on a terminal: control characters, bidirectional marks,
/// zero-width characters and line separators; the backslash too, so that the result can be read back unambiguously.
///
/// Names of processes, mounts and cgroups are chosen by whoever runs in the container.
///
/// ```
/// assert_eq!(plim_model::text::escape("a\x1b[2J\u{202e}b"), "a\\u{1b}[2J\\u{202e}b");
/// ```
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => safe.push_str("\\\\"),
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            letter if deceives(letter) => safe.extend(letter.escape_unicode()),
            letter => safe.push(letter),
        }
    }
    safe
}

/// The same without touching backslashes and line breaks: for whole messages that hold both on purpose.
pub fn escape_message(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && deceives(letter) {
            safe.extend(letter.escape_unicode());
        } else {
            safe.push(letter);
        }
    }
    safe
}

fn deceives(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_deceives_and_nothing_else() {
        for (text, expected) in [
            ("plain ünï 漢", "plain ünï 漢"),
            ("a\nb\tc\\d\r", "a\\nb\\tc\\\\d\\r"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}\0", "\\u{7f}\\u{0}"),
            ("x\u{2066}y\u{200b}\u{feff}", "x\\u{2066}y\\u{200b}\\u{feff}"),
        ] {
            assert_eq!(escape(text), expected);
        }
        assert_eq!(escape_message("a\\b\nc\x1b"), "a\\b\nc\\u{1b}");
    }
}
