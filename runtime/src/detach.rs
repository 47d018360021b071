//! A container that runs on when its launcher's caller has gone (`docker run -d`).

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use plim_model::HostPid;

use crate::channel::{Channel, Message};
use crate::config::ContainerConfig;
use crate::error::{During, Result, RuntimeError};
use crate::stdio::Stdio;
use crate::sys::{self, Forked};

/// Makes and starts a container under a monitor process of its own session, which waits for it and clears it away.
/// Its last output, 1 to 2 MiB of it, is in the files `log.1` and `log` in its state directory as long as it runs. Returns
/// when the command was executed.
///
/// Call it from a process with one thread, as [`crate::create`].
///
/// # Errors
/// Whatever [`crate::create`] or [`crate::Created::start`] meet; nothing is left then.
pub fn run_detached(config: &ContainerConfig) -> Result<HostPid> {
    let (ours, theirs) = Channel::pair()?;
    let first = match sys::fork().during(|| "fork the monitor")? {
        Forked::Child => {
            drop(ours);
            // A session of its own, and not its leader: it can never take a controlling terminal (daemon(7)).
            let _ = setsid();
            match sys::fork() {
                Ok(Forked::Child) => monitor(config, &theirs),
                _ => sys::exit_now(0),
            }
        }
        Forked::Parent(first) => first,
    };
    drop(theirs);
    let answer = ours.receive();
    let _ = nix::sys::wait::waitpid(first, None);
    match answer? {
        Message::Pid(pid) => Ok(HostPid(pid)),
        Message::Failed(error) => Err(error),
        _ => Err(RuntimeError::EndedEarly {
            operation: "start the detached container".into(),
            ended: "its monitor gave no answer".into(),
        }),
    }
}

fn monitor(config: &ContainerConfig, report: &Channel) -> ! {
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let started = crate::run(config, Stdio::detached());
    match started {
        Err(error) => {
            let _ = report.send(&Message::Failed(error));
            sys::exit_now(125)
        }
        Ok(running) => {
            let _ = report.send(&Message::Pid(running.pid().0));
            // Nothing of the caller's is kept busy: neither its directory nor its pipes.
            let _ = chdir("/");
            if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
                let _ = dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
            }
            let code = running.wait().map_or(125, crate::Exit::code);
            sys::exit_now(code.into())
        }
    }
}
