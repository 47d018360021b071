//! `/proc/PID/stat` (proc_pid_stat(5)).

/// The fields after the command name, which may itself hold spaces and parentheses: the last `)` ends it.
fn after_comm(text: &str) -> Option<impl Iterator<Item = &str>> {
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace())
}

/// Field 22: when the process started, in clock ticks since boot. Together with the pid it names a process for good;
/// `None` when the text is cut or is not a stat line.
///
/// ```
/// let text = "7 (a) b) R 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 120838 3133440";
/// assert_eq!(plim_model::parse::stat::start_time(text), Some(120838));
/// ```
pub fn start_time(text: &str) -> Option<u64> {
    after_comm(text)?.nth(22 - 3)?.parse().ok()
}

/// Field 3: the state (`R`, `S`, `D`, `T`, `t`, `Z`, `X`, …).
pub fn state(text: &str) -> Option<char> {
    let word = after_comm(text)?.next()?;
    let mut letters = word.chars();
    letters.next().filter(|_| letters.next().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_past_any_command_name() {
        let rest = "R 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 120838 3133440 412";
        for comm in
            ["cat", "a b", ")", "))", "(", ") R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 9", "\n)"]
        {
            let text = format!("7 ({comm}) {rest}\n");
            assert_eq!(start_time(&text), Some(120_838), "{comm:?}");
            assert_eq!(state(&text), Some('R'), "{comm:?}");
        }
    }

    #[test]
    fn cut_or_foreign_text_is_none() {
        for text in [
            "",
            "7",
            "7 (cat",
            "7 (cat)",
            "7 (cat) R 1",
            "7 (cat) R 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 -5",
        ] {
            assert_eq!(start_time(text), None, "{text:?}");
        }
        assert_eq!(state("7 (cat) RS 1"), None);
        assert_eq!(state("7 (cat)"), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            let _ = (start_time(&text), state(&text));
        }
    }
}
