//! Timing whole launches against each other: interleaved, so that a noisy moment hits every contestant alike.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// One way to start `true` in a container.
pub struct Contestant {
    /// What it is called in the table.
    pub name: String,
    /// Its program and arguments; `{}` becomes a fresh name each run.
    pub words: Vec<String>,
    /// Wall time of each run.
    pub times: Vec<Duration>,
}

impl Contestant {
    /// A contestant that has not run yet.
    pub fn new(name: &str, words: &[&str]) -> Contestant {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Contestant { name: name.to_owned(), words, times: Vec::new() }
    }

    /// Runs once; from fork to the end of the launcher.
    ///
    /// # Errors
    /// When it does not end with status 0.
    pub fn once(&mut self, round: usize) -> Result<Duration> {
        let fresh = format!("plimbench-{}-{round}", std::process::id());
        let words: Vec<String> = self.words.iter().map(|word| word.replace("{}", &fresh)).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let start = Instant::now();
        let output = command.output()?;
        let took = start.elapsed();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{words:?} ended with {:?}: {said}", output.status.code());
        self.times.push(took);
        Ok(took)
    }

    /// The median time in microseconds; 0 before the first run.
    pub fn median_us(&self) -> u128 {
        let mut times = self.times.clone();
        times.sort();
        times.get(times.len() / 2).map_or(0, Duration::as_micros)
    }
}
