//! A reader for the lines that programs write: keys in any order, no escapes in strings.

/// What one line says, before names are looked up.
#[derive(Default)]
pub(super) struct Said<'a> {
    pub(super) arch: Option<&'a [u8]>,
    pub(super) nr: Option<u64>,
    pub(super) syscall: Option<&'a [u8]>,
    pub(super) args: Option<[u64; 6]>,
}

/// `0x`, one digit at least, 64 bits at most.
pub(super) fn hexadecimal(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X"))?;
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value << 4 | u64::from(digit))
    })
}

/// The short reader. Every method gives `None` for what it does not take, right or wrong.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Cursor<'a> {
        Cursor { rest }
    }

    pub(super) fn object(mut self) -> Option<Said<'a>> {
        let mut said = Said::default();
        self.byte(b'{')?;
        loop {
            let key = self.string()?;
            self.byte(b':')?;
            // A key that is there already is an error, and those are not said here.
            match key {
                b"arch" if said.arch.is_none() => said.arch = Some(self.string()?),
                b"nr" if said.nr.is_none() => said.nr = Some(self.decimal()?),
                b"syscall" if said.syscall.is_none() => said.syscall = Some(self.string()?),
                b"args" if said.args.is_none() => said.args = Some(self.arguments()?),
                _ => return None,
            }
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        self.spaces();
        self.rest.is_empty().then_some(said)
    }

    fn arguments(&mut self) -> Option<[u64; 6]> {
        let mut args = [0; 6];
        self.byte(b'[')?;
        for (index, place) in args.iter_mut().enumerate() {
            self.spaces();
            match self.rest.first()? {
                b'"' => *place = hexadecimal(self.string()?)?,
                b']' if index == 0 => {
                    self.rest = &self.rest[1..];
                    return Some(args);
                }
                _ => *place = self.decimal()?,
            }
            match self.next()? {
                b',' if index < 5 => {}
                b']' => return Some(args),
                _ => return None,
            }
        }
        None
    }

    fn spaces(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// The next byte that is no space.
    fn next(&mut self) -> Option<u8> {
        self.spaces();
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn byte(&mut self, expected: u8) -> Option<()> {
        (self.next()? == expected).then_some(())
    }

    /// A string of printable ASCII without escapes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.byte(b'"')?;
        let end = self.rest.iter().position(|byte| *byte == b'"')?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = &rest[1..];
        text.iter().all(|byte| (0x20..0x7f).contains(byte) && *byte != b'\\').then_some(text)
    }

    /// A whole number without sign, fraction, exponent or leading zero.
    fn decimal(&mut self) -> Option<u64> {
        self.spaces();
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(length);
        if length == 0 || (digits[0] == b'0' && length > 1) {
            return None;
        }
        self.rest = rest;
        digits
            .iter()
            .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
    }
}
