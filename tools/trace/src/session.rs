//! A tracer in a thread of its own, for a launcher that waits for its container meanwhile.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::missed::Missed;
use crate::report::Report;
use crate::watch::Watch;

/// Events handed out before the thread looks whether it is to end.
const BATCH: usize = 4096;
/// The longest time that an event waits to be read.
const PACE: Duration = Duration::from_millis(20);

/// The thread. Dropping it without [`Session::end`] leaves it to end with the process.
#[derive(Debug)]
pub struct Session<W: Write> {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<(W, Missed)>>,
}

impl<W: Write + Send + 'static> Session<W> {
    /// Starts reading; the watch is attached.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn begin(watch: Watch, report: Report<W>) -> Result<Session<W>> {
        let end = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&end);
        let thread = std::thread::Builder::new()
            .name("plim-trace".to_owned())
            .spawn(move || read(watch, report, &asked))
            .context("start a thread to read the trace")?;
        Ok(Session { end, thread })
    }

    /// Detaches the tracer, reads what is left and finishes the report. Gives back where it was written, and what was missed.
    ///
    /// # Errors
    /// The report could not be written; since the first error nothing was read any more.
    pub fn end(self) -> Result<(W, Missed)> {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the thread that read the trace panicked"))?
    }
}

fn read<W: Write>(mut watch: Watch, mut report: Report<W>, end: &AtomicBool) -> Result<(W, Missed)> {
    while !end.load(Ordering::Relaxed) {
        let read = watch.drain(BATCH, |told| report.tell(told))?;
        report.flush()?;
        watch.wait(read, BATCH, PACE);
    }
    let missed = watch.end(|told| report.tell(told))?;
    report.finish(missed)
}
