//! An exit without an enter.

use plim_seccomp::{Action, Errno};

use super::{Cause, Kind, Known, decision, errno};
use crate::event::{Event, flag};

/// An exit without an enter: a filter, unless its own decision says otherwise.
pub(super) fn not_entered(event: &Event, known: &Known<'_>) -> Option<Cause> {
    let errno = errno(event);
    let outcome = |action: &str| match errno {
        Some(errno) => format!("{action}: the call came back with {errno} and was not made"),
        None => format!("{action}: the call was not made"),
    };
    // A tracer may answer for the kernel, an enter may have been missed: then only the filter's own decision counts.
    let certain = !event.has(flag::PTRACED) && !event.has(flag::STALE) && !known.skipped_runs;
    let refused = matches!(errno, Some(e) if e.number() == 1 || e.number() == 13);
    let Some(filters) = known.filters else {
        if event.has(flag::KILLED | flag::SIGSYS) || (certain && event.has(flag::BITMAP)) {
            let what =
                if event.has(flag::KILLED) { "the filter killed the task" } else { "a filter refused" };
            return Some(Cause::new(
                Kind::Seccomp,
                format!("{what}; its filters could not be read, so the rule is not known"),
            ));
        }
        let why = "the kernel was not seen to enter the call, and the task's filters could not be read";
        return refused.then(|| Cause::new(Kind::Unknown, why));
    };
    if event.has(flag::STALE) && !event.has(flag::KILLED | flag::SIGSYS) {
        let why = "this call was let through when it was made last, and while it was made now its filters changed or a \
                   tracer came";
        return refused.then(|| Cause::new(Kind::Unknown, why));
    }
    let action = decision(event, filters);
    let seccomp = |detail: String| Some(Cause::new(Kind::Seccomp, detail));
    match action {
        Action::Errno(given) if errno.map_or(0, Errno::number) == given.number() => {
            seccomp(outcome(&format!("{} ({given})", action.name())))
        }
        Action::Trap if event.has(flag::SIGSYS) => seccomp(format!("{}: SIGSYS was sent", action.name())),
        Action::KillProcess | Action::KillThread if event.has(flag::KILLED | flag::SIGSYS) => {
            seccomp(format!("{}: the task was killed by SIGSYS", action.name()))
        }
        Action::Notify => seccomp(outcome(&format!("{} (a supervisor decided)", action.name()))),
        Action::Trace(_) if errno == Some(Errno::ENOSYS) && !event.has(flag::PTRACED) => {
            seccomp(outcome(&format!("{} (and nobody traces the task)", action.name())))
        }
        Action::Trace(_) => seccomp(outcome(&format!("{} (a tracer decided)", action.name()))),
        Action::Allow | Action::Log if event.has(flag::PTRACED) => refused.then(|| {
            Cause::new(
                Kind::Unknown,
                "the filters allow the call; the task is traced, and its tracer may have answered",
            )
        }),
        Action::Allow | Action::Log if event.has(flag::OLDER) => refused.then(|| {
            Cause::new(Kind::Unknown, "the tracer came while the task was in the call; the filters allow it")
        }),
        Action::Allow | Action::Log => refused.then(|| {
            Cause::new(
                Kind::Unknown,
                "the filters allow the call; how the kernel came to refuse it was not seen",
            )
        }),
        _ => Some(Cause::new(
            Kind::Unknown,
            format!("the filters answer {}, but the call ended otherwise", action.name()),
        )),
    }
}
