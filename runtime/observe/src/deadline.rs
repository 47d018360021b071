//! A bound on time for reads that the target can hold up.
//!
//! A container may mount FUSE file systems, and map files of one over its own command line: whoever looks there waits
//! for an answer that the container gives when it likes. Such reads run in a thread of their own.

use std::sync::mpsc;
use std::time::Duration;

use plim_model::Observed;

/// How long the file system of a target may take. A loaded disk answers well within it.
const LIMIT: Duration = Duration::from_secs(5);

/// Runs `job` in a thread. When it does not end in time it is left behind (waits on FUSE are killable, so it ends with
/// the process at the latest) and the observation is unknown.
pub(crate) fn within<T: Send + 'static>(
    operation: &str,
    job: impl FnOnce() -> Observed<T> + Send + 'static,
) -> Observed<T> {
    within_limit(operation, LIMIT, job)
}

fn within_limit<T: Send + 'static>(
    operation: &str,
    limit: Duration,
    job: impl FnOnce() -> Observed<T> + Send + 'static,
) -> Observed<T> {
    let (sender, receiver) = mpsc::channel();
    let spawned = std::thread::Builder::new().name("plim-observe".to_owned()).spawn(move || {
        // The receiver is gone when the time was up: nobody wants the answer then.
        let _unwanted = sender.send(job());
    });
    if let Err(error) = spawned {
        return Observed::Unknown(format!("{operation}: start a thread: {error}"));
    }
    match receiver.recv_timeout(limit) {
        Ok(observed) => observed,
        Err(mpsc::RecvTimeoutError::Timeout) => Observed::Unknown(format!(
            "{operation}: no answer within {} s; a file system of the target holds the reader up",
            limit.as_secs()
        )),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Observed::Unknown(format!("{operation}: the reading thread panicked"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_up_on_a_reader_that_is_held_up() {
        let slow = within_limit("read x", Duration::from_millis(20), || {
            std::thread::sleep(Duration::from_secs(1));
            Observed::Present(())
        });
        assert!(matches!(slow, Observed::Unknown(why) if why.starts_with("read x: no answer within 0 s")));
        assert_eq!(within("read x", || Observed::Present(7)), Observed::Present(7));
    }
}
