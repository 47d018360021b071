//! The order on actions: how much of a call each of them lets happen.

use plim_model::diff::Effect;

use crate::action::Action;

/// What an action lets happen.
///
/// `KILL_PROCESS = KILL_THREAD = TRAP = ERRNO  <  NOTIFY, TRACE  <  LOG = ALLOW`: killing a caller and giving it an error refuse the call
/// alike, and a log entry restricts nothing. Who is asked may do anything with the call; so `NOTIFY` and `TRACE`, and `TRACE` with
/// other data, stand side by side: neither permits at most what the other does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permits {
    /// Nothing: the call is not made.
    Refuses,
    /// What somebody else decides: the action that asks.
    Asks(Action),
    /// The call is made.
    Makes,
}

impl Permits {
    /// What `action` lets happen.
    pub fn of(action: Action) -> Permits {
        match action {
            Action::KillProcess | Action::KillThread | Action::Trap | Action::Errno(_) => Permits::Refuses,
            Action::Notify | Action::Trace(_) => Permits::Asks(action),
            Action::Log | Action::Allow => Permits::Makes,
        }
    }

    /// Whether this permits nothing that `other` does not.
    pub fn at_most(self, other: Permits) -> bool {
        self == other || self == Permits::Refuses || other == Permits::Makes
    }
}

/// Whether `after` permits more than `before`, less, or neither: another error number, a log entry, somebody else to ask.
pub fn effect(before: Action, after: Action) -> Effect {
    let (before, after) = (Permits::of(before), Permits::of(after));
    Effect::from_sides(!after.at_most(before), !before.at_most(after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::Errno;

    #[test]
    fn the_order() {
        let refused = [
            Action::KillProcess,
            Action::KillThread,
            Action::Trap,
            Action::Errno(Errno::EPERM),
            Action::Errno(Errno::ENOSYS),
        ];
        let asked = [Action::Notify, Action::Trace(0), Action::Trace(1)];
        let made = [Action::Log, Action::Allow];
        let at_most = |a: Action, b: Action| Permits::of(a).at_most(Permits::of(b));
        for a in refused {
            assert!(refused.iter().chain(&asked).chain(&made).all(|b| at_most(a, *b)));
            assert!(asked.iter().chain(&made).all(|b| !at_most(*b, a)));
        }
        for a in asked {
            assert!(asked.iter().all(|b| at_most(a, *b) == (a == *b)));
            assert!(made.iter().all(|b| at_most(a, *b) && !at_most(*b, a)));
            assert!(made.iter().all(|b| effect(a, *b) == Effect::More && effect(*b, a) == Effect::Less));
        }
        assert!(at_most(Action::Log, Action::Allow) && at_most(Action::Allow, Action::Log));
        assert_eq!(effect(Action::Log, Action::Allow), Effect::Other);
        assert_eq!(effect(Action::Notify, Action::Trace(0)), Effect::Other);
    }
}
