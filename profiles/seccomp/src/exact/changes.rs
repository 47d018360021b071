//! Every class of calls that two filters answer differently, in rows for people and programs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Witness, order};
use crate::action::Action;
use crate::arch::Arch;
use crate::diagram::{Case, Diagram, Difference, Store, Undecided, condition};
use crate::interpret::SeccompData;
use crate::syscalls::{self, SyscallNr};
use plim_model::diff::Effect;

/// The name under which numbers without a name are reported.
pub const UNNAMED: &str = "(numbers without a name)";

/// One class of calls that gets another answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactChange {
    /// The architecture; `None` for those that neither filter treats in a way of their own, all in one row, and for tokens that are no
    /// known architecture's.
    pub arch: Option<Arch>,
    /// The call's name; [`UNNAMED`] for numbers that have none, and for calls without an architecture.
    pub syscall: String,
    /// Its number; of calls without a name the lowest that changes so.
    pub number: u32,
    /// The condition on its arguments, `None` for every call; see [`condition`]. Where no comparison of single arguments says it, an
    /// example: `for example arg0 == 0x10`.
    pub when: Option<String>,
    /// The same as comparisons, of which one case holds; `None` where no comparison of single arguments says it, and for calls without an
    /// architecture.
    pub cases: Option<Vec<Case>>,
    /// The first filter's answer.
    pub before: Action,
    /// The second filter's answer.
    pub after: Action,
    /// A call of the class: every bit that may be 0 is.
    pub witness: SeccompData,
}

impl ExactChange {
    /// Whether the second filter permits more, by [`super::Permits`].
    pub fn effect(&self) -> Effect {
        order::effect(self.before, self.after)
    }

    /// The same with the filters exchanged.
    #[must_use]
    pub fn turned(self) -> ExactChange {
        ExactChange { before: self.after, after: self.before, ..self }
    }
}

/// The calls that `b` answers differently than `a`, by architecture (calls of x86-64, i386 and x32 in rows of their own) and number; then
/// numbers without a name; last the architectures that neither filter names. No row at all means that the two are equal. `names`: whether
/// conditions name arguments and constants.
///
/// ```
/// use plim_model::CapabilitySet;
/// use plim_seccomp::{Arch, diagram::Store, dialect, exact, presets, resolve::{Facts, KernelVersion, resolve}};
/// let facts = Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KernelVersion { major: 6, minor: 18 });
/// let mut store = Store::new();
/// let [default, tcpdump] = ["docker-default", "tcpdump"].map(|name| {
///     let written = dialect::parse(presets::get(name).unwrap().as_bytes()).unwrap();
///     store.of_resolved(&resolve(&written, &facts).unwrap().unwrap()).unwrap()
/// });
/// let changes = exact::diff(&mut store, default, tcpdump, true).unwrap();
/// let calls: Vec<_> = changes.iter().map(|change| (change.arch.unwrap(), change.syscall.as_str())).collect();
/// assert_eq!(calls, [(Arch::X86_64, "socket"), (Arch::X86, "socket"), (Arch::X32, "socket")]);
/// assert_eq!(changes[0].when.as_deref(), Some("family not in {AF_ALG, AF_VSOCK}"));
/// assert_eq!(changes[0].witness.args, [0; 6]);
/// ```
///
/// # Errors
/// [`Undecided`] when the budget does not suffice.
pub fn diff(store: &mut Store, a: Diagram, b: Diagram, names: bool) -> Result<Vec<ExactChange>, Undecided> {
    let difference = store.difference(a, b)?;
    if difference == Difference::NONE {
        return Ok(Vec::new());
    }
    let mut tokens: BTreeSet<u32> = store.arches(a).into_iter().chain(store.arches(b)).collect();
    if tokens.is_empty() {
        // Neither side asks for the architecture: all are alike, and told by the names of these.
        tokens = [Arch::X86_64, Arch::X86].map(Arch::audit_token).into();
    }
    let mut rows = Rows { store, names, known: HashMap::new(), found: Vec::new() };
    for arch in Arch::all().filter(|arch| tokens.contains(&arch.audit_token())) {
        rows.of_arch(arch, difference)?;
    }
    let foreign = tokens.iter().filter(|token| Arch::from_audit_token(**token, 0).is_none());
    for token in foreign {
        let only = rows.store.difference_only(difference, *token)?;
        rows.of_others(only, false)?;
    }
    let left = rows.store.difference_elsewhere(difference, &tokens)?;
    rows.of_others(left, true)?;
    Ok(rows.found)
}

/// The counterexample of a claim as a row: what is known where [`diff`] cannot list all of them.
pub(super) fn example(witness: &Witness) -> ExactChange {
    let call = witness.call;
    let arch = Arch::from_audit_token(call.arch, call.nr);
    let name = arch.and_then(|arch| syscalls::name(arch, SyscallNr(call.nr)));
    ExactChange {
        arch,
        syscall: name.unwrap_or(UNNAMED).to_owned(),
        number: call.nr,
        when: Some(for_example(&call)),
        cases: None,
        before: witness.a,
        after: witness.b,
        witness: call,
    }
}

/// A pair of answers, with the condition for it and the arguments of a witness.
type Part = ((Action, Action), Option<Vec<Case>>, SeccompData);

struct Rows<'s> {
    store: &'s mut Store,
    names: bool,
    /// What was found for a remainder; arguments are read alike where width and byte order are.
    known: HashMap<(Difference, bool, bool), Vec<Part>>,
    found: Vec<ExactChange>,
}

impl Rows<'_> {
    fn of_arch(&mut self, arch: Arch, difference: Difference) -> Result<(), Undecided> {
        let token = arch.audit_token();
        let of_token = self.store.difference_at(difference, token, None);
        if of_token == Difference::NONE {
            return Ok(());
        }
        // Two names of one number are one call, under the name that comes first.
        let mut names: BTreeMap<u32, &str> = BTreeMap::new();
        for (name, nr) in syscalls::calls(arch) {
            names.entry(nr.0).or_insert(name);
        }
        for (nr, name) in names {
            let rest = self.store.difference_at(difference, token, Some(nr));
            self.of_number(arch, name, nr, rest)?;
        }
        let unnamed = self.store.unnamed_difference(of_token, arch)?;
        let first = self.found.len();
        for (nr, rest) in self.store.difference_classes(unnamed) {
            self.of_number(arch, UNNAMED, nr, rest)?;
        }
        // Classes that differ elsewhere may differ alike here.
        let mut told = BTreeSet::new();
        let mut index = 0;
        self.found.retain(|row| {
            index += 1;
            index <= first || told.insert((row.before, row.after, row.when.clone()))
        });
        Ok(())
    }

    fn of_number(&mut self, arch: Arch, name: &str, nr: u32, rest: Difference) -> Result<(), Undecided> {
        if rest == Difference::NONE {
            return Ok(());
        }
        for ((before, after), cases, example) in self.parts(rest, arch)? {
            let witness = SeccompData { nr, arch: arch.audit_token(), ..example };
            let when = match &cases {
                Some(cases) => condition(cases, arch, name, self.names),
                None => Some(for_example(&witness)),
            };
            self.found.push(ExactChange {
                arch: Some(arch),
                syscall: name.to_owned(),
                number: nr,
                when,
                cases,
                before,
                after,
                witness,
            });
        }
        Ok(())
    }

    fn parts(&mut self, rest: Difference, arch: Arch) -> Result<Vec<Part>, Undecided> {
        let key = (rest, arch.has_narrow_arguments(), arch.is_big_endian());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let mut parts: Vec<Part> = Vec::new();
        for pair in self.store.pairs(rest)? {
            let cases = self.store.difference_cases(rest, arch, pair)?;
            let example = self.store.witness_at(rest, (arch.audit_token(), 0), pair);
            parts.push((pair, cases, example.unwrap_or_default()));
        }
        // What happens to the plainest call first.
        parts.sort_by_key(|(_, _, example)| example.args);
        self.known.insert(key, parts.clone());
        Ok(parts)
    }

    /// One row for each pair of answers of calls whose architecture has no name here; `several`: of more than one token.
    fn of_others(&mut self, left: Difference, several: bool) -> Result<(), Undecided> {
        for pair in self.store.pairs(left)? {
            let Some(witness) = self.store.difference_witness(left, |before, after| (before, after) == pair)
            else {
                continue;
            };
            let rest = self.store.difference_at(left, witness.arch, None);
            let when = (!self.store.is_all(rest, pair)).then(|| {
                let example = for_example(&witness);
                if several { format!("of some calls, {example}") } else { example }
            });
            self.found.push(ExactChange {
                arch: None,
                syscall: UNNAMED.to_owned(),
                number: witness.nr,
                when,
                cases: None,
                before: pair.0,
                after: pair.1,
                witness,
            });
        }
        Ok(())
    }
}

/// A call as conditions on its arguments.
fn for_example(call: &SeccompData) -> String {
    let set: Vec<String> = (0..6)
        .filter(|index| call.args[*index] != 0)
        .map(|index| format!("arg{index} == {:#x}", call.args[index]))
        .chain((call.ip != 0).then(|| format!("instruction_pointer == {:#x}", call.ip)))
        .collect();
    if set.is_empty() {
        "for example all arguments 0".to_owned()
    } else {
        format!("for example {}", set.join(" && "))
    }
}
