//! The wall as one HTML page: the picture, and below it in words what the picture only hints at.

use std::fmt::Write;

use super::{Block, Cell, Wall, escape, svg};

/// Draws the page: nothing is loaded from anywhere, and there is no script.
pub fn html(wall: &Wall) -> String {
    let title = escape(&wall.title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{}",
        svg(wall)
    );
    for block in &wall.blocks {
        words(&mut out, block);
    }
    out.push_str("</body>\n</html>\n");
    out
}

const STYLE: &str = ":root{color-scheme:light dark}body{font:14px system-ui,sans-serif;margin:0 16px 32px;background:#fff;\
color:#1b1b1b}svg{max-width:100%;height:auto;margin:0 -16px}table{border-collapse:collapse;margin:8px 0 24px}\
th,td{text-align:left;vertical-align:top;padding:3px 16px 3px 0;border-bottom:1px solid #8884}\
td{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;font-size:12px}\
@media(prefers-color-scheme:dark){body{background:#15171b;color:#eee}}";

/// The calls of one architecture that a colour cannot tell whole: those that differ, or those that arguments decide.
fn words(out: &mut String, block: &Block) {
    let is_diff = block.cells.iter().any(|cell| cell.before.is_some());
    let told: Vec<&Cell> = block
        .cells
        .iter()
        .filter(|cell| if is_diff { cell.changed } else { cell.answer.is_conditional() })
        .collect();
    if told.is_empty() {
        return;
    }
    let what = if is_diff { "calls that differ" } else { "calls that arguments decide" };
    let columns = if is_diff { "<th>A</th><th>B</th>" } else { "<th>answer</th>" };
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<h2>{}: {what}</h2>\n<table>\n<tr><th>call</th><th>number</th>{columns}</tr>\n",
        escape(&block.title)
    );
    for cell in told {
        let number = cell.number.map_or(String::new(), |number| number.to_string());
        let _ = write!(out, "<tr><td>{}</td><td>{number}</td>", escape(&cell.name));
        for answer in cell.before.iter().chain([&cell.answer]) {
            let lines: Vec<String> = answer.lines().iter().map(|line| escape(line)).collect();
            let _ = write!(out, "<td>{}</td>", lines.join("<br>"));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}
