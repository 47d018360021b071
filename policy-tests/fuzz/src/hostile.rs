//! One alphabet for every format: text that some reader takes for more than text.

/// Names that a container, a file or an image may have.
pub const HOSTILE: &[&str] = &[
    "\u{1b}[2J\u{1b}[31mred\u{1b}]0;title\u{7}",
    "line\n::error::injected",
    "line\r\n::add-mask::x",
    "::error file=x,line=1::injected",
    "  ::warning::injected",
    "##[error]injected",
    "a ##vso[task.complete result=Succeeded]",
    "%0A::error::x%25%0D",
    "${{ secrets.TOKEN }}",
    "]]><script>alert(1)</script><![CDATA[",
    "\"'`&<>\\",
    "\" onmouseover=\"alert(1)",
    "</testcase></testsuite>",
    "-->&#10;&lt;",
    "| a | b |\n| --- | --- |",
    "`code` *bold* _under_ ~~no~~ ![i](x) [l](javascript:x) #1 @team $x$",
    "https://host.invalid/x www.host.invalid",
    "\\u{1b}\\n\\\\",
    "\u{202e}gnp.exe\u{202c}\u{2066}x\u{2069}",
    "zero\u{200b}width\u{feff}\u{2060}",
    "sep\u{2028}one\u{2029}two\u{85}three",
    "{\"a\": [1, null]}",
    "- yaml: &a\n  *a",
    "'; rm -rf /; '$(id)`id`",
    "\u{fffd}\u{fffe}\u{ffff}\u{10ffff}",
    "tab\there\u{b}\u{c}",
    " leading and trailing ",
    "",
];

/// C0, DEL, C1, bidirectional marks, separators, joiners, tags and what XML cannot hold.
pub fn hostile_letters() -> impl Iterator<Item = char> {
    let ranges = [
        '\0'..='\u{1f}',
        '\u{7f}'..='\u{9f}',
        '\u{ad}'..='\u{ad}',
        '\u{61c}'..='\u{61c}',
        '\u{200b}'..='\u{200f}',
        '\u{2028}'..='\u{202e}',
        '\u{2060}'..='\u{206f}',
        '\u{feff}'..='\u{feff}',
        '\u{fff9}'..='\u{fffb}',
        '\u{fffe}'..='\u{ffff}',
        '\u{e0000}'..='\u{e007f}',
    ];
    ranges.into_iter().flatten()
}
