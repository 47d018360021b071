//! Text that others wrote, made safe for each format that it is printed in: one function a format, and every writer calls it.
//!
//! Names of processes, mounts, images and files are chosen inside containers and by authors of manifests. Data holds them as they
//! are; they are escaped where they are written, once.

/// One line for a terminal or a log: control characters (line breaks too), bidirectional marks, zero-width characters and line
/// separators are spelt out, and what CI systems would read as a command of their own (`::error::` at the start of a line,
/// `##[error]` and `##vso[` anywhere) is broken.
///
/// Backslashes stay, so that text that was escaped, or quoted with `{:?}`, is not escaped again; what has to be read back
/// exactly is in the JSON.
///
/// ```
/// let once = plim_model::text::escape("a\x1b[2J\n\u{202e}b");
/// assert_eq!(once, "a\\u{1b}[2J\\n\\u{202e}b");
/// assert_eq!(plim_model::text::escape(&once), once);
/// ```
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            letter if deceives(letter) => safe.extend(letter.escape_unicode()),
            letter => safe.push(letter),
        }
    }
    if safe.trim_start().starts_with("::") {
        safe = safe.replacen("::", "\\u{3a}:", 1);
    }
    without_logging_commands(safe, "#\\u{23}")
}

/// A whole message, whose line breaks are kept: each further line begins with a mark, so that none can pass for a line of its own.
pub fn escape_message(text: &str) -> String {
    text.split('\n').map(escape).collect::<Vec<_>>().join("\n  | ")
}

/// JSON as a serializer wrote it, with the same characters spelt out. Such characters are within strings alone, so the result is the
/// same JSON.
///
/// ```
/// assert_eq!(plim_model::text::json("{\"a\":\"\u{9b}\u{202e}\u{e0001}\"}"), r#"{"a":"\u009b\u202e\udb40\udc01"}"#);
/// ```
pub fn json(serialized: &str) -> String {
    let mut safe = String::with_capacity(serialized.len());
    for letter in serialized.chars() {
        // Below U+007F the serializer has escaped what is in a string; what is left is white space between values.
        if letter >= '\u{7f}' && deceives(letter) {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(letter);
        }
    }
    without_logging_commands(safe, "#\\u0023")
}

/// One line of text or an attribute's value in XML 1.0, HTML and SVG.
pub fn xml(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in escape(text).chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML 1.0 (2.2) has no way to hold these.
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

/// A cell of a table in GitHub's Markdown: nothing in it ends the cell, makes a link, mentions a user or becomes HTML.
pub fn markdown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in escape(text).chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '@' => safe.push_str("&#64;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '!' | '~' | '$' => {
                safe.push('\\');
                safe.push(letter);
            }
            letter => safe.push(letter),
        }
    }
    // A bare address would become a link.
    safe.replace("://", ":&#47;&#47;").replace("www.", "www&#46;")
}

/// The message of a GitHub workflow command, of several lines.
pub fn workflow_message<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> String {
    let lines: Vec<String> =
        lines.into_iter().map(|line| escape(line.as_ref()).replace('%', "%25")).collect();
    lines.join("%0A")
}

/// The value of a property of a GitHub workflow command: commas and colons would end it.
pub fn workflow_property(text: &str) -> String {
    workflow_message([text]).replace(':', "%3A").replace(',', "%2C")
}

/// GitHub's runner and Azure Pipelines read these anywhere in a line.
fn without_logging_commands(text: String, broken: &str) -> String {
    if !text.contains("##") {
        return text;
    }
    text.replace("##[", &format!("{broken}[")).replace("##vso[", &format!("{broken}vso["))
}

/// Whether a character can move the cursor, or reorder, hide or break text.
pub fn deceives(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use plim_fuzz::{HOSTILE, hostile_letters};

    use super::*;

    #[test]
    fn escapes_what_deceives_and_nothing_else() {
        for (text, expected) in [
            ("plain ünï 漢 C:\\x", "plain ünï 漢 C:\\x"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}\0", "\\u{7f}\\u{0}"),
            ("x\u{2066}y\u{200b}\u{feff}", "x\\u{2066}y\\u{200b}\\u{feff}"),
            ("::error::x a::b", "\\u{3a}:error::x a::b"),
            ("a ##[error]b", "a #\\u{23}[error]b"),
        ] {
            assert_eq!(escape(text), expected);
        }
        assert_eq!(escape_message("a\\b\n::error::c\x1b"), "a\\b\n  | \\u{3a}:error::c\\u{1b}");
    }

    /// Every format, by what its readers take for more than text.
    #[test]
    fn no_format_is_deceived() {
        let mut all: Vec<String> = HOSTILE.iter().map(|text| (*text).to_owned()).collect();
        all.extend(hostile_letters().map(|letter| format!("a{letter}b")));
        all.push(all.concat());
        for text in &all {
            let line = |safe: &str| {
                assert!(!safe.chars().any(deceives), "{text:?}: {safe}");
                assert!(!safe.trim_start().starts_with("::"), "{text:?}: {safe}");
                assert!(!safe.contains("##[") && !safe.contains("##vso["), "{text:?}: {safe}");
            };
            line(&escape(text));
            assert_eq!(escape(&escape(text)), escape(text), "escaped twice");
            assert_eq!(
                escape(&format!("{text:?}")).matches("\\\\").count(),
                format!("{text:?}").matches("\\\\").count()
            );
            for (index, message) in escape_message(text).split('\n').enumerate() {
                line(message);
                assert!(index == 0 || message.starts_with("  | "));
            }

            line(&xml(text));
            assert!(!xml(text).contains(['<', '>', '"', '\'', '\u{fffe}', '\u{ffff}']), "{text:?}");
            let entities = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
            assert!(
                entities.iter().fold(xml(text), |left, entity| left.replace(entity, "")).find('&').is_none()
            );

            line(&markdown(text));
            let bare = markdown(text).replace("\\\\", "").replace("\\|", "").replace("\\`", "");
            assert!(!bare.contains(['|', '`', '<', '>', '@']) && !bare.contains("://"), "{text:?}: {bare}");

            line(&workflow_message([text]));
            assert!(!workflow_property(text).contains([':', ',', '\n', '\r']), "{text:?}");

            let value = serde_json::json!({ text.as_str(): [text] });
            for serialized in [value.to_string(), format!("{value:#}")] {
                let safe = json(&serialized);
                assert!(!safe.chars().any(|letter| letter != '\n' && deceives(letter)), "{text:?}: {safe}");
                assert!(!safe.contains("##[") && !safe.contains("##vso["), "{text:?}: {safe}");
                assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).expect("JSON"), value);
            }
        }
    }
}
