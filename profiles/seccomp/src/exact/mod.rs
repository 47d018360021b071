//! Two decision functions compared over every call: differences, inclusion, equality, union and intersection.
//!
//! Everything here is exact: a difference that is not listed does not exist, and a claim that holds has no counterexample among the
//! 2⁵¹² calls. Where the budget does not suffice the answer is [`Undecided`].

mod changes;
mod order;

pub use changes::{ExactChange, UNNAMED, diff};
pub use order::{Permits, effect};

use crate::action::Action;
use crate::diagram::{Diagram, Store, Undecided};
use crate::errno::Errno;
use crate::interpret::SeccompData;

/// Whether a claim about two filters holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It does, for every call.
    pub holds: bool,
    /// A call for which it does not.
    pub witness: Option<Witness>,
}

/// A call, and what both filters answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The call.
    pub call: SeccompData,
    /// The first filter's answer.
    pub a: Action,
    /// The second filter's answer.
    pub b: Action,
}

/// Whether `b` permits everything that `a` permits, in the order of [`Permits`]: whatever `a` lets happen, `b` lets happen, and what
/// `a` leaves to a supervisor or a tracer, `b` lets happen or leaves to the same.
///
/// # Errors
/// [`Undecided`] when the budget does not suffice.
pub fn subset(store: &mut Store, a: Diagram, b: Diagram) -> Result<Verdict, Undecided> {
    claim(store, a, b, |a, b| Permits::of(a).at_most(Permits::of(b)))
}

/// A call of which `after` permits more than `before`, as a row; `None` where there is none, which is proven. This needs no list of
/// answers, so that it is decided for filters for which [`diff`] is not.
///
/// # Errors
/// [`Undecided`] when the budget does not suffice.
pub fn more(store: &mut Store, before: Diagram, after: Diagram) -> Result<Option<ExactChange>, Undecided> {
    let fine = |before, after| Permits::of(after).at_most(Permits::of(before));
    let call = store.counterexample(before, after, fine)?;
    let witness = |call| Witness { call, a: store.decide(before, &call), b: store.decide(after, &call) };
    Ok(call.map(witness).map(|witness| changes::example(&witness)))
}

/// Whether both give the same answer to every call: the same action with the same data.
///
/// # Errors
/// [`Undecided`] when the budget does not suffice.
pub fn equal(store: &mut Store, a: Diagram, b: Diagram) -> Result<Verdict, Undecided> {
    claim(store, a, b, |_, _| false)
}

/// `fine`: whether two different answers are no counterexample.
fn claim(
    store: &mut Store,
    a: Diagram,
    b: Diagram,
    fine: impl Fn(Action, Action) -> bool,
) -> Result<Verdict, Undecided> {
    if a == b {
        return Ok(Verdict { holds: true, witness: None });
    }
    let call = store.counterexample(a, b, fine)?;
    let witness = call.map(|call| Witness { call, a: store.decide(a, &call), b: store.decide(b, &call) });
    Ok(Verdict { holds: witness.is_none(), witness })
}

/// The least that permits what either of the two permits.
///
/// Of two answers the weaker by the kernel's precedence, the first filter's data where only that differs; what one leaves to a supervisor
/// and the other to a tracer (or to tracers with other data) has no weaker answer than to allow it.
///
/// # Errors
/// [`Undecided`] when the budget does not suffice.
pub fn union(store: &mut Store, a: Diagram, b: Diagram) -> Result<Diagram, Undecided> {
    store.combine(a, b, |a, b| match (Permits::of(a), Permits::of(b)) {
        (Permits::Asks(_), Permits::Asks(_)) if a != b => Action::Allow,
        _ if strength(b) > strength(a) => b,
        _ => a,
    })
}

/// The most that permits only what both permit.
///
/// Of two answers the stronger by the kernel's precedence, the first filter's data where only that differs; what one leaves to a
/// supervisor and the other to a tracer (or to tracers with other data) is refused with EPERM.
///
/// # Errors
/// [`Undecided`] when the budget does not suffice.
pub fn intersect(store: &mut Store, a: Diagram, b: Diagram) -> Result<Diagram, Undecided> {
    store.combine(a, b, |a, b| match (Permits::of(a), Permits::of(b)) {
        (Permits::Asks(_), Permits::Asks(_)) if a != b => Action::Errno(Errno::EPERM),
        _ if strength(b) < strength(a) => b,
        _ => a,
    })
}

/// The kernel's precedence without data: smaller is stronger.
fn strength(action: Action) -> i32 {
    (action.to_ret() & 0xffff_0000).cast_signed()
}

#[cfg(test)]
mod tests;
