//! The wall as one HTML page: the picture, and below it in words what the picture only hints at.

use std::fmt::Write;

use plim_model::text::xml as escape;

use super::{Block, Cell, Wall, Words, svg};

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
    let told: Vec<Words> = wall.blocks.iter().filter_map(of_block).collect();
    for words in if wall.tables.is_empty() { &told } else { &wall.tables } {
        table(&mut out, words);
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
fn of_block(block: &Block) -> Option<Words> {
    let is_diff = block.cells.iter().any(|cell| cell.before.is_some());
    let told = |cell: &&Cell| if is_diff { cell.changed } else { cell.answer.is_conditional() };
    let row = |cell: &Cell| {
        let number = cell.number.map_or(String::new(), |number| number.to_string());
        let answers = cell.before.iter().chain([&cell.answer]).map(|answer| answer.lines().join("\n"));
        [cell.name.clone(), number].into_iter().chain(answers).collect()
    };
    let rows: Vec<Vec<String>> = block.cells.iter().filter(told).map(row).collect();
    let what = if is_diff { "calls that differ" } else { "calls that arguments decide" };
    let columns: &[&str] =
        if is_diff { &["call", "number", "A", "B"] } else { &["call", "number", "answer"] };
    (!rows.is_empty()).then(|| Words {
        heading: format!("{}: {what}", block.title),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows,
    })
}

fn table(out: &mut String, words: &Words) {
    let cell = |tag: &str, text: &str| {
        let lines: Vec<String> = text.lines().map(escape).collect();
        format!("<{tag}>{}</{tag}>", lines.join("<br>"))
    };
    // Writing to a String cannot fail, here and below.
    let _ = write!(out, "<h2>{}</h2>\n<table>\n", escape(&words.heading));
    let headings: String = words.columns.iter().map(|column| cell("th", column)).collect();
    let _ = writeln!(out, "<tr>{headings}</tr>");
    for row in &words.rows {
        let cells: String = row.iter().map(|text| cell("td", text)).collect();
        let _ = writeln!(out, "<tr>{cells}</tr>");
    }
    out.push_str("</table>\n");
}
