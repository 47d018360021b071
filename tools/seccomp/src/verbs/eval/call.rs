//! One call out of one line of JSON.
//!
//! A short reader ([`super::short`]) takes the lines that programs write; whatever it does not take goes to serde, which takes all
//! of JSON and says what is wrong with the rest.

use anyhow::{Context, bail, ensure};
use plim_seccomp::arch::X32_SYSCALL_BIT;
use plim_seccomp::interpret::SeccompData;
use plim_seccomp::{Arch, syscalls};
use plim_tools_common::nearest;
use serde::Deserialize;
use serde::de::{Error, Visitor};

use super::short::{Cursor, Said, hexadecimal};

/// Reads calls; remembers the architecture, which seldom changes.
#[derive(Default)]
pub(super) struct Reader {
    last: Option<(String, Abi)>,
}

/// What a word for an architecture means.
#[derive(Clone, Copy)]
struct Abi {
    /// The audit token.
    token: u32,
    /// The architecture, when the token is a known one's.
    arch: Option<Arch>,
}

impl Abi {
    /// A name, or an audit token in hexadecimal, as the witnesses of `subset` have it for unknown architectures.
    fn from_word(word: &str) -> Option<Abi> {
        let token = || u32::try_from(hexadecimal(word.as_bytes())?).ok();
        match Arch::from_name(word) {
            Some(arch) => Some(Abi { token: arch.audit_token(), arch: Some(arch) }),
            None => token().map(|token| Abi { token, arch: Arch::from_audit_token(token, 0) }),
        }
    }

    fn number(self, syscall: &str) -> Option<u32> {
        Some(syscalls::number(self.arch?, syscall)?.0)
    }

    /// Whether the number can be one of this architecture's.
    fn has(self, nr: u32) -> bool {
        self.arch != Some(Arch::X32) || nr & X32_SYSCALL_BIT != 0
    }
}

impl Reader {
    /// The call; `None` for a line of spaces.
    ///
    /// # Errors
    /// JSON pointer or column, what was found, what was expected.
    pub(super) fn read(&mut self, line: &[u8]) -> anyhow::Result<Option<SeccompData>> {
        if let Some(call) = Cursor::new(line).object().and_then(|said| self.quick(&said)) {
            return Ok(Some(call));
        }
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        self.read_slowly(line).map(Some)
    }

    /// The call, when it is right beyond doubt.
    fn quick(&self, said: &Said<'_>) -> Option<SeccompData> {
        let (word, abi) = self.last.as_ref()?;
        if word.as_bytes() != said.arch? {
            return None;
        }
        let nr = match (said.nr, said.syscall) {
            (Some(nr), None) => u32::try_from(nr).ok()?,
            (None, Some(name)) => abi.number(std::str::from_utf8(name).ok()?)?,
            _ => return None,
        };
        let args = said.args.unwrap_or_default();
        abi.has(nr).then_some(SeccompData { nr, arch: abi.token, ip: 0, args })
    }

    fn read_slowly(&mut self, line: &[u8]) -> anyhow::Result<SeccompData> {
        ensure!(
            line.trim_ascii_start().starts_with(b"{"),
            "not a call: expected {{\"arch\":…,\"nr\":…,\"args\":[…]}}"
        );
        let mut reader = serde_json::Deserializer::from_slice(line);
        let written: Written = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let place: String = error.path().iter().map(segment).collect();
            let reason = error.inner().to_string();
            let syntax = matches!(
                error.inner().classify(),
                serde_json::error::Category::Syntax | serde_json::error::Category::Eof
            );
            let cut = match reason.split_once(" at line 1 column ") {
                // The line is told already; where the JSON breaks off, the column helps.
                Some((words, column)) if syntax => format!("not JSON: column {column}: {words}"),
                Some((words, _)) => words.to_owned(),
                None => reason,
            };
            if place.is_empty() || syntax {
                anyhow::anyhow!("{cut}")
            } else {
                anyhow::anyhow!("{place}: {cut}")
            }
        })?;
        reader.end().context("not JSON: more than one value on one line")?;
        let abi = self.abi(&written.arch)?;
        let nr = match (written.nr, &written.syscall) {
            (Some(nr), None) => nr.0,
            (nr, Some(name)) => {
                let number = abi.number(name).with_context(|| {
                    let hint = abi.arch.map(|arch| nearest::hint(name, syscalls::names(arch)));
                    let hint = hint.unwrap_or_default();
                    format!("/syscall: found {name:?}, expected a system call of {}{hint}", written.arch)
                })?;
                if let Some(nr) = nr
                    && nr.0 != number
                {
                    bail!("/nr: found {}, but {name} is {number} on {}", nr.0, written.arch);
                }
                number
            }
            (None, None) => bail!("found neither nr nor syscall, expected one of them"),
        };
        ensure!(
            abi.has(nr),
            "/nr: found {nr}, expected a number of x32, which has bit 30 ({})",
            nr | X32_SYSCALL_BIT
        );
        let mut args = [0; 6];
        ensure!(written.args.len() <= 6, "/args: found {} arguments, expected 6 at most", written.args.len());
        for (place, value) in args.iter_mut().zip(&written.args) {
            *place = value.0;
        }
        Ok(SeccompData { nr, arch: abi.token, ip: 0, args })
    }

    fn abi(&mut self, word: &str) -> anyhow::Result<Abi> {
        let abi = Abi::from_word(word).with_context(|| {
            let hint = nearest::hint(word, Arch::all().map(Arch::name));
            format!("/arch: found {word:?}, expected an architecture{hint}")
        })?;
        self.last = Some((word.to_owned(), abi));
        Ok(abi)
    }
}

/// One step of a JSON pointer.
fn segment(segment: &serde_path_to_error::Segment) -> String {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", plim_model::json::escape(key)),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    }
}

/// A call as JSON writes it; unknown and repeated keys are errors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    arch: String,
    nr: Option<Nr>,
    syscall: Option<String>,
    #[serde(default)]
    args: Vec<Word>,
}

struct Nr(u32);
struct Word(u64);

impl<'de> Deserialize<'de> for Nr {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Nr, D::Error> {
        let number = reader.deserialize_any(Number("a whole number from 0 to 4294967295"))?;
        u32::try_from(number).map(Nr).map_err(|_| {
            D::Error::custom(format!("found {number}, expected a whole number from 0 to 4294967295"))
        })
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Word, D::Error> {
        let expected = "a whole number from 0 to 18446744073709551615, or one in hexadecimal as \"0x1f\"";
        reader.deserialize_any(Number(expected)).map(Word)
    }
}

struct Number(&'static str);

impl Number {
    fn unexpected<E: Error>(&self, found: impl std::fmt::Display) -> E {
        E::custom(format!("found {found}, expected {}", self.0))
    }
}

impl<'de> Visitor<'de> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<u64, E> {
        Err(self.unexpected(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
        Err(self.unexpected(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        hexadecimal(text.as_bytes())
            .ok_or_else(|| self.unexpected(format!("{:?}", text.chars().take(40).collect::<String>())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> anyhow::Result<Option<SeccompData>> {
        Reader::default().read(line.as_bytes())
    }

    /// The second time the short reader takes it.
    fn twice(line: &str) -> SeccompData {
        let mut reader = Reader::default();
        let slow = reader.read(line.as_bytes()).expect(line).expect("a call");
        let fast = reader.read(line.as_bytes()).expect(line).expect("a call");
        assert_eq!(slow, fast, "{line}");
        fast
    }

    #[test]
    fn both_readers_agree() {
        let call = |nr, args| SeccompData { nr, arch: Arch::X86_64.audit_token(), ip: 0, args };
        for (line, expected) in [
            (r#"{"arch":"x86_64","nr":41,"args":[2,3,4,5,6,7]}"#, call(41, [2, 3, 4, 5, 6, 7])),
            (r#" { "args" : [ ] , "nr" : 0 , "arch" : "x86_64" } "#, call(0, [0; 6])),
            (
                r#"{"arch":"x86_64","nr":4294967295,"args":["0xFFFFFFFFFFFFFFFF",18446744073709551615]}"#,
                call(u32::MAX, [u64::MAX, u64::MAX, 0, 0, 0, 0]),
            ),
            (r#"{"arch":"x86_64","syscall":"socket"}"#, call(41, [0; 6])),
            (r#"{"arch":"x86_64","syscall":"socket","nr":41}"#, call(41, [0; 6])),
            (r#"{"arch":"x32","nr":1073741865}"#, call(41 | X32_SYSCALL_BIT, [0; 6])),
            (r#"{"arch":"0xc000003e","syscall":"read"}"#, call(0, [0; 6])),
            ("{\"\\u0061rch\":\"x86_64\",\"nr\":7}\r", call(7, [0; 6])),
        ] {
            assert_eq!(twice(line), expected, "{line}");
        }
        assert!(read("  \t").expect("spaces").is_none());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (line, expected) in [
            ("{", "not JSON: column 1: EOF"),
            ("[]", "not a call: expected {\"arch\""),
            (r#"{"nr":1}"#, "missing field `arch`"),
            (r#"{"arch":"x86_64"}"#, "found neither nr nor syscall"),
            (r#"{"arch":"x86-46","nr":1}"#, "/arch: found \"x86-46\""),
            (r#"{"arch":"x86_46","nr":1}"#, "did you mean \"x86_64\"?"),
            (r#"{"arch":"x86_64","nr":1,"nr":1}"#, "duplicate field `nr`"),
            (r#"{"arch":"x86_64","nr":1,"argz":[]}"#, "unknown field `argz`, expected one of `arch`, `nr`"),
            (r#"{"arch":"x86_64","nr":4294967296}"#, "/nr: found 4294967296, expected a whole number from 0"),
            (r#"{"arch":"x86_64","nr":1.5}"#, "/nr: found 1.5"),
            (r#"{"arch":"x86_64","nr":01}"#, "not JSON: column"),
            (r#"{"arch":"x86_64","nr":1,"args":[1,-2]}"#, "/args/1: found -2, expected"),
            (r#"{"arch":"x86_64","nr":1,"args":["12"]}"#, "/args/0: found \"12\", expected"),
            (r#"{"arch":"x86_64","nr":1,"args":["0x11112222333344445"]}"#, "/args/0: found"),
            (r#"{"arch":"x86_64","nr":1,"args":[1,2,3,4,5,6,7]}"#, "/args: found 7 arguments, expected 6"),
            (
                r#"{"arch":"x86_64","nr":1,"args":[18446744073709551616]}"#,
                "/args/0: found 18446744073709552000",
            ),
            (r#"{"arch":"x86_64","syscall":"sokcet"}"#, "did you mean \"socket\"?"),
            (r#"{"arch":"x86_64","syscall":"socket","nr":42}"#, "/nr: found 42, but socket is 41 on x86_64"),
            (r#"{"arch":"x32","nr":41}"#, "has bit 30 (1073741865)"),
            (r#"{"arch":"x86_64","nr":1} 2"#, "more than one value"),
        ] {
            let error = format!("{:#}", read(line).expect_err(line));
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
