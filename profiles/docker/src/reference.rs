//! Image references (github.com/distribution/reference, `reference.go` and `normalize.go`).

use crate::shell::Word;

/// The longest name of a repository, with its registry.
const NAME_MAX: usize = 255;
/// The longest tag.
const TAG_MAX: usize = 128;

/// Checks the word in an image's place, as far as it is known. Podman's and nerdctl's transports (`oci-archive:FILE`) pass.
///
/// # Errors
/// The rule that it breaks.
pub fn check(image: &Word) -> Result<(), &'static str> {
    let Some(text) = image.known() else { return Ok(()) };
    if TRANSPORTS.iter().any(|transport| text.starts_with(transport)) {
        return Ok(());
    }
    reference(text)
}

const TRANSPORTS: [&str; 9] = [
    "containers-storage:",
    "dir:",
    "docker-archive:",
    "docker-daemon:",
    "docker://",
    "ipfs://",
    "ipns://",
    "oci-archive:",
    "oci:",
];

fn reference(text: &str) -> Result<(), &'static str> {
    const INVALID: &str = "invalid reference format";
    if is_id(text) {
        return Ok(());
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon behind the last slash begins a tag, one before it a port.
    let after = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[after..].split_once(':') {
        Some((last, tag)) => (&rest[..after + last.len()], Some(tag)),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) || digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(INVALID);
    }
    let (domain, path) = match name.split_once('/') {
        Some((first, path))
            if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first =>
        {
            (Some(first), path)
        }
        _ => (None, name),
    };
    if domain.is_some_and(|domain| !is_domain(domain)) {
        return Err(INVALID);
    }
    if path.to_lowercase() != path && path.split('/').all(|part| is_path_part(&part.to_lowercase())) {
        return Err("invalid reference format: repository name must be lowercase");
    }
    if !path.split('/').all(is_path_part) {
        return Err(INVALID);
    }
    if name.len() > NAME_MAX {
        return Err("invalid reference format: the name has more than 255 characters");
    }
    Ok(())
}

/// `sha256:HEX`, or an image's id in full.
fn is_id(text: &str) -> bool {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let component = |part: &str| {
        part.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    algorithm.split(['+', '.', '-', '_']).all(component)
        && hex.len() >= 32
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => {
            !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
        }
        None => host.split('.').all(part),
    };
    host && port
}

/// `[a-z0-9]+` with `.`, `_`, `__` or dashes between.
fn is_path_part(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    let mut separator = 0;
    let bytes = text.as_bytes();
    for (index, byte) in bytes.iter().enumerate() {
        if alphanumeric(*byte) {
            let between = &bytes[index - separator..index];
            if !(between.iter().all(|byte| *byte == b'-') || matches!(between, b"." | b"_" | b"__")) {
                return false;
            }
            separator = 0;
        } else {
            separator += 1;
        }
    }
    separator == 0 && bytes.first().is_some_and(|byte| alphanumeric(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_docker_s() {
        let hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let digest = format!("nginx@sha256:{hex}");
        for good in [
            "nginx",
            "nginx:1.27",
            "library/nginx",
            "ghcr.io/a/b-c__d.e:V1_2-x",
            "localhost/x",
            "localhost:5000/x:y",
            "Foo/bar",
            "[::1]:5000/x",
            "a--b",
            hex,
            "docker://Foo",
            "10.0.0.1:80/a",
            &digest,
        ] {
            assert_eq!(check(&Word::of(good, 1)), Ok(()), "{good}");
        }
        for bad in [
            "",
            " ",
            "NGINX",
            "NGINX:latest",
            "nginx:",
            "nginx:-x",
            "a//b",
            "a/",
            "/a",
            "-a",
            "a..b",
            "a___b",
            "a-",
            "$X",
            "nginx nginx",
            "nginx@sha256:12",
            "x@",
            "foo.-bar.com/x",
            "ghcr.io/A/b",
            "`",
            "^",
            "#",
        ] {
            assert!(check(&Word::of(bad, 1)).is_err(), "{bad}");
        }
    }
}
