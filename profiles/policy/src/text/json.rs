//! JSON (RFC 8259) with line and column.

use std::cell::Cell;

use super::node::{Key, repeated_key};
use super::{Kind, Limits, Node, Place, TextError};

struct Reader<'t> {
    text: &'t str,
    /// Offset in bytes.
    next: usize,
    line: u32,
    /// Offset at which the line begins.
    line_start: usize,
    /// Where letters of this line were counted up to last, and how many.
    counted: Cell<(usize, usize)>,
    limits: Limits,
    values: usize,
}

/// One document, or several after one another (`kubectl get -w -o json` writes so).
pub(super) fn read(text: &str, limits: Limits) -> Result<Vec<Node>, TextError> {
    let mut reader =
        Reader { text, next: 0, line: 1, line_start: 0, counted: Cell::new((0, 0)), limits, values: 0 };
    let mut documents = Vec::new();
    reader.space();
    while reader.peek().is_some() {
        documents.push(reader.value(0)?);
        reader.space();
    }
    Ok(documents)
}

impl Reader<'_> {
    fn place(&self) -> Place {
        // Columns are letters, as YAML's are. Each is counted once: a document may be one line of megabytes.
        let known = Some(self.counted.get()).filter(|(at, _)| (self.line_start..=self.next).contains(at));
        let (from, letters) = known.unwrap_or((self.line_start, 0));
        let more = self.text.get(from..self.next).map_or(0, |part| part.chars().count());
        self.counted.set((self.next, letters + more));
        Place { line: self.line, column: u32::try_from(letters + more).unwrap_or(u32::MAX - 1) + 1 }
    }

    fn error<T>(&self, what: impl Into<String>) -> Result<T, TextError> {
        Err(TextError::new(self.place(), format!("not JSON: {}", what.into())))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.next).copied()
    }

    fn space(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.next += 1;
            if byte == b'\n' {
                self.line += 1;
                self.line_start = self.next;
            }
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), TextError> {
        if self.peek() == Some(byte) {
            self.next += 1;
            return Ok(());
        }
        self.error(format!("found {}, expected {:?}", self.found(), char::from(byte)))
    }

    fn found(&self) -> String {
        match self.text.get(self.next..).and_then(|rest| rest.chars().next()) {
            Some(letter) => format!("{letter:?}"),
            None => "the end".to_owned(),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, TextError> {
        let at = self.place();
        if depth > self.limits.depth {
            return Err(TextError::new(at, format!("nested more than {} deep", self.limits.depth)));
        }
        self.values += 1;
        if self.values > self.limits.values {
            return Err(TextError::new(at, format!("more than {} values", self.limits.values)));
        }
        let kind = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Kind::Scalar { text: self.string()?, quoted: true },
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => self.word()?,
            _ => return self.error(format!("found {}, expected a value", self.found())),
        };
        Ok(Node { at, kind })
    }

    fn object(&mut self, depth: usize) -> Result<Kind, TextError> {
        self.expect(b'{')?;
        let mut entries: Vec<(Key, Node)> = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.next += 1;
            return Ok(Kind::Map(entries));
        }
        loop {
            self.space();
            let at = self.place();
            let text = self.string()?;
            self.space();
            self.expect(b':')?;
            self.space();
            let value = self.value(depth + 1)?;
            entries.push((Key { text, at }, value));
            self.space();
            match self.peek() {
                Some(b',') => self.next += 1,
                _ => {
                    self.expect(b'}')?;
                    repeated_key(&entries)?;
                    return Ok(Kind::map(entries));
                }
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Kind, TextError> {
        self.expect(b'[')?;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.next += 1;
            return Ok(Kind::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek() {
                Some(b',') => self.next += 1,
                _ => {
                    self.expect(b']')?;
                    return Ok(Kind::list(items));
                }
            }
        }
    }

    fn word(&mut self) -> Result<Kind, TextError> {
        let rest = &self.text[self.next..];
        let length = rest
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || "+-.".contains(letter)))
            .unwrap_or(rest.len());
        let word = &rest[..length];
        // serde_json knows JSON's grammar of numbers.
        if serde_json::from_str::<serde_json::Value>(word).is_err() {
            return self.error(format!("found {word:?}, expected a value"));
        }
        self.next += length;
        Ok(Kind::Scalar { text: word.to_owned(), quoted: false })
    }

    fn string(&mut self) -> Result<String, TextError> {
        if self.peek() != Some(b'"') {
            return self.error(format!("found {}, expected text in quotes", self.found()));
        }
        let bytes = self.text.as_bytes();
        let start = self.next;
        let mut end = start + 1;
        let mut plain = true;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    plain = false;
                    end += 2;
                }
                Some(0..=0x1f) | None => {
                    self.next = end.min(bytes.len());
                    return self.error("text without its closing quote, or with a control character in it");
                }
                Some(_) => end += 1,
            }
        }
        // Both ends are ASCII quotes, so these are whole letters.
        let quoted = &self.text[start..=end];
        let text = if plain {
            quoted[1..quoted.len() - 1].to_owned()
        } else {
            match serde_json::from_str(quoted) {
                Ok(text) => text,
                Err(error) => return self.error(format!("text with a wrong escape: {error}")),
            }
        };
        self.next = end + 1;
        Ok(text)
    }
}
