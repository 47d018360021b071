//! What names a target without giving it anything: ids in paths.

use crate::snapshot::TargetInfo;

/// Shortest run of hexadecimal digits that is taken for an id: a UUID without dashes; engines use 64 digits.
const SHORTEST_ID: usize = 32;

/// `text` with the target's own id and every long run of hexadecimal digits (volumes, layers, other containers'
/// directories) replaced by `ID`.
pub(super) fn without_ids(text: &str, target: &TargetInfo) -> String {
    let text = if target.id.len() >= 8 { text.replace(&target.id, "ID") } else { text.to_owned() };
    let mut result = String::with_capacity(text.len());
    let mut run = String::new();
    for letter in text.chars().chain(std::iter::once('\0')) {
        if letter.is_ascii_hexdigit() {
            run.push(letter);
            continue;
        }
        result.push_str(if run.len() >= SHORTEST_ID { "ID" } else { &run });
        run.clear();
        if letter != '\0' {
            result.push(letter);
        }
    }
    result
}
