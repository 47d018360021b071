//! One GET over a Unix socket: as much of HTTP/1.1 (RFC 9112) as an engine's API needs, bounded in size and time.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Most bytes of one answer.
const LARGEST: usize = 32 << 20;
/// How long the whole exchange may take.
const LIMIT: Duration = Duration::from_secs(15);

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Status code.
    pub(super) status: u16,
    /// The body, transfer coding removed.
    pub(super) body: Vec<u8>,
}

/// Sends the request and reads the answer until the server closes. `path` must be made of characters that need no
/// escape.
pub(super) fn get(socket: &Path, path: &str) -> io::Result<Answer> {
    exchange(socket, path).and_then(|bytes| parse(&bytes))
}

/// The same without reading the answer's bytes.
pub(super) fn exchange(socket: &Path, path: &str) -> io::Result<Vec<u8>> {
    let begun = Instant::now();
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    )?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 65536];
    loop {
        let left = LIMIT.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no whole answer within {LIMIT:?}")));
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if bytes.len() > LARGEST {
            return Err(bad("more bytes than are read"));
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not an HTTP answer: {what}"))
}

/// Reads an answer.
pub(super) fn parse(bytes: &[u8]) -> io::Result<Answer> {
    let end =
        bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(|| bad("no end of header"))?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("header is not text"))?;
    let body = &bytes[end + 4..];
    let mut lines = header.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| bad("no status line"))?;
    let (mut chunked, mut length) = (false, None);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header line without a colon"))?;
        match name.to_ascii_lowercase().as_str() {
            "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
            "content-length" => {
                length = Some(value.trim().parse::<usize>().map_err(|_| bad("a length that is no number"))?);
            }
            _ => {}
        }
    }
    let body = match (chunked, length) {
        (true, _) => dechunk(body)?,
        (false, Some(length)) => body.get(..length).ok_or_else(|| bad("the body was cut off"))?.to_vec(),
        (false, None) => body.to_vec(),
    };
    Ok(Answer { status, body })
}

fn dechunk(mut rest: &[u8]) -> io::Result<Vec<u8>> {
    let cut = || bad("the body was cut off");
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").ok_or_else(cut)?;
        let line = std::str::from_utf8(&rest[..end]).map_err(|_| bad("a chunk length that is no text"))?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length =
            usize::from_str_radix(digits, 16).map_err(|_| bad("a chunk length that is no number"))?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(rest.get(..length).ok_or_else(cut)?);
        rest = rest.get(length..).and_then(|rest| rest.strip_prefix(b"\r\n")).ok_or_else(cut)?;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn reads_plain_and_chunked_bodies_and_refuses_broken_ones() {
        let ok = |text: &str| parse(text.as_bytes()).expect("an answer");
        assert_eq!(ok("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab").body, b"ab");
        assert_eq!(ok("HTTP/1.0 404 Not Found\r\nA: b\r\n\r\nrest").status, 404);
        assert_eq!(
            ok("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
                .body,
            b"abcd"
        );
        for broken in [
            "",
            "hello",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        ] {
            assert!(parse(broken.as_bytes()).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn asks_over_a_unix_socket() {
        let top = tempfile::tempdir().expect("tempdir");
        let path = top.path().join("sock");
        let listener = UnixListener::bind(&path).expect("bind");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut request = [0; 512];
            let count = stream.read(&mut request).expect("read");
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{}").expect("write");
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        assert_eq!(get(&path, "/x?y=1").expect("answer"), Answer { status: 200, body: b"{}".to_vec() });
        assert!(server.join().expect("server").starts_with("GET /x?y=1 HTTP/1.1\r\n"));
        assert!(get(&top.path().join("none"), "/").is_err());
    }

    #[test]
    fn fuzz_http_and_docker() {
        let list =
            r#"[{"Id":"0123abcd","Names":["/web","/web/alias"],"Image":"nginx","State":"running","Pid":7}]"#;
        let chunked = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{list}\r\n0\r\n\r\n",
            list.len()
        );
        let plain = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{list}", list.len());
        let words =
            &["\r\n", "\r\n\r\n", "0\r\n", "ffffffffffffffff", "Content-Length: ", "\"Names\":", "HTTP/1."];
        let target =
            plim_fuzz::Target::new("http, docker").seeds([chunked, plain]).words(words).rounds(4_000);
        plim_fuzz::fuzz(target, |bytes| {
            if let Ok(answer) = parse(bytes) {
                crate::engines::docker::read_list(&answer.body);
            }
        });
    }
}
