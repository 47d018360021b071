//! The wall as one SVG.

use std::collections::BTreeSet;
use std::fmt::Write;

use plim_model::text::xml as escape;

use super::paint::{self, Paint};
use super::{Answer, Block, Cell, Wall};

const MARGIN: usize = 16;
const COLUMNS: usize = 8;
const CELL_WIDTH: usize = 152;
const CELL_HEIGHT: usize = 20;
const GAP: usize = 2;
/// The letters that fit into a cell beside its sign.
const LETTERS: usize = 23;
const WIDTH: usize = 2 * MARGIN + COLUMNS * (CELL_WIDTH + GAP) - GAP;

/// Draws the wall: a file of its own, with the style in it, and a `title` for each cell that viewers show at the pointer.
pub fn svg(wall: &Wall) -> String {
    let mut body = String::new();
    let mut y = MARGIN + 20;
    text(&mut body, MARGIN, y, "ink title", &wall.title);
    for remark in &wall.remarks {
        y += 18;
        text(&mut body, MARGIN, y, "ink", remark);
    }
    y += 16;
    let paints = used(wall);
    let is_diff = wall.blocks.iter().flat_map(|block| &block.cells).any(|cell| cell.before.is_some());
    y = legend(&mut body, y, &paints, is_diff);
    for block in &wall.blocks {
        y = draw_block(&mut body, y + 14, block);
    }
    let height = y + MARGIN;
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n<defs>\n{}</defs>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n",
        escape(&wall.title),
        hatches(&paints),
    );
    out
}

/// Rules of their own for dark rooms instead of variables, which not every viewer of SVG knows.
const STYLE: &str = "text{font:11px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}\
.title{font-size:18px;font-weight:bold}.block{font-size:14px;font-weight:bold}.ink{fill:#1b1b1b}.dim{fill:#555}\
.paper{fill:#fff}.cell text{font-size:10px;fill:#000}.cell .light{fill:#fff}.halo{paint-order:stroke;stroke:#fff;\
stroke-width:3px;stroke-linejoin:round}.same rect{opacity:.3}.cell.same text{fill:#333}.edge{fill:none;stroke:#1b1b1b;stroke-width:2.5}\
.mark{fill:#fff;stroke:#000;stroke-width:1}@media(prefers-color-scheme:dark){.ink{fill:#eee}.dim{fill:#aaa}\
.paper{fill:#15171b}.edge{stroke:#fff}\
.cell.same text{fill:#ccc}}";

fn text(out: &mut String, x: usize, y: usize, class: &str, words: &str) {
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>", escape(words));
}

/// What the picture needs: single paints, and pairs of one hatch.
struct Used {
    single: BTreeSet<Paint>,
    pairs: BTreeSet<(Paint, Paint)>,
}

fn used(wall: &Wall) -> Used {
    let mut used = Used { single: BTreeSet::new(), pairs: BTreeSet::new() };
    for cell in wall.blocks.iter().flat_map(|block| &block.cells) {
        for answer in cell.before.iter().chain([&cell.answer]) {
            used.single.extend(answer.actions.iter().map(|action| Paint::of(*action)));
            used.pairs.extend(pair(answer));
        }
    }
    used
}

/// The two paints of a conditional answer: what lets most happen, hatched with what lets least.
fn pair(answer: &Answer) -> Option<(Paint, Paint)> {
    match answer.actions.as_slice() {
        [most, .., least] => Some((Paint::of(*most), Paint::of(*least))),
        _ => None,
    }
}

fn hatches(used: &Used) -> String {
    let mut out = String::new();
    for (base, stripe) in &used.pairs {
        // Two answers of one colour (two errors, say) still show that arguments decide.
        let over = if base == stripe { "#ffffff" } else { stripe.fill() };
        let _ = writeln!(
            out,
            "<pattern id=\"{}\" width=\"10\" height=\"10\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><rect width=\"10\" height=\"10\" fill=\"{}\"/><rect width=\"5\" height=\"10\" \
             fill=\"{over}\"/></pattern>",
            hatch(*base, *stripe),
            base.fill(),
        );
    }
    out
}

fn hatch(base: Paint, stripe: Paint) -> String {
    format!("plim-{}-{}", base.word(), stripe.word())
}

fn fill(answer: &Answer) -> String {
    match (pair(answer), answer.actions.first()) {
        (Some((base, stripe)), _) => format!("url(#{})", hatch(base, stripe)),
        (None, Some(action)) => Paint::of(*action).fill().to_owned(),
        (None, None) => "none".to_owned(),
    }
}

fn legend(out: &mut String, y: usize, used: &Used, is_diff: bool) -> usize {
    let mut entries: Vec<(String, String, &str)> = paint::ALL
        .into_iter()
        .filter(|paint| used.single.contains(paint))
        .map(|paint| (paint.fill().to_owned(), paint.meaning().to_owned(), paint.sign()))
        .collect();
    if let Some((base, stripe)) = used.pairs.first() {
        entries.push((format!("url(#{})", hatch(*base, *stripe)), "arguments decide".to_owned(), "="));
    }
    let mut x = MARGIN;
    let mut y = y;
    let mut next = |width: usize, x: &mut usize| {
        if *x + width > WIDTH - MARGIN {
            (*x, y) = (MARGIN, y + 20);
        }
        let at = (*x, y);
        *x += width;
        at
    };
    for (fill, meaning, sign) in entries {
        let words = if sign.is_empty() { meaning } else { format!("{meaning} ({sign})") };
        let (x, y) = next(40 + 7 * words.chars().count(), &mut x);
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"18\" height=\"12\" fill=\"{fill}\" stroke=\"#888\"/>"
        );
        text(out, x + 23, y + 10, "ink", &words);
    }
    if is_diff {
        for (class, words) in
            [("up", "B lets more happen"), ("down", "B lets less happen"), ("other", "neither")]
        {
            let (x, y) = next(40 + 7 * words.len(), &mut x);
            out.push_str(&mark(class, x + 9, y + 6));
            text(out, x + 23, y + 10, "ink", words);
        }
        let words = "left half A, right half B";
        let (x, y) = next(12 + 7 * words.len(), &mut x);
        text(out, x, y + 10, "dim", words);
    }
    y + 20
}

fn draw_block(out: &mut String, y: usize, block: &Block) -> usize {
    let mut y = y + 14;
    text(out, MARGIN, y, "ink block", &block.title);
    y += 17;
    if !block.cells.is_empty() {
        text(out, MARGIN, y, "dim", &block.summary());
        y += 15;
    }
    for remark in &block.remarks {
        text(out, MARGIN, y, "dim", remark);
        y += 15;
    }
    y -= 6;
    let rows = block.cells.len().div_ceil(COLUMNS);
    for (index, cell) in block.cells.iter().enumerate() {
        let (column, row) = (index / rows, index % rows);
        let x = MARGIN + column * (CELL_WIDTH + GAP);
        draw_cell(out, x, y + row * (CELL_HEIGHT + GAP), cell);
    }
    y + rows * (CELL_HEIGHT + GAP)
}

fn draw_cell(out: &mut String, x: usize, y: usize, cell: &Cell) {
    let changed = cell.changed;
    let class = if cell.before.is_some() && !changed { "cell same" } else { "cell" };
    let words: Vec<String> = cell.words().iter().map(|line| escape(line)).collect();
    let _ = write!(out, "<g class=\"{class}\"><title>{}</title>", words.join("\n"));
    let rect = |x: usize, width: usize, fill: &str| {
        format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{CELL_HEIGHT}\" fill=\"{fill}\"/>")
    };
    match &cell.before {
        Some(before) if changed => {
            out.push_str(&rect(x, CELL_WIDTH / 2, &fill(before)));
            out.push_str(&rect(x + CELL_WIDTH / 2, CELL_WIDTH / 2, &fill(&cell.answer)));
            let _ = write!(
                out,
                "<rect class=\"edge\" x=\"{x}\" y=\"{y}\" width=\"{CELL_WIDTH}\" height=\"{CELL_HEIGHT}\"/>"
            );
        }
        _ => out.push_str(&rect(x, CELL_WIDTH, &fill(&cell.answer))),
    }
    let paint = cell.answer.actions.first().map(|action| Paint::of(*action));
    let conditional = cell.answer.is_conditional();
    let letters = match (changed || conditional, paint.is_some_and(Paint::is_dark)) {
        (true, _) => "halo",
        (false, true) => "light",
        (false, false) => "",
    };
    let name: String = match cell.name.chars().count() {
        n if n > LETTERS => cell.name.chars().take(LETTERS - 1).chain(['\u{2026}']).collect(),
        _ => cell.name.clone(),
    };
    let below = y + 14;
    let _ = write!(out, "<text x=\"{}\" y=\"{below}\" class=\"{letters}\">{}</text>", x + 4, escape(&name));
    if changed {
        out.push_str(&mark(direction(cell), x + CELL_WIDTH - 9, y + CELL_HEIGHT / 2));
    } else {
        let sign = if conditional { "=" } else { paint.map_or("", Paint::sign) };
        if !sign.is_empty() {
            let _ = write!(
                out,
                "<text x=\"{}\" y=\"{below}\" class=\"{letters}\">{sign}</text>",
                x + CELL_WIDTH - 10
            );
        }
    }
    out.push_str("</g>\n");
}

/// Whether the second side lets more or less of a call happen, as far as its actions say: the conditions are not weighed here.
fn direction(cell: &Cell) -> &'static str {
    let reach = |answer: &Answer| -> Vec<u8> {
        let rank = |action: &plim_seccomp::Action| match Paint::of(*action) {
            Paint::Allow | Paint::Log => 2,
            Paint::Trace | Paint::Notify => 1,
            Paint::Enosys | Paint::Errno | Paint::Trap | Paint::Kill => 0,
        };
        answer.actions.iter().map(rank).collect()
    };
    let ends = |ranks: &[u8]| (ranks.iter().max().copied(), ranks.iter().min().copied());
    let Some(before) = &cell.before else { return "other" };
    let (a, b) = (ends(&reach(before)), ends(&reach(&cell.answer)));
    match () {
        () if a == b => "other",
        () if b.0 >= a.0 && b.1 >= a.1 => "up",
        () if b.0 <= a.0 && b.1 <= a.1 => "down",
        () => "other",
    }
}

/// A triangle up or down, or a lozenge, with its middle at (x, y).
fn mark(direction: &str, x: usize, y: usize) -> String {
    let points = match direction {
        "up" => format!("{x},{} {},{} {},{}", y - 5, x + 5, y + 4, x - 5, y + 4),
        "down" => format!("{x},{} {},{} {},{}", y + 5, x + 5, y - 4, x - 5, y - 4),
        _ => format!("{x},{} {},{y} {x},{} {},{y}", y - 5, x + 5, y + 5, x - 5),
    };
    format!("<polygon class=\"mark\" points=\"{points}\"/>")
}
