//! Flags that every tool takes.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::output::{Destination, Style};

/// The formats that every tool has; a tool with more brings its own enum to [`Output`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// The model itself, versioned.
    Json,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb.
    Auto,
    /// Always, whatever the environment says.
    Always,
    /// Never.
    Never,
}

/// Where the result goes and how it looks. `F` is the tool's own format enum; the value `table` is the default.
///
/// ```
/// use clap::Parser;
/// use plim_tools_common::args::{Format, Output};
/// #[derive(Parser)]
/// struct Args {
///     #[command(flatten)]
///     output: Output,
/// }
/// let args = Args::parse_from(["tool", "--format", "json", "-q"]);
/// assert_eq!(args.output.format, Format::Json);
/// assert!(args.output.quiet && args.output.output.is_none());
/// ```
#[derive(Clone, Debug, clap::Args)]
pub struct Output<F: ValueEnum + Send + Sync + 'static = Format> {
    /// How the result is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub format: F,
    /// Write the result to FILE, replacing it only when it is whole
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Colour the result
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Say less on stderr
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on stderr
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl<F: ValueEnum + Send + Sync + 'static> Output<F> {
    /// How text for people is drawn at the place where it goes.
    pub fn style(&self) -> Style {
        match self.output {
            Some(_) => Style::plain(self.color == ColorChoice::Always),
            None => Style::of_stdout(self.color),
        }
    }

    /// Opens the place where the result goes.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn destination(&self) -> anyhow::Result<Destination> {
        match &self.output {
            Some(path) => Destination::file(path),
            None => Ok(Destination::stdout()),
        }
    }

    /// Writes the whole result to its place.
    ///
    /// # Errors
    /// What the file system or the reader of the pipe answers.
    pub fn emit(&self, bytes: &[u8]) -> anyhow::Result<()> {
        self.destination()?.emit(bytes)
    }

    /// Writes a JSON value, indented, with a final newline.
    ///
    /// # Errors
    /// As [`Output::emit`].
    pub fn emit_json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        self.destination()?.emit_json(value)
    }
}
