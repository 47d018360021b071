//! Verdicts of v2 device programs, told as v1's `devices.list` tells rules. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::device_program::{Budget, Instruction, Known, Leaf, NotTold, follow};

/// `BPF_DEVCG_ACC_*` (linux/bpf.h).
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;
/// `BPF_DEVCG_DEV_*`, with v1's letters.
const KINDS: [(char, u32); 2] = [('b', 1), ('c', 2)];

/// All that the kernel ever asks (include/linux/device_cgroup.h): mknod(2) asks for that alone, opening for read,
/// write or both. So a program that refuses mknod together with reading refuses nothing.
const REQUESTS: [u8; 4] = [MKNOD, READ, WRITE, READ | WRITE];

/// Every device may be opened, as v1 says it.
pub(super) const EVERYTHING: &str = "a *:* rwm";

/// Why the verdicts cannot be told as rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotRules {
    /// What a program decides is not known.
    #[error(transparent)]
    Program(#[from] NotTold),
    /// Reading and writing are allowed alone but not together, or the other way round.
    #[error("reading and writing at once is decided otherwise than each alone, which rules cannot say")]
    Together,
    /// All but some device numbers.
    #[error("everything but some device numbers is allowed, which allowing rules cannot say")]
    Exceptions,
}

/// A function of a device number: some have a value of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct By<T> {
    named: BTreeMap<u32, T>,
    other: T,
}

impl<T> By<T> {
    fn at(&self, number: Option<u32>) -> &T {
        number.and_then(|number| self.named.get(&number)).unwrap_or(&self.other)
    }

    /// Every class of numbers: those with a name, and the others.
    fn classes(&self) -> impl Iterator<Item = Option<u32>> + '_ {
        self.named.keys().copied().map(Some).chain([None])
    }

    fn values(&self) -> impl Iterator<Item = &T> {
        self.named.values().chain([&self.other])
    }

    fn with<U>(&self, other: &By<T>, join: impl Fn(&T, &T) -> U) -> By<U> {
        let names: BTreeSet<u32> = self.named.keys().chain(other.named.keys()).copied().collect();
        By {
            named: names
                .into_iter()
                .map(|name| (name, join(self.at(Some(name)), other.at(Some(name)))))
                .collect(),
            other: join(&self.other, &other.other),
        }
    }

    fn try_map<U, E>(&self, map: impl Fn(&T) -> Result<U, E>) -> Result<By<U>, E> {
        let named = self.named.iter().map(|(name, value)| Ok((*name, map(value)?)));
        Ok(By { named: named.collect::<Result<_, E>>()?, other: map(&self.other)? })
    }
}

/// By major, then by minor.
type Table = By<By<u8>>;

fn constant(value: u8) -> Table {
    By { named: BTreeMap::new(), other: By { named: BTreeMap::new(), other: value } }
}

fn join(left: &Table, right: &Table, join: impl Fn(u8, u8) -> u8) -> Table {
    left.with(right, |left, right| left.with(right, |left, right| join(*left, *right)))
}

/// What all `programs` allow together, as sorted rules; none allow everything. A rule says all that its devices may,
/// also what a rule for more devices says already (`c 1:3 rwm` beside `c *:* m`): as engines write it.
pub(crate) fn rules(programs: &[Vec<Instruction>]) -> Result<Vec<String>, NotRules> {
    let mut budget = Budget::new();
    let mut rules = BTreeSet::new();
    let mut everything = true;
    for (letter, kind) in KINDS {
        // Of each device the requests that are allowed: bit N is the Nth of REQUESTS.
        let mut allowed = constant(u8::MAX);
        for program in programs {
            let mut table = constant(0);
            for (bit, request) in REQUESTS.iter().enumerate() {
                let leaves = follow(program, u32::from(*request) << 16 | kind, &mut budget)?;
                let one = table_of(&leaves, 1 << bit, &mut budget)?;
                table = join(&table, &one, |left, right| left | right);
            }
            allowed = join(&allowed, &table, |left, right| left & right);
        }
        let access = allowed.try_map(|row| row.try_map(|requests| access_of(*requests)))?;
        everything &= access.values().flat_map(By::values).all(|access| *access == ALL);
        rules.extend(spelled(letter, &access)?);
    }
    Ok(if everything { vec![EVERYTHING.to_owned()] } else { rules.into_iter().collect() })
}

/// `bit` where the leaf for the device allows.
///
/// For one major there is exactly one leaf with a minor that is still open: the way on which every test of the minor
/// failed.
fn table_of(leaves: &[Leaf], bit: u8, budget: &mut Budget) -> Result<Table, NotTold> {
    let value = |leaf: &Leaf| if leaf.allow { bit } else { 0 };
    let row = |major: Option<u32>| {
        let mut row = By { named: BTreeMap::new(), other: 0 };
        for leaf in leaves {
            let fits = match (&leaf.major, major) {
                (Known::Is(number), major) => Some(*number) == major,
                (Known::Not(others), Some(major)) => !others.contains(&major),
                (Known::Not(_), None) => true,
            };
            match &leaf.minor {
                _ if !fits => {}
                Known::Is(minor) => drop(row.named.insert(*minor, value(leaf))),
                Known::Not(_) => row.other = value(leaf),
            }
        }
        row
    };
    let majors: BTreeSet<u32> = leaves
        .iter()
        .filter_map(|leaf| match leaf.major {
            Known::Is(major) => Some(major),
            Known::Not(_) => None,
        })
        .collect();
    budget.take((majors.len() + 1) * leaves.len())?;
    Ok(By { named: majors.into_iter().map(|major| (major, row(Some(major)))).collect(), other: row(None) })
}

/// The accesses that are allowed, when the requests are decided by them.
fn access_of(requests: u8) -> Result<u8, NotRules> {
    let allowed = |bit: usize| requests & 1 << bit != 0;
    let access = REQUESTS
        .iter()
        .enumerate()
        .filter(|(bit, request)| request.count_ones() == 1 && allowed(*bit))
        .fold(0, |access, (_, request)| access | request);
    let decided = REQUESTS.iter().enumerate().all(|(bit, request)| allowed(bit) == (request & !access == 0));
    if decided { Ok(access) } else { Err(NotRules::Together) }
}

/// The rules of one kind of device. Devices whose numbers have no name can only be allowed by a rule with `*`, which
/// then must hold for the named ones as well.
fn spelled(letter: char, access: &Table) -> Result<Vec<String>, NotRules> {
    let mut rules = Vec::new();
    let mut rule = |major: Option<u32>, minor: Option<u32>, access: u8| {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let letters: String = [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')]
            .iter()
            .filter(|(bit, _)| access & bit != 0)
            .map(|(_, letter)| *letter)
            .collect();
        rules.push(format!("{letter} {}:{} {letters}", number(major), number(minor)));
    };
    let everywhere = access.other.other;
    let common = access.values().flat_map(By::values).fold(ALL, |all, access| all & access);
    if common != everywhere {
        return Err(NotRules::Exceptions);
    }
    if everywhere != 0 {
        rule(None, None, everywhere);
    }
    // `*:MINOR`.
    for (minor, of_minor) in &access.other.named {
        if access.values().any(|row| of_minor & !row.at(Some(*minor)) != 0) {
            return Err(NotRules::Exceptions);
        }
        if of_minor & !everywhere != 0 {
            rule(None, Some(*minor), *of_minor);
        }
    }
    for (major, row) in &access.named {
        // `MAJOR:*`.
        let of_major = row.other;
        if row.values().any(|access| of_major & !access != 0) {
            return Err(NotRules::Exceptions);
        }
        if of_major & !everywhere != 0 {
            rule(Some(*major), None, of_major);
        }
        for minor in row.classes().flatten() {
            let here = *row.at(Some(minor));
            if here & !(of_major | access.other.at(Some(minor))) != 0 {
                rule(Some(*major), Some(minor), here);
            }
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests;
