//! What keeps a tracer from tracing.

use crate::tracer::MOST_TARGETS;

/// Why the tracer cannot be used, or stopped working.
#[derive(Debug, thiserror::Error)]
pub enum TracerError {
    /// Not enough privilege; the text names what is missing.
    #[error("tracing needs {0} (or root in the first user namespace)")]
    Privilege(String),
    /// What the kernel lacks.
    #[error("this kernel cannot be traced: {0}")]
    Kernel(String),
    /// One step failed.
    #[error("{step}: {why}")]
    Step {
        /// What was being done.
        step: String,
        /// What the kernel said; of a verifier's log the end.
        why: String,
    },
    /// The calling process is not in the first pid namespace, whose numbers the events carry.
    #[error("tracing from {0}: a container's processes are known only from the first pid namespace")]
    PidNamespace(String),
    /// More targets than slots.
    #[error("more than {MOST_TARGETS} targets at once")]
    TooMany,
}

/// Gives an error of the BPF library the step at which it happened, and cuts a verifier's log to its end.
pub fn step<E: std::error::Error>(step: impl Into<String>) -> impl FnOnce(E) -> TracerError {
    /// Characters of an answer: a verifier's log is pages long, and says at its end what it objects to.
    const LONGEST: usize = 400;
    move |error| {
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let own = error.to_string();
            if !why.contains(&own) {
                why = format!("{why}: {own}");
            }
            cause = error.source();
        }
        let letters: Vec<char> = why.split_whitespace().collect::<Vec<_>>().join(" ").chars().collect();
        let why = match letters.len() {
            0..=LONGEST => letters.into_iter().collect(),
            long => format!("… {}", letters[long - LONGEST..].iter().collect::<String>()),
        };
        TracerError::Step { step: step.into(), why }
    }
}
