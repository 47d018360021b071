//! Lines out of a stream, without copying them.

use std::io::Read;

use anyhow::{Context, ensure};

/// The longest line, in bytes; a call needs some 200.
const LONGEST: usize = 1 << 20;

/// Lines of a stream that may be endless, in bounded memory.
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// What of the buffer is not yet given out.
    from: usize,
    to: usize,
    ended: bool,
    number: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Lines<R> {
        Lines { input, buffer: vec![0; LONGEST], from: 0, to: 0, ended: false, number: 0 }
    }

    /// The next line without its end, and its number from 1; `None` at the end of the stream.
    ///
    /// # Errors
    /// The stream's, and a line of more than [`LONGEST`] bytes.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<(u64, &[u8])>> {
        let mut scanned = self.from;
        loop {
            if let Some(length) = memchr::memchr(b'\n', &self.buffer[scanned..self.to]) {
                let line = self.from..scanned + length;
                self.from = line.end + 1;
                self.number += 1;
                return Ok(Some((self.number, &self.buffer[line])));
            }
            if self.ended {
                let line = self.from..self.to;
                self.from = self.to;
                self.number += 1;
                return Ok((!line.is_empty()).then(|| (self.number, &self.buffer[line])));
            }
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
            scanned = self.to;
            ensure!(self.to < LONGEST, "line {}: longer than {LONGEST} bytes", self.number + 1);
            let read = loop {
                match self.input.read(&mut self.buffer[self.to..]) {
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    other => break other.context("read")?,
                }
            };
            self.to += read;
            self.ended = read == 0;
        }
    }

    /// Whether the next line has to be waited for.
    pub(super) fn nothing_left_to_scan(&self) -> bool {
        self.from == self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(n);
            buffer[..n].copy_from_slice(now);
            self.0 = later;
            Ok(n)
        }
    }

    #[test]
    fn lines_whatever_the_pieces() {
        for step in [1, 2, 3, 100] {
            let mut lines = Lines::new(Slow(b"one\n\nthree\nfour", step));
            let mut found = Vec::new();
            while let Some((number, line)) = lines.next().expect("readable") {
                found.push((number, String::from_utf8(line.to_vec()).expect("text")));
            }
            let text = |n, s: &str| (n, s.to_owned());
            assert_eq!(found, [text(1, "one"), text(2, ""), text(3, "three"), text(4, "four")]);
        }
    }

    #[test]
    fn an_endless_line_ends_in_an_error() {
        let mut lines = Lines::new(std::io::repeat(b'x'));
        let error = lines.next().expect_err("refused").to_string();
        assert_eq!(error, "line 1: longer than 1048576 bytes");
    }
}
