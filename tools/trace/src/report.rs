//! Denials for people and for programs.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use anyhow::Result;
use plim_tools_common::output::Style;
use plim_tools_common::table::Table;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cause::Kind;
use crate::denial::Denial;
use crate::tracer::Missed;
use crate::watch::Told;

/// Version of the documents of `--format json`. A line of `jsonl` is one element of `denials`.
pub const FORMAT: &str = "1.0";

/// Denials that one document holds; the rest is counted as `left_out`.
const MOST_KEPT: usize = 100_000;
/// Groups that are told apart by strings and names of a container's own making.
const MOST_GROUPS: usize = 10_000;

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
}

/// Where denials go.
pub struct Report<W: Write> {
    out: W,
    format: Format,
    summary: bool,
    wanted: Wanted,
    style: Style,
    count: u64,
    kept: Vec<Denial>,
    /// Denials beyond [`MOST_KEPT`].
    left_out: u64,
    groups: Vec<Group>,
    by_key: BTreeMap<[String; 6], usize>,
    /// The group of what was told under an id; `None` is not wanted.
    by_id: HashMap<u64, Option<usize>>,
}

impl<W: Write> std::fmt::Debug for Report<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("format", &self.format)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<W: Write> Report<W> {
    /// A report on `out`; with `summary` equal denials are told once, at the end, with their number.
    pub fn new(out: W, format: Format, summary: bool, wanted: Wanted, style: Style) -> Report<W> {
        Report {
            out,
            format,
            summary,
            wanted,
            style,
            count: 0,
            kept: Vec::new(),
            left_out: 0,
            groups: Vec::new(),
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
        if self.summary {
            self.sum(told);
            return Ok(());
        }
        if !self.wanted.holds(told.denial) {
            return Ok(());
        }
        self.count += 1;
        match self.format {
            Format::Json if self.kept.len() < MOST_KEPT => self.kept.push(told.to_denial()),
            Format::Json => self.left_out += 1,
            Format::Jsonl => {
                serde_json::to_writer(&mut self.out, &told.to_denial())?;
                self.out.write_all(b"\n")?;
            }
            Format::Table => writeln!(self.out, "{}", line(&told.to_denial()))?,
        }
        Ok(())
    }

    fn sum(&mut self, told: Told<'_>) {
        if self.by_id.len() > MOST_KEPT {
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
        group.last_boot_ns = told.boot_ns;
    }

    /// The group of a denial, new or not.
    fn group(&mut self, told: &Told<'_>) -> usize {
        let denial = told.denial;
        let cause = &denial.cause;
        // What a container can make up without end tells groups apart only while there are few.
        let few = self.groups.len() < MOST_GROUPS;
        let key = [
            format!("{}:{}", denial.engine, denial.container),
            cause.kind.as_str().to_owned(),
            denial
                .syscall
                .clone()
                .unwrap_or_else(|| if few { denial.number.to_string() } else { String::new() }),
            denial.errno.clone().unwrap_or_default(),
            if few { words(denial) } else { String::new() },
            format!("{:?} {:?} {}", cause.capability, cause.rule, if few { &denial.comm } else { "" }),
        ];
        let groups = &mut self.groups;
        *self.by_key.entry(key).or_insert_with(|| {
            let denial = told.to_denial();
            groups.push(Group { count: 0, first_boot_ns: told.boot_ns, last_boot_ns: told.boot_ns, denial });
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

    /// Writes what is told at the end, and gives the writer back.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self, missed: Missed) -> Result<W> {
        // Of equal counts the first told comes first.
        let mut groups = std::mem::take(&mut self.groups);
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        let filters_alone = missed.filters_alone;
        let mut missed = json!({
            "lost": missed.lost, "skipped_runs": missed.skipped_runs, "left_out": self.left_out
        });
        if filters_alone {
            let others = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Seccomp);
            missed["kinds"] = others.map(Kind::as_str).collect();
        }
        match (self.format, self.summary) {
            (Format::Json, true) => {
                let document = json!({"format": FORMAT, "groups": groups, "missed": missed});
                writeln!(self.out, "{document:#}")?;
            }
            (Format::Json, false) => {
                let document = json!({"format": FORMAT, "denials": self.kept, "missed": missed});
                writeln!(self.out, "{document:#}")?;
            }
            (Format::Jsonl, true) => {
                for group in &groups {
                    serde_json::to_writer(&mut self.out, group)?;
                    self.out.write_all(b"\n")?;
                }
            }
            (Format::Table, true) if !groups.is_empty() => {
                let mut table = Table::new(
                    self.style,
                    ["COUNT", "CONTAINER", "COMMAND", "CALL", "ERROR", "WHY", "REMEDY"],
                );
                for group in &groups {
                    let denial = &group.denial;
                    table.row([
                        group.count.to_string(),
                        denial.container.clone(),
                        denial.comm.clone(),
                        denial.call.clone(),
                        denial.errno.clone().unwrap_or_else(|| "SIGSYS".to_owned()),
                        why(denial),
                        summary_of(denial).unwrap_or_default().to_owned(),
                    ]);
                }
                self.out.write_all(table.render().as_bytes())?;
            }
            _ => {}
        }
        self.out.flush()?;
        Ok(self.out)
    }
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

/// `web: tcpdump[71]: socket(AF_PACKET, SOCK_RAW, 768) = EPERM: seccomp /defaultAction: … -> allow socket …`.
pub fn line(denial: &Denial) -> String {
    let time = denial
        .boot_ns
        .map_or(String::new(), |ns| format!("{}.{:09} ", ns / 1_000_000_000, ns % 1_000_000_000));
    let arch = if denial.arch == "x86_64" { String::new() } else { format!(" ({})", denial.arch) };
    let remedy = summary_of(denial).map_or(String::new(), |words| format!("\n    remedy: {words}"));
    format!(
        "{time}{}: {}[{}]: {}{arch} = {}\n    {}{remedy}",
        denial.container,
        denial.comm,
        denial.pid,
        denial.call,
        denial.errno.as_deref().unwrap_or("SIGSYS"),
        why(denial),
    )
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

/// The remedy in words, with Docker's option where there is one.
fn summary_of(denial: &Denial) -> Option<&str> {
    denial.remedy.get("summary").and_then(|summary| summary.as_str())
}
