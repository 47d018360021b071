//! Tables for people: borders and folding on a terminal, plain aligned columns elsewhere.

use comfy_table::{Cell as ComfyCell, Color, ContentArrangement, presets};

use crate::output::{Style, Tone};

/// One cell: text, escaped for printing, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// Untrusted text: everything that could move the cursor is escaped, line breaks too.
    pub fn new(text: impl AsRef<str>) -> Cell {
        Cell { text: crate::escape(text.as_ref()), tone: Tone::Plain }
    }

    /// Several lines of untrusted text.
    pub fn lines<I: IntoIterator<Item = S>, S: AsRef<str>>(lines: I) -> Cell {
        let lines: Vec<String> = lines.into_iter().map(|line| crate::escape(line.as_ref())).collect();
        Cell { text: lines.join("\n"), tone: Tone::Plain }
    }

    /// The same cell in a tone.
    #[must_use]
    pub fn tone(mut self, tone: Tone) -> Cell {
        self.tone = tone;
        self
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::new(text)
    }
}

/// A table under construction.
///
/// ```
/// use plim_tools_common::output::Style;
/// use plim_tools_common::table::Table;
/// let mut table = Table::new(Style::plain(false), ["AREA", "CHANGE"]);
/// table.row(["capabilities", "CAP_NET_RAW"]);
/// assert_eq!(table.render(), "AREA          CHANGE\ncapabilities  CAP_NET_RAW\n");
/// ```
#[derive(Debug)]
pub struct Table {
    table: comfy_table::Table,
    style: Style,
}

impl Table {
    /// A table with these headings.
    pub fn new<const N: usize>(style: Style, headings: [&str; N]) -> Table {
        Table::with_columns(style, &headings)
    }

    /// The same, with as many columns as there turn out to be.
    pub fn with_columns(style: Style, headings: &[&str]) -> Table {
        let mut table = comfy_table::Table::new();
        match style.width {
            Some(width) => {
                table
                    .load_style(presets::UTF8_FULL_CONDENSED)
                    .set_content_arrangement(ContentArrangement::Dynamic)
                    .set_width(width);
            }
            None => {
                table
                    .force_no_tty()
                    .load_style(presets::NOTHING)
                    .set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if style.color {
            table.enforce_styling();
        }
        table.set_header(headings.iter().map(|heading| cell(Cell::new(heading).tone(Tone::Strong), style)));
        if style.width.is_none() {
            for column in table.column_iter_mut() {
                column.set_padding((0, 2));
            }
        }
        Table { table, style }
    }

    /// Adds a row.
    pub fn row<const N: usize, C: Into<Cell>>(&mut self, cells: [C; N]) -> &mut Table {
        self.table.add_row(cells.map(|content| cell(content.into(), self.style)));
        self
    }

    /// Adds a row to a table of [`Table::with_columns`].
    pub fn cells<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) -> &mut Table {
        let style = self.style;
        self.table.add_row(cells.into_iter().map(|content| cell(content.into(), style)));
        self
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The text, each line ended, without spaces at line ends.
    pub fn render(&self) -> String {
        self.table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

fn cell(cell: Cell, style: Style) -> ComfyCell {
    let drawn = ComfyCell::new_owned(cell.text);
    if !style.color {
        return drawn;
    }
    match cell.tone {
        Tone::Plain => drawn,
        Tone::Good => drawn.fg(Color::DarkGreen),
        Tone::Bad => drawn.fg(Color::DarkRed),
        Tone::Warn => drawn.fg(Color::DarkYellow),
        Tone::Dim => drawn.add_attribute(comfy_table::Attribute::Dim),
        Tone::Strong => drawn.add_attribute(comfy_table::Attribute::Bold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_has_no_borders_no_colour_and_does_not_fold() {
        let long = "x".repeat(300);
        let mut table = Table::new(Style::plain(false), ["A", "B"]);
        table.row([Cell::new("1").tone(Tone::Bad), Cell::new(&long)]);
        table.row(["evil\x1b[2J\nname", ""]);
        let text = table.render();
        assert_eq!(
            text,
            format!("A                    B\n1                    {long}\nevil\\u{{1b}}[2J\\nname\n")
        );
    }

    #[test]
    fn a_terminal_gets_borders_within_its_width() {
        let mut table = Table::new(Style { color: false, width: Some(40) }, ["A", "B"]);
        table.row(["one", &"word ".repeat(30)]);
        let text = table.render();
        assert!(text.contains('│') && text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn colour_when_asked_even_without_a_terminal() {
        let mut table = Table::new(Style::plain(true), ["A"]);
        table.row([Cell::new("x").tone(Tone::Bad)]);
        assert!(table.render().contains("\x1b["), "{:?}", table.render());
    }
}
