//! `/proc/PID/limits` (proc_pid_limits(5)).

use super::{ParseError, number, numbered};
use crate::rlimit::{Limit, Rlimit, Rlimits};

/// The kernel's words for the limits and the names of getrlimit(2) (fs/proc/base.c, `lnames`).
const NAMES: [(&str, &str); 16] = [
    ("Max cpu time", "RLIMIT_CPU"),
    ("Max file size", "RLIMIT_FSIZE"),
    ("Max data size", "RLIMIT_DATA"),
    ("Max stack size", "RLIMIT_STACK"),
    ("Max core file size", "RLIMIT_CORE"),
    ("Max resident set", "RLIMIT_RSS"),
    ("Max processes", "RLIMIT_NPROC"),
    ("Max open files", "RLIMIT_NOFILE"),
    ("Max locked memory", "RLIMIT_MEMLOCK"),
    ("Max address space", "RLIMIT_AS"),
    ("Max file locks", "RLIMIT_LOCKS"),
    ("Max pending signals", "RLIMIT_SIGPENDING"),
    ("Max msgqueue size", "RLIMIT_MSGQUEUE"),
    ("Max nice priority", "RLIMIT_NICE"),
    ("Max realtime priority", "RLIMIT_RTPRIO"),
    ("Max realtime timeout", "RLIMIT_RTTIME"),
];

/// Width of the first column: the kernel prints `%-25s %-20s %-20s %-10s`.
const NAME_WIDTH: usize = 25;

/// Reads the whole table. A limit that this version has no `RLIMIT_` name for is kept under the kernel's own words.
///
/// # Errors
/// A missing heading, a line without two limits, a value that is neither a number nor `unlimited`, a limit told
/// twice, or a text cut before the last limit.
pub fn parse(text: &str) -> Result<Rlimits, ParseError> {
    let mut limits = Rlimits::new();
    let mut lines = numbered(text);
    match lines.next() {
        Some((_, heading)) if heading.starts_with("Limit ") => {}
        Some((line, other)) => {
            return Err(ParseError::new(line, other, "the heading `Limit  Soft Limit  Hard Limit`"));
        }
        None => return Err(ParseError::missing(1, "the heading `Limit  Soft Limit  Hard Limit`")),
    }
    let mut last_line = 1;
    for (line, content) in lines {
        last_line = line;
        const SHAPE: &str = "a limit's name in 25 columns, then the soft and the hard limit";
        let (name, values) =
            content.split_at_checked(NAME_WIDTH).ok_or_else(|| ParseError::new(line, content, SHAPE))?;
        let name = name.trim_end();
        let mut words = values.split_ascii_whitespace();
        let (Some(soft), Some(hard)) = (words.next(), words.next()) else {
            return Err(ParseError::new(line, content, SHAPE));
        };
        let key = NAMES.iter().find(|(kernel, _)| *kernel == name).map_or(name, |(_, rlimit)| rlimit);
        let value = Rlimit { soft: value(line, soft)?, hard: value(line, hard)? };
        if limits.insert(key.to_owned(), value).is_some() {
            return Err(ParseError::new(line, name, "each limit once"));
        }
    }
    if limits.len() < NAMES.len() {
        return Err(ParseError::missing(last_line + 1, "sixteen limits or more"));
    }
    Ok(limits)
}

fn value(line: usize, word: &str) -> Result<Limit, ParseError> {
    match word {
        "unlimited" => Ok(Limit::Max),
        _ => number(line, word, "a number or `unlimited`").map(Limit::Of),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REAL: &str = "\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max file size             unlimited            unlimited            bytes     
Max data size             unlimited            unlimited            bytes     
Max stack size            8388608              unlimited            bytes     
Max core file size        0                    unlimited            bytes     
Max resident set          unlimited            unlimited            bytes     
Max processes             96365                96365                processes 
Max open files            1024                 1048576              files     
Max locked memory         8388608              8388608              bytes     
Max address space         unlimited            unlimited            bytes     
Max file locks            unlimited            unlimited            locks     
Max pending signals       96365                96365                signals   
Max msgqueue size         819200               819200               bytes     
Max nice priority         0                    0                    
Max realtime priority     0                    0                    
Max realtime timeout      unlimited            unlimited            us        
";

    #[test]
    fn reads_the_kernel_table() {
        let limits = parse(REAL).expect("well formed");
        assert_eq!(limits.len(), 16);
        assert_eq!(limits["RLIMIT_NOFILE"], Rlimit { soft: Limit::Of(1024), hard: Limit::Of(1_048_576) });
        assert_eq!(limits["RLIMIT_CORE"], Rlimit { soft: Limit::Of(0), hard: Limit::Max });
        assert_eq!(limits["RLIMIT_NICE"], Rlimit { soft: Limit::Of(0), hard: Limit::Of(0) });
    }

    #[test]
    fn a_limit_of_a_newer_kernel_is_kept() {
        let text =
            format!("{REAL}Max widgets               5                    unlimited            widgets   \n");
        assert_eq!(parse(&text).expect("well formed")["Max widgets"].soft, Limit::Of(5));
    }

    #[test]
    fn bad_input_is_an_error() {
        let doubled =
            format!("{REAL}Max open files            1                    1                    files     \n");
        let cases = [
            (String::new(), "line 1: found nothing"),
            ("Max cpu time".to_owned(), "line 1: found \"Max cpu time\", expected the heading"),
            (REAL.replace("1048576", "lots"), "line 9: found \"lots\", expected a number or `unlimited`"),
            (REAL.replace("1024 ", "-1 "), "line 9: found \"-1\", expected a number"),
            (doubled, "line 18: found \"Max open files\", expected each limit once"),
            (REAL.lines().take(9).map(|l| format!("{l}\n")).collect(), "line 10: found nothing"),
        ];
        for (text, expected) in cases {
            let error = parse(&text).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_cut_before_the_last_limit_is_an_error() {
        let end = REAL.rfind("Max realtime timeout").expect("is there");
        for cut in 0..end {
            assert!(parse(&REAL[..cut]).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(rows in proptest::collection::vec("\\PC{0,60}", 0..20)) {
            let _ = parse(&format!("Limit x\n{}", rows.join("\n")));
        }
    }
}
