//! From text to commands.

use super::{Command, Expansion, ShellError, Word};

/// Substitutions inside each other.
const DEPTH: usize = 32;

/// Splits a text into commands. Line ends are LF or CR LF.
///
/// ```
/// let commands = plim_docker::shell::commands("docker run \\\r\n  -p \"$PORT:80\" nginx && echo done").unwrap();
/// assert_eq!(commands.len(), 2);
/// assert_eq!(commands[0].words[3].source(), "$PORT:80");
/// assert_eq!(commands[0].words[3].known(), None);
/// ```
///
/// # Errors
/// A quote or substitution without its end, with the line that it begins in.
pub fn commands(text: &str) -> Result<Vec<Command>, ShellError> {
    let letters: Vec<char> = text.replace("\r\n", "\n").trim_end_matches('\r').chars().collect();
    let mut lexer = Lexer { letters: &letters, at: 0, line: 1, ..Lexer::default() };
    lexer.run()?;
    Ok(lexer.commands)
}

#[derive(Default)]
struct Lexer<'t> {
    letters: &'t [char],
    at: usize,
    line: usize,
    word: Option<Word>,
    words: Vec<Word>,
    targets: Vec<Word>,
    commands: Vec<Command>,
    /// The next word is the target of a redirection.
    redirected: bool,
    /// The command has a here-document, or follows a pipe.
    fed: bool,
    /// Here-documents whose text begins after this line.
    documents: Vec<Document>,
    /// The word has a quoted letter.
    quoted: bool,
    /// The next word is the delimiter of a here-document.
    delimiter: Option<bool>,
}

struct Document {
    delimiter: String,
    /// Leading tabs are removed.
    tabs: bool,
    quoted: bool,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.ahead(0)
    }

    fn ahead(&self, by: usize) -> Option<char> {
        self.letters.get(self.at + by).copied()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        self.line += usize::from(letter == '\n');
        Some(letter)
    }

    fn word(&mut self) -> &mut Word {
        let line = self.line;
        if self.word.is_none() {
            self.quoted = false;
        }
        self.word.get_or_insert_with(|| Word { line, ..Word::default() })
    }

    fn run(&mut self) -> Result<(), ShellError> {
        while let Some(letter) = self.peek() {
            match letter {
                ' ' | '\t' => self.blank(),
                '\n' => {
                    self.end_command(false);
                    self.next();
                    self.skip_documents();
                }
                '#' if self.word.is_none() => self.skip_line(),
                '\\' | '^' | '`' if self.continues() => {
                    self.next();
                    while self.next() != Some('\n') {}
                }
                '\\' => {
                    self.next();
                    self.word();
                    self.quoted = true;
                    match self.next() {
                        Some(escaped) => self.word().push(escaped),
                        None => self.word().push('\\'),
                    }
                }
                '\'' => self.single_quoted()?,
                '"' => self.double_quoted()?,
                '$' => self.dollar(false)?,
                '`' => self.back_quoted(false)?,
                '*' | '?' | '[' => self.unknown_letter(),
                '{' => self.brace(),
                '~' if self.word.is_none() => self.tilde(),
                '(' if self.ahead(1) == Some('(') && self.word.is_none() => self.arithmetic()?,
                ';' | '&' | '|' | '(' | ')' => self.operator(),
                '<' | '>' => self.redirection()?,
                _ => {
                    self.next();
                    self.word().push(letter);
                }
            }
        }
        self.end_command(false);
        Ok(())
    }

    /// `((…))`, where `<<` shifts; if it is a subshell in a subshell, its commands are not read.
    fn arithmetic(&mut self) -> Result<(), ShellError> {
        let start = self.at;
        self.next();
        self.balanced('(', ')', 0)?;
        let source = self.letters[start..self.at].iter().collect();
        self.word().push_unknown(source, Expansion::Words);
        Ok(())
    }

    fn blank(&mut self) {
        self.end_word();
        self.next();
    }

    /// Whether the letter here is the last of its line and continues it.
    fn continues(&self) -> bool {
        match (self.peek(), self.ahead(1)) {
            (Some('\\'), Some('\n')) => true,
            // Those of PowerShell and cmd stand after a blank.
            (Some('`' | '^'), Some('\n')) => self.word.is_none(),
            _ => false,
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|letter| letter != '\n') {
            self.next();
        }
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if let Some(tabs) = self.delimiter.take() {
            // A delimiter with a quote in it keeps the shell from substituting.
            let quoted = self.quoted;
            self.documents.push(Document { delimiter: word.source(), tabs, quoted });
        } else if self.redirected {
            self.redirected = false;
            self.targets.push(word);
        } else {
            self.words.push(word);
        }
    }

    fn end_command(&mut self, feeds_next: bool) {
        self.end_word();
        self.redirected = false;
        let fed = std::mem::replace(&mut self.fed, feeds_next);
        if !self.words.is_empty() || !self.targets.is_empty() {
            let (words, targets) = (std::mem::take(&mut self.words), std::mem::take(&mut self.targets));
            self.commands.push(Command { words, targets, fed });
        }
    }

    fn operator(&mut self) {
        let operator = self.next();
        let pipe = operator == Some('|') && self.peek() != Some('|');
        if operator == Some('&') && self.peek() == Some('>') {
            // `&>FILE` is a redirection of the same command.
            self.end_word();
            return;
        }
        self.end_command(pipe);
    }

    fn redirection(&mut self) -> Result<(), ShellError> {
        // The digits of `2>` are no word.
        if self.word.as_ref().is_some_and(|word| {
            word.known().is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        }) {
            self.word = None;
        }
        let first = self.next();
        if self.peek() == Some('(') {
            // Process substitution: a path that is not known, `<(…)`.
            let start = self.at - 1;
            self.next();
            self.balanced('(', ')', 0)?;
            let source: String = self.letters[start..self.at].iter().collect();
            self.word().push_unknown(source, Expansion::Text);
            return Ok(());
        }
        self.end_word();
        if first == Some('<') && self.peek() == Some('<') {
            self.next();
            if self.peek() == Some('<') {
                self.next();
                self.redirected = true;
            } else {
                let tabs = self.peek() == Some('-');
                self.at += usize::from(tabs);
                self.delimiter = Some(tabs);
            }
            self.fed = true;
            return Ok(());
        }
        self.fed |= first == Some('<');
        while matches!(self.peek(), Some('>' | '&' | '|')) {
            self.next();
        }
        self.redirected = true;
        Ok(())
    }

    fn skip_documents(&mut self) {
        for document in std::mem::take(&mut self.documents) {
            let (begin, line) = (self.at, self.line);
            let mut end = self.at;
            while self.peek().is_some() {
                let start = self.at;
                self.skip_line();
                let text: String = self.letters[start..self.at].iter().collect();
                end = self.at;
                self.next();
                if (if document.tabs { text.trim_start_matches('\t') } else { &text }) == document.delimiter {
                    break;
                }
            }
            let body: String = self.letters[begin..end].iter().collect();
            if !document.quoted && body.contains(['$', '`']) {
                let mut word = Word { line, ..Word::default() };
                word.push_unknown(body, Expansion::Text);
                if let Some(command) = self.commands.last_mut() {
                    command.targets.push(word);
                }
            }
        }
    }

    /// A letter by which a word may become several. `[` and `[[` by themselves are commands.
    fn unknown_letter(&mut self) {
        let letter = self.next().unwrap_or_default();
        if letter == '[' && matches!(self.peek(), None | Some('[' | ' ' | '\t' | '\n')) {
            self.word().push(letter);
            return;
        }
        self.word().push_unknown(letter.to_string(), Expansion::Words);
    }

    /// `{a,b}` and `{1..3}` become several words; any other brace is a letter.
    fn brace(&mut self) {
        // What is longer is taken for one that expands.
        const LONGEST: usize = 256;
        let inside = self.letters[self.at..].iter().take(LONGEST);
        let inside: String = inside.take_while(|letter| !letter.is_whitespace()).collect();
        let expands = match inside.find('}') {
            Some(end) => inside[..end].contains(',') || inside[..end].contains(".."),
            None => inside.chars().count() == LONGEST,
        };
        if expands {
            self.unknown_letter();
        } else {
            self.next();
            self.word().push('{');
        }
    }

    fn tilde(&mut self) {
        let start = self.at;
        self.next();
        while self.peek().is_some_and(|letter| letter.is_ascii_alphanumeric() || "_-+".contains(letter)) {
            self.next();
        }
        if matches!(self.peek(), None | Some('/' | ' ' | '\t' | '\n' | ':')) {
            let source = self.letters[start..self.at].iter().collect();
            self.word().push_unknown(source, Expansion::Directory);
        } else {
            let text: String = self.letters[start..self.at].iter().collect();
            self.word().push_text(&text);
        }
    }

    fn single_quoted(&mut self) -> Result<(), ShellError> {
        let line = self.line;
        self.word();
        self.quoted = true;
        self.next();
        loop {
            match self.next() {
                None => return Err(unclosed(line, "'")),
                Some('\'') => return Ok(()),
                Some(letter) => self.word().push(letter),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), ShellError> {
        let line = self.line;
        self.word();
        self.quoted = true;
        self.next();
        loop {
            match self.peek() {
                None => return Err(unclosed(line, "\"")),
                Some('"') => {
                    self.next();
                    return Ok(());
                }
                Some('$') => self.dollar(true)?,
                Some('`') => self.back_quoted(true)?,
                Some('\\') => {
                    self.next();
                    match self.next() {
                        Some('\n') => {}
                        Some(letter @ ('"' | '\\' | '$' | '`')) => self.word().push(letter),
                        Some(letter) => {
                            self.word().push('\\');
                            self.word().push(letter);
                        }
                        None => return Err(unclosed(line, "\"")),
                    }
                }
                Some(letter) => {
                    self.next();
                    self.word().push(letter);
                }
            }
        }
    }

    fn dollar(&mut self, quoted: bool) -> Result<(), ShellError> {
        let start = self.at;
        let line = self.line;
        self.word();
        self.next();
        match self.peek() {
            Some('\'') if !quoted => return self.ansi_quoted(),
            // A translated text: the text itself, where there is no translation.
            Some('"') if !quoted => return self.double_quoted(),
            Some('(') => {
                self.next();
                self.balanced('(', ')', 0).map_err(|_| unclosed(line, "$("))?;
            }
            Some('{') => {
                self.next();
                self.balanced('{', '}', 0).map_err(|_| unclosed(line, "${"))?;
            }
            Some(letter) if letter.is_ascii_alphabetic() || letter == '_' => {
                while self.peek().is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
                    self.next();
                }
            }
            Some(letter) if letter.is_ascii_digit() || "@*#?-$!".contains(letter) => {
                self.next();
            }
            _ => {
                self.word().push('$');
                return Ok(());
            }
        }
        let source: String = self.letters[start..self.at].iter().collect();
        let value = expansion(&source, quoted);
        self.word().push_unknown(source, value);
        Ok(())
    }

    fn back_quoted(&mut self, quoted: bool) -> Result<(), ShellError> {
        let (start, line) = (self.at, self.line);
        self.word();
        self.next();
        loop {
            match self.next() {
                None => return Err(unclosed(line, "`")),
                Some('\\') => {
                    self.next();
                }
                Some('`') => break,
                Some(_) => {}
            }
        }
        let source: String = self.letters[start..self.at].iter().collect();
        let value = expansion(&source, quoted);
        self.word().push_unknown(source, value);
        Ok(())
    }

    /// `$'…'`: C's escapes.
    fn ansi_quoted(&mut self) -> Result<(), ShellError> {
        let line = self.line;
        self.next();
        loop {
            match self.next() {
                None => return Err(unclosed(line, "$'")),
                Some('\'') => return Ok(()),
                Some('\\') => {
                    let letter = match self.next() {
                        None => return Err(unclosed(line, "$'")),
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some('r') => '\r',
                        Some('x') => self.coded(16, 2),
                        Some('u') => self.coded(16, 4),
                        Some('U') => self.coded(16, 8),
                        Some('0'..='7') => {
                            self.at -= 1;
                            self.coded(8, 3)
                        }
                        Some(other) => other,
                    };
                    self.word().push(letter);
                }
                Some(letter) => self.word().push(letter),
            }
        }
    }

    fn coded(&mut self, radix: u32, most: usize) -> char {
        let mut value = 0;
        for _ in 0..most {
            let Some(digit) = self.peek().and_then(|letter| letter.to_digit(radix)) else { break };
            value = value * radix + digit;
            self.next();
        }
        char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// Skips to the closing letter of an opening one that was read, over quotes and substitutions in between.
    fn balanced(&mut self, open: char, close: char, depth: usize) -> Result<(), ShellError> {
        let line = self.line;
        if depth > DEPTH {
            return Err(ShellError {
                line,
                what: format!("more than {DEPTH} substitutions inside each other"),
            });
        }
        loop {
            let Some(letter) = self.next() else { return Err(unclosed(line, &open.to_string())) };
            match letter {
                _ if letter == close => return Ok(()),
                _ if letter == open => self.balanced(open, close, depth + 1)?,
                '\\' => {
                    self.next();
                }
                '\'' => while !matches!(self.next().ok_or_else(|| unclosed(line, "'"))?, '\'') {},
                '"' => loop {
                    match self.next().ok_or_else(|| unclosed(line, "\""))? {
                        '"' => break,
                        '\\' => {
                            self.next();
                        }
                        '$' if matches!(self.peek(), Some('(' | '{')) => self.nested(depth)?,
                        _ => {}
                    }
                },
                '$' if matches!(self.peek(), Some('(' | '{')) => self.nested(depth)?,
                _ => {}
            }
        }
    }

    fn nested(&mut self, depth: usize) -> Result<(), ShellError> {
        match self.next() {
            Some('(') => self.balanced('(', ')', depth + 1),
            _ => self.balanced('{', '}', depth + 1),
        }
    }
}

/// What the value of a substitution is known to be.
fn expansion(source: &str, quoted: bool) -> Expansion {
    let bare: String = source.chars().filter(|letter| !" {}`()\"$".contains(*letter)).collect();
    match bare.as_str() {
        // A path with blanks in it is split like any other value; that it is one is what people mean.
        "PWD" | "pwd" | "HOME" => Expansion::Directory,
        // `"$@"` and `"${list[@]}"` are as many words as there are.
        _ if quoted && !(source.starts_with("${") && source.contains('@') || source == "$@") => {
            Expansion::Text
        }
        _ => Expansion::Words,
    }
}

fn unclosed(line: usize, what: &str) -> ShellError {
    ShellError { line, what: format!("{what} without its end") }
}
