//! The process that looks at files for the tracer.
//!
//! The tracer reads the refusals of all its targets and is confined; a path is one target's word, and may lead to a file system
//! that never answers. So another process looks, for a limited time; a target whose file system holds it up is left alone for a
//! while, and its refusals are told without the file.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plim_model::IdMapping;
use plim_model::parse::mountinfo;
use plim_observe::aside::server::Server;
use plim_observe::root::{LookError, MountTable, Root};
use serde::{Deserialize, Serialize};

use crate::files::{self, FileFacts, Wants, Who};
use crate::object::Object;

/// How long one look may take.
const LIMIT: Duration = Duration::from_millis(500);
/// How long a target is left alone after the first look that was held up; after each further one twice as long.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a mount table is taken to be as it was read. One that has changed is found out and read again.
const STALE: Duration = Duration::from_secs(1);
/// Mount tables that are kept; then all of them are forgotten.
const MOST_TABLES: usize = 64;
/// Most bytes of one mount table: some 50,000 mounts.
const LONGEST_TABLE: u64 = 8 << 20;

/// What is to be looked at.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The process.
    pub(crate) pid: i32,
    /// A link to the root that its container had, should it have ended.
    pub(crate) held: Option<String>,
    /// The first process of its container.
    pub(crate) first: i32,
    /// The likeliest first.
    pub(crate) objects: Vec<(Object, Wants)>,
    pub(crate) who: Who,
    /// The users that its user namespace has; `None` for all.
    pub(crate) users: Option<Vec<IdMapping>>,
}

/// What a target's file systems cost so far.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Until when it is left alone, and for how long the next time.
    pause: Option<(Instant, Duration)>,
}

/// The tracer's side.
#[derive(Debug)]
pub(crate) struct Looker {
    server: Server,
    /// Looks that were given up or refused.
    pub(crate) unlooked: u64,
}

impl Looker {
    /// Starts the process, which calls `confine` before it looks. To be done before this one has read much, and before it is confined.
    ///
    /// # Errors
    /// It cannot be forked.
    pub(crate) fn start(confine: Option<fn()>) -> Result<Looker> {
        let mut tables = Tables::default();
        // Of each process that looks, before its first look.
        let mut confine = confine;
        let server = Server::start(move |question| {
            if let Some(confine) = confine.take() {
                confine();
            }
            let answer = serde_json::from_slice(question).map_err(|error| error.to_string()).and_then(
                |question: Question| answer(&question, &mut tables).map_err(|error| error.to_string()),
            );
            serde_json::to_vec(&answer).unwrap_or_default()
        });
        Ok(Looker { server: server.context("fork the process that looks at files")?, unlooked: 0 })
    }

    /// The file that a call is about: of several the first that refuses. `None` when there is none, or when it was not looked at.
    pub(crate) fn look(&mut self, question: &Question, patience: &mut Patience) -> Option<FileFacts> {
        if question.objects.is_empty() {
            return None;
        }
        if patience.pause.is_some_and(|(until, _)| Instant::now() < until) {
            self.unlooked += 1;
            return None;
        }
        let asked = serde_json::to_vec(question).ok()?;
        let Some(answer) = self.server.ask(&asked, LIMIT) else {
            let pause = patience.pause.map_or(PAUSE, |(_, before)| before.saturating_mul(2));
            patience.pause = Some((Instant::now() + pause, pause));
            self.unlooked += 1;
            return None;
        };
        match serde_json::from_slice::<std::result::Result<Option<FileFacts>, String>>(&answer) {
            Ok(Ok(file)) => file,
            Ok(Err(_)) | Err(_) => {
                self.unlooked += 1;
                None
            }
        }
    }
}

/// Mount tables by the link to their mount namespace.
#[derive(Default)]
struct Tables(HashMap<String, (Instant, Arc<MountTable>)>);

impl Tables {
    fn of(&mut self, pid: i32, fresh: bool) -> Option<Arc<MountTable>> {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()?.to_str()?.to_owned();
        if let Some((read, table)) = self.0.get(&link)
            && !fresh
            && read.elapsed() < STALE
        {
            return Some(Arc::clone(table));
        }
        let table = Arc::new(MountTable::of(&mounts(pid)?));
        if self.0.len() >= MOST_TABLES {
            self.0.clear();
        }
        self.0.insert(link, (Instant::now(), Arc::clone(&table)));
        Some(table)
    }
}

/// The mounts of a process; `None` when it is gone or has more than are read.
fn mounts(pid: i32) -> Option<Vec<mountinfo::MountEntry>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(format!("/proc/{pid}/mountinfo")).ok()?;
    let count = file.take(LONGEST_TABLE + 1).read_to_end(&mut text).ok()?;
    let is_whole = u64::try_from(count).is_ok_and(|count| count <= LONGEST_TABLE);
    is_whole.then(|| mountinfo::parse(&text).ok())?
}

fn answer(question: &Question, tables: &mut Tables) -> std::result::Result<Option<FileFacts>, LookError> {
    match answer_by(question, tables, false) {
        Err(LookError::Changed) => answer_by(question, tables, true),
        answer => answer,
    }
}

fn answer_by(
    question: &Question,
    tables: &mut Tables,
    fresh: bool,
) -> std::result::Result<Option<FileFacts>, LookError> {
    // A process that has ended had the root of the container's first one, unless it changed it. When that one has ended too
    // no table of its mounts is left, and nothing that it served answers any more.
    let of_task = |pid: i32| Some((files::root(&format!("/proc/{pid}/root"))?, Some(pid)));
    let held = || Some((files::root(question.held.as_deref()?)?, None));
    let Some((fd, owner)) = of_task(question.pid).or_else(|| of_task(question.first)).or_else(held) else {
        return Ok(None);
    };
    let mut table = match owner {
        Some(pid) => tables.of(pid, fresh).ok_or(LookError::Changed)?,
        None => MountTable::unknown().into(),
    };
    if !table.has(&fd) {
        for pid in [question.first, std::process::id().cast_signed()] {
            Arc::make_mut(&mut table).add_types(&mounts(pid).unwrap_or_default());
        }
    }
    let root = Root::new(fd, table)?;
    let mapped = |uid: u32| {
        let has = |row: &IdMapping| uid >= row.outside && uid - row.outside < row.count;
        question.users.as_ref().is_none_or(|users| users.iter().any(has))
    };
    let mut first = None;
    for (object, wants) in &question.objects {
        let path = match object {
            Object::Path { path, directory } => files::absolute(question.pid, *directory, path),
            Object::Descriptor(descriptor) => files::behind(question.pid, *descriptor),
        };
        let Some(path) = path else { continue };
        match files::look(&root, &path, *wants, &question.who, mapped)? {
            Some(file) if file.mode_refuses => return Ok(Some(file)),
            found => first = first.or(found),
        }
    }
    Ok(first)
}
