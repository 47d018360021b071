//! A meaning and what the lints ask of it.

use std::collections::BTreeSet;

use crate::action::Action;
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::diagram::{Diagram, Store, Undecided};
use crate::interpret::SeccompData;
use crate::resolve::Resolved;
use crate::syscalls::{self, SyscallNr};

/// How much an action permits: refused, left to somebody else, made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Permit {
    Refused,
    SomebodyDecides,
    Made,
}

impl Permit {
    pub(crate) fn of(action: Action) -> Permit {
        match action {
            Action::Allow | Action::Log => Permit::Made,
            Action::Notify | Action::Trace(_) => Permit::SomebodyDecides,
            _ => Permit::Refused,
        }
    }
}

pub(crate) struct View<'r> {
    pub(crate) store: Store,
    pub(crate) diagram: Diagram,
    pub(crate) native: Arch,
    /// The architectures that the filter speaks of; the native one when it speaks of none.
    pub(crate) arches: Vec<Arch>,
    /// Whether it compares the architecture at all.
    pub(crate) guarded: bool,
    pub(crate) resolved: Option<&'r Resolved>,
}

impl<'r> View<'r> {
    pub(crate) fn new(
        store: Store,
        diagram: Diagram,
        native: Arch,
        resolved: Option<&'r Resolved>,
    ) -> View<'r> {
        let tokens = store.arches(diagram);
        let mut arches: Vec<Arch> = match resolved {
            Some(resolved) => resolved.arches.iter().copied().collect(),
            None => Arch::all().filter(|arch| tokens.contains(&arch.audit_token())).collect(),
        };
        let guarded = !tokens.is_empty();
        if !guarded && resolved.is_none() {
            arches = vec![native];
        }
        let mut view = View { store, diagram, native, arches, guarded, resolved };
        // x32 shares x86-64's token: it is spoken of only where it gets something.
        if resolved.is_none() {
            let token = Arch::X32.audit_token();
            let made = |view: &View<'_>| {
                syscalls::calls(Arch::X32)
                    .any(|(_, nr)| view.most(view.store.at(view.diagram, token, Some(nr.0))) == Permit::Made)
            };
            if view.arches.contains(&Arch::X32) && !made(&view) {
                view.arches.retain(|arch| *arch != Arch::X32);
            }
        }
        view
    }

    /// What is left for one call.
    pub(crate) fn at(&self, arch: Arch, nr: SyscallNr) -> Diagram {
        self.store.at(self.diagram, arch.audit_token(), Some(nr.0))
    }

    /// The same by name, `None` where the architecture does not have it.
    pub(crate) fn of(&self, arch: Arch, syscall: &str) -> Option<Diagram> {
        Some(self.at(arch, syscalls::number(arch, syscall)?))
    }

    /// The most that some arguments get.
    pub(crate) fn most(&self, diagram: Diagram) -> Permit {
        self.permits(diagram).last().copied().unwrap_or(Permit::Refused)
    }

    /// The least that some arguments get.
    pub(crate) fn least(&self, diagram: Diagram) -> Permit {
        self.permits(diagram).first().copied().unwrap_or(Permit::Refused)
    }

    fn permits(&self, diagram: Diagram) -> BTreeSet<Permit> {
        self.store.kinds(diagram).map(Permit::of).collect()
    }

    /// Nothing is refused on any architecture of the filter.
    pub(crate) fn refuses_nothing(&self) -> bool {
        let tokens = self.arches.iter().map(|arch| arch.audit_token());
        let mut here = tokens.map(|token| self.store.at(self.diagram, token, None));
        here.all(|diagram| self.least(diagram) == Permit::Made)
    }

    /// A call of this number whose answer is permitted that much or more.
    pub(crate) fn example(
        &self,
        arch: Arch,
        nr: SyscallNr,
        wanted: impl Fn(Action) -> bool,
    ) -> Option<SeccompData> {
        let rest = self.at(arch, nr);
        self.example_of(rest, arch, nr, wanted)
    }

    /// The same for what is left of a diagram of this number.
    pub(crate) fn example_of(
        &self,
        rest: Diagram,
        arch: Arch,
        nr: SyscallNr,
        wanted: impl Fn(Action) -> bool,
    ) -> Option<SeccompData> {
        // Only arguments are asked for in `rest`. A big-endian machine's halves lie the other way round there.
        let call = self.store.witness(rest, wanted)?;
        let turn = |word: u64| if arch.is_big_endian() { word.rotate_left(32) } else { word };
        Some(SeccompData { arch: arch.audit_token(), nr: nr.0, args: call.args.map(turn), ip: turn(call.ip) })
    }

    /// A call on which `a` permits more than `b`; both are of this number.
    pub(crate) fn more(
        &mut self,
        a: Diagram,
        b: Diagram,
        arch: Arch,
        nr: SyscallNr,
    ) -> Result<Option<SeccompData>, Undecided> {
        if a == b {
            return Ok(None);
        }
        let marked = self.store.combine(a, b, |x, y| {
            if Permit::of(x) > Permit::of(y) { Action::Allow } else { Action::KillProcess }
        })?;
        Ok(self.example_of(marked, arch, nr, |action| action == Action::Allow))
    }

    /// Whether somebody said what this call gets: a rule of the profile, or, in a filter, a refusal in a list of refusals.
    pub(crate) fn is_named(&self, arch: Arch, syscall: &str) -> bool {
        let Some(nr) = syscalls::number(arch, syscall) else { return false };
        match self.resolved {
            Some(resolved) => !resolved.rules_of(arch, nr).is_empty(),
            None => {
                let here = self.store.at(self.diagram, arch.audit_token(), None);
                let most = self.store.number_classes(here).into_iter().max_by_key(|class| class.count);
                most.is_some_and(|class| self.least(class.rest) == Permit::Made)
            }
        }
    }

    pub(crate) fn decide(&self, call: &SeccompData) -> Action {
        self.store.decide(self.diagram, call)
    }

    /// Where the profile says what happens to a call; `None` for a filter, and where what is installed is not what is written.
    pub(crate) fn pointer(&self, call: &SeccompData) -> Option<String> {
        let resolved = self.resolved.filter(|resolved| resolved.decide(call) == self.decide(call))?;
        Some(
            resolved.rule_for(call).map_or_else(|| "/defaultAction".to_owned(), |rule| rule.from.to_string()),
        )
    }

    /// The calls of one architecture by name.
    pub(crate) fn calls(arch: Arch) -> impl Iterator<Item = (&'static str, SyscallNr)> {
        syscalls::calls(arch)
    }

    /// Whether a number is one of x32's.
    pub(crate) fn is_x32(nr: u32) -> bool {
        nr & X32_SYSCALL_BIT != 0
    }
}
