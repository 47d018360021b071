//! Denials for people and for programs.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use anyhow::Result;
use plim_tools_common::escape;
use plim_tools_common::output::{self, Style, Tone, json_text};
use plim_tools_common::table::Table;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cause::Kind;
use crate::clock::Clock;
use crate::denial::Denial;
use crate::missed::Missed;
use crate::room::Room;
use crate::watch::Told;

/// Version of the documents of `--format json`. A line of `jsonl` is one element of `denials`; the last one is `{"missed": …}`
/// where something was not seen.
pub const FORMAT: &str = "1.1";

/// Bytes of the denials that one document holds; the rest is counted as `left_out`.
const MOST_KEPT: u64 = 64 << 20;
/// Groups that are told apart by strings and names of a container's own making.
const MOST_GROUPS: u64 = 10_000;
/// Ids whose group is kept; then all of them are forgotten.
const MOST_IDS: usize = 100_000;

/// How denials are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: a line for each as it happens
    #[default]
    Table,
    /// One document at the end
    Json,
    /// A JSON object a line, as it happens
    Jsonl,
}

/// Which denials are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// By cause; empty for every one.
    pub causes: Vec<Kind>,
    /// By the call's name; empty for every one.
    pub syscalls: Vec<String>,
}

impl Wanted {
    fn holds(&self, denial: &Denial) -> bool {
        (self.causes.is_empty() || self.causes.contains(&denial.cause.kind))
            && (self.syscalls.is_empty()
                || denial.syscall.as_ref().is_some_and(|name| self.syscalls.contains(name)))
    }
}

/// How a report looks.
#[derive(Clone, Debug)]
pub struct Look {
    /// As a table, a document or lines.
    pub format: Format,
    /// Equal denials are told once, at the end, with their number.
    pub summary: bool,
    /// With the time of each.
    pub times: bool,
    /// Colour, and the terminal's width.
    pub style: Style,
}

/// Equal denials, counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// How often.
    pub count: u64,
    /// When first and last, in nanoseconds since boot; only with `--times`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_boot_ns: Option<u64>,
    /// The last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_boot_ns: Option<u64>,
    /// The first of them.
    pub denial: Denial,
    /// The same for people, who are told them always.
    #[serde(skip)]
    span: (u64, u64),
}

/// Where denials go.
pub struct Report<W: Write> {
    out: W,
    look: Look,
    wanted: Wanted,
    clock: Clock,
    count: u64,
    /// Denials of a document as JSON, a line each, and the room for them.
    kept: Vec<u8>,
    room: Room,
    /// Denials beyond it, by target.
    left_out: BTreeMap<u32, u64>,
    groups: Vec<Group>,
    groups_apart: Room,
    by_key: BTreeMap<[String; 6], usize>,
    /// The group of what was told under an id; `None` is not wanted.
    by_id: HashMap<u64, Option<usize>>,
}

impl<W: Write> std::fmt::Debug for Report<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report").field("look", &self.look).field("count", &self.count).finish_non_exhaustive()
    }
}

impl<W: Write> Report<W> {
    /// A report on `out`.
    pub fn new(out: W, look: Look, wanted: Wanted) -> Report<W> {
        Report {
            out,
            look,
            wanted,
            clock: Clock::now(),
            count: 0,
            kept: Vec::new(),
            room: Room::new(MOST_KEPT),
            left_out: BTreeMap::new(),
            groups: Vec::new(),
            groups_apart: Room::new(MOST_GROUPS),
            by_key: BTreeMap::new(),
            by_id: HashMap::new(),
        }
    }

    /// How many were told.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes one denial.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn tell(&mut self, told: Told<'_>) -> Result<()> {
        if self.look.summary {
            self.sum(told);
            return Ok(());
        }
        if !self.wanted.holds(told.denial) {
            return Ok(());
        }
        self.count += 1;
        let times = self.look.times;
        match self.look.format {
            Format::Json => self.keep(told)?,
            Format::Jsonl => {
                json_line(&mut self.out, &told.to_denial(times))?;
            }
            Format::Table => {
                let time = times.then(|| self.clock.wall(told.boot_ns));
                writeln!(self.out, "{}", line(&told.to_denial(false), time.as_deref(), self.look.style))?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, told: Told<'_>) -> Result<()> {
        let before = self.kept.len();
        if before > 0 {
            self.kept.extend(b",\n");
        }
        self.kept.extend(output::json_line(&told.to_denial(self.look.times))?.bytes());
        let bytes = u64::try_from(self.kept.len() - before)?;
        if !self.room.take(told.slot, bytes) {
            self.kept.truncate(before);
            *self.left_out.entry(told.slot).or_default() += 1;
        }
        Ok(())
    }

    fn sum(&mut self, told: Told<'_>) {
        if self.by_id.len() > MOST_IDS {
            self.by_id.clear();
        }
        let index = match self.by_id.get(&told.id) {
            Some(known) => *known,
            None => {
                let index = self.wanted.holds(told.denial).then(|| self.group(&told));
                self.by_id.insert(told.id, index);
                index
            }
        };
        let Some(group) = index.and_then(|index| self.groups.get_mut(index)) else { return };
        self.count += 1;
        group.count += 1;
        group.last_boot_ns = self.look.times.then_some(told.boot_ns);
        group.span.1 = told.boot_ns;
    }

    /// The group of a denial, new or not.
    fn group(&mut self, told: &Told<'_>) -> usize {
        let denial = told.denial;
        let cause = &denial.cause;
        // What a container can make up without end tells groups apart only while there are few of its.
        let key = |apart: bool| {
            [
                format!("{}:{}", denial.engine, denial.container),
                cause.kind.as_str().to_owned(),
                denial
                    .syscall
                    .clone()
                    .unwrap_or_else(|| if apart { denial.number.to_string() } else { String::new() }),
                denial.errno.clone().unwrap_or_default(),
                if apart { words(denial) } else { String::new() },
                format!("{:?} {:?} {}", cause.capability, cause.rule, if apart { &denial.comm } else { "" }),
            ]
        };
        let mut key_apart = key(true);
        if !self.by_key.contains_key(&key_apart) && !self.groups_apart.take(told.slot, 1) {
            key_apart = key(false);
        }
        let key = key_apart;
        let groups = &mut self.groups;
        let boot_ns = self.look.times.then_some(told.boot_ns);
        *self.by_key.entry(key).or_insert_with(|| {
            let denial = told.to_denial(false);
            let span = (told.boot_ns, told.boot_ns);
            groups.push(Group { count: 0, first_boot_ns: boot_ns, last_boot_ns: boot_ns, denial, span });
            groups.len() - 1
        })
    }

    /// Writes out what was told so far.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }

    /// Draws the summary as it stands over what the terminal shows: `lines` high, with what was missed.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn redraw(&mut self, lines: usize, missed: &Missed) -> Result<()> {
        /// Cursor to the top left, and the rest of the screen cleared.
        const HOME: &str = "\x1b[H\x1b[J";
        let mut groups: Vec<&Group> = self.groups.iter().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        let head = format!(
            "{} refused calls, {} kinds, {} events lost{}; {} s",
            self.count,
            groups.len(),
            missed.lost(),
            match missed.ring_operations() {
                0 => String::new(),
                count => format!(", {count} operations of io_uring not traced"),
            },
            self.clock.elapsed_s()
        );
        // A container may make up thousands of kinds, of which the screen shows the most frequent.
        groups.truncate(lines);
        let table = self.table(&groups);
        let text: Vec<&str> = std::iter::once(head.as_str()).chain(table.lines()).collect();
        let shown = text.get(..lines.saturating_sub(1).min(text.len())).unwrap_or_default();
        writeln!(self.out, "{HOME}{}", shown.join("\n"))?;
        Ok(self.out.flush()?)
    }

    fn table(&self, groups: &[&Group]) -> String {
        let mut table = Table::new(
            self.look.style,
            ["COUNT", "FIRST", "LAST", "CONTAINER", "COMMAND", "CALL", "ERROR", "WHY", "REMEDY"],
        );
        let time = |boot_ns: u64| match self.look.times {
            true => self.clock.wall(boot_ns),
            false => self.clock.since(boot_ns),
        };
        for group in groups {
            let denial = &group.denial;
            table.row([
                group.count.to_string(),
                time(group.span.0),
                time(group.span.1),
                denial.container.clone(),
                denial.comm.clone(),
                denial.call(),
                error_of(denial).to_owned(),
                why(denial),
                remedy_of(denial).unwrap_or_default(),
            ]);
        }
        table.render()
    }

    /// Writes what is told at the end. Gives the writer back, and what was missed with what this report had no room for.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self, mut missed: Missed) -> Result<(W, Missed)> {
        for (slot, count) in &self.left_out {
            if let Some(target) = missed.targets.get_mut(usize::try_from(*slot)?) {
                target.left_out += count;
            }
        }
        // Of equal counts the first told comes first.
        let mut groups = std::mem::take(&mut self.groups);
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        let document = missed.document();
        match (self.look.format, self.look.summary) {
            (Format::Json, true) => {
                let document = json!({"format": FORMAT, "groups": groups, "missed": document});
                self.out.write_all(json_text(&document).map_err(std::io::Error::from)?.as_bytes())?;
            }
            (Format::Json, false) => {
                writeln!(self.out, "{{\"format\": \"{FORMAT}\", \"denials\": [")?;
                self.out.write_all(&self.kept)?;
                let missed = output::json_line(&document).map_err(std::io::Error::from)?;
                writeln!(self.out, "\n], \"missed\": {missed}}}")?;
            }
            (Format::Jsonl, summary) => {
                for group in groups.iter().filter(|_| summary) {
                    json_line(&mut self.out, group)?;
                }
                if !missed.words().is_empty() {
                    json_line(&mut self.out, &json!({"missed": document}))?;
                }
            }
            (Format::Table, summary) => {
                if summary && !groups.is_empty() {
                    let table = self.table(&groups.iter().collect::<Vec<_>>());
                    self.out.write_all(table.as_bytes())?;
                }
                for target in missed.unseen().filter(|target| target.ring_operations > 0) {
                    let name = plim_tools_common::escape(&target.container);
                    writeln!(
                        self.out,
                        "{name}: io_uring: {} operations are not traced",
                        target.ring_operations
                    )?;
                }
            }
        }
        self.out.flush()?;
        Ok((self.out, missed))
    }
}

/// One value on a line. What the writer answers stays an answer of the writer: a closed pipe is no fault of JSON's.
fn json_line(out: &mut impl Write, value: &impl Serialize) -> std::io::Result<()> {
    let line = output::json_line(value).map_err(std::io::Error::from)?;
    writeln!(out, "{line}")
}

/// What is decoded tells calls apart that differ in meaning; addresses and numbers do not.
fn words(denial: &Denial) -> String {
    denial
        .decoded
        .values()
        .filter_map(|value| value.as_str())
        .filter(|word| !word.starts_with("0x") && word.parse::<i64>().is_err())
        .collect::<Vec<_>>()
        .join(", ")
}

/// `web tcpdump[71] socket(AF_PACKET, SOCK_RAW, 768) = EPERM: seccomp /defaultAction: … -> allow socket with …`.
pub fn line(denial: &Denial, time: Option<&str>, style: Style) -> String {
    let time = time.map_or(String::new(), |time| format!("{time} "));
    let arch = if denial.arch == "x86_64" { String::new() } else { format!(" ({})", denial.arch) };
    let remedy = remedy_of(denial)
        .map_or(String::new(), |words| format!(" -> {}", style.paint(Tone::Good, &escape(&words))));
    format!(
        "{time}{} {}[{}] {}{arch} = {}: {}{remedy}",
        escape(&denial.container),
        escape(&denial.comm),
        denial.pid,
        style.paint(Tone::Strong, &escape(&denial.call())),
        style.paint(Tone::Bad, error_of(denial)),
        escape(&why(denial)),
    )
}

/// The errno; a task that a filter killed has none.
fn error_of(denial: &Denial) -> &str {
    denial.errno.as_deref().unwrap_or("SIGSYS")
}

fn why(denial: &Denial) -> String {
    let cause = &denial.cause;
    let mut words = cause.kind.as_str().to_owned();
    if let Some(capability) = &cause.capability {
        words.push_str(&format!(" {capability}"));
    }
    if let Some(rule) = &cause.rule {
        words.push_str(&format!(" {rule}"));
    }
    if let Some(detail) = &cause.detail {
        words.push_str(&format!(": {detail}"));
    }
    words
}

/// The remedy in words, with Docker's option where it is one.
fn remedy_of(denial: &Denial) -> Option<String> {
    let text = |key: &str| denial.remedy.get(key).and_then(|words| words.as_str());
    let summary = text("summary")?;
    Some(match text("docker") {
        Some(option) => format!("{summary} (docker run {option})"),
        None => summary.to_owned(),
    })
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
