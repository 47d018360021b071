//! Words whose text may be known in part.

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text, without its quotes.
    Text(String),
    /// What only the shell that runs the text knows.
    Unknown {
        /// As it is written: `$PORT`, `$(id -u)`, `*`.
        source: String,
        /// What its value is known to be, whatever it is.
        value: Expansion,
    },
}

/// What is known of a value that only the running shell has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expansion {
    /// One text, since it is quoted.
    Text,
    /// Any number of words, since it is not.
    Words,
    /// The absolute path of a directory: the working directory (`$PWD`, `$(pwd)`) or the home directory (`~`, `$HOME`).
    Directory,
}

/// One word of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    pub(super) parts: Vec<Part>,
    /// The line that it begins in, from 1.
    pub line: usize,
}

impl Word {
    /// A word that is known.
    pub fn of(text: &str, line: usize) -> Word {
        Word { parts: vec![Part::Text(text.to_owned())], line }
    }

    /// Its pieces: known text and what is not known, in turn. An empty word (`""`) has none.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The whole text, if nothing of it is unknown.
    pub fn known(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// What it certainly begins with.
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// The first piece that is not known, as it is written.
    pub fn unknown(&self) -> Option<&str> {
        self.parts.iter().find_map(|part| match part {
            Part::Unknown { source, .. } => Some(source.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Whether it may become no word, or several.
    pub fn splits(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Unknown { value: Expansion::Words, .. }))
    }

    /// Whether everything that is not known of it is the path of a directory.
    pub fn is_directory_path(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Text(_) | Part::Unknown { value: Expansion::Directory, .. }))
    }

    /// The text, with what is not known as it is written.
    pub fn source(&self) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Unknown { source, .. } => source,
        });
        texts.collect()
    }

    /// Splits at the first such letter of the known text.
    pub fn split_once(&self, letter: char) -> Option<(Word, Word)> {
        self.parts.iter().enumerate().find_map(|(index, part)| {
            let Part::Text(text) = part else { return None };
            let (before, after) = text.split_once(letter)?;
            let mut left = Word { parts: self.parts[..index].to_vec(), line: self.line };
            left.push_text(before);
            let mut right = Word { parts: Vec::new(), line: self.line };
            right.push_text(after);
            right.parts.extend_from_slice(&self.parts[index + 1..]);
            Some((left, right))
        })
    }

    /// All pieces between such letters of the known text.
    pub fn split(&self, letter: char) -> Vec<Word> {
        let mut pieces = Vec::new();
        let mut rest = self.clone();
        while let Some((left, right)) = rest.split_once(letter) {
            pieces.push(left);
            rest = right;
        }
        pieces.push(rest);
        pieces
    }

    /// The word without its first `bytes` bytes, which are known text.
    pub fn skip(&self, bytes: usize) -> Word {
        let mut rest = self.clone();
        if let Some(Part::Text(text)) = rest.parts.first_mut() {
            *text = text.get(bytes..).unwrap_or_default().to_owned();
            if text.is_empty() {
                rest.parts.remove(0);
            }
        }
        rest
    }

    pub(super) fn push(&mut self, letter: char) {
        match self.parts.last_mut() {
            Some(Part::Text(text)) => text.push(letter),
            _ => self.parts.push(Part::Text(letter.to_string())),
        }
    }

    pub(super) fn push_text(&mut self, more: &str) {
        match self.parts.last_mut() {
            _ if more.is_empty() => {}
            Some(Part::Text(text)) => text.push_str(more),
            _ => self.parts.push(Part::Text(more.to_owned())),
        }
    }

    pub(super) fn push_unknown(&mut self, source: String, value: Expansion) {
        self.parts.push(Part::Unknown { source, value });
    }
}
