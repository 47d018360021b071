//! Cases as text: `family == AF_ALG && (flags & CLONE_NEWUSER) == 0`.

use std::collections::BTreeSet;

use super::cases::{Case, Term};
use super::values::Test;
use crate::arch::Arch;
use crate::arguments;
use crate::constants::{self, ConstantSet};

/// The cases joined with "or", `None` for every call. With `names`, arguments and values are said by their names in `syscall` on
/// `arch`, where they have one; else arguments are `arg0` to `arg5` and values are numbers.
pub fn condition(cases: &[Case], arch: Arch, syscall: &str, names: bool) -> Option<String> {
    match cases {
        [only] if only.terms.is_empty() => None,
        [only] => Some(only.text(arch, syscall, names)),
        many => {
            let texts = many.iter().map(|case| {
                let text = case.text(arch, syscall, names);
                if case.terms.len() > 1 || text.contains("||") { format!("({text})") } else { text }
            });
            Some(texts.collect::<Vec<_>>().join(" || "))
        }
    }
}

impl Case {
    /// The terms joined with "and"; see [`condition`].
    pub fn text(&self, arch: Arch, syscall: &str, names: bool) -> String {
        let alone = self.terms.len() == 1;
        let texts = self.terms.iter().map(|term| {
            let text = term.text(arch, syscall, names);
            if !alone && matches!(term.test, Test::AnyOf(_)) { format!("({text})") } else { text }
        });
        texts.collect::<Vec<_>>().join(" && ")
    }
}

impl Term {
    /// The test with the name of its argument; see [`condition`].
    pub fn text(&self, arch: Arch, syscall: &str, names: bool) -> String {
        let known = arguments::argument(arch, syscall, self.index).filter(|_| names);
        let name = match (self.index, known) {
            (6, _) => "instruction_pointer".to_owned(),
            (_, Some(known)) => known.name.to_string(),
            (index, None) => format!("arg{index}"),
        };
        let set = known.and_then(|known| known.set).filter(|set| set.holds_on(arch));
        Words { set }.test(&name, &self.test, false)
    }
}

struct Words {
    set: Option<ConstantSet>,
}

impl Words {
    fn value(&self, value: u64) -> String {
        self.set.and_then(|set| constants::name(set, value)).unwrap_or_else(|| constants::plain(value))
    }

    fn mask(&self, mask: u64) -> String {
        match self.set.and_then(|set| constants::mask(set, mask)) {
            Some(names) if names.contains('|') => format!("({names})"),
            Some(name) => name,
            None => format!("{mask:#x}"),
        }
    }

    fn list(&self, values: &BTreeSet<u64>) -> String {
        let values: Vec<String> = values.iter().map(|value| self.value(*value)).collect();
        format!("{{{}}}", values.join(", "))
    }

    /// The test of what `left` is called, or with `not` its opposite.
    fn test(&self, left: &str, test: &Test, not: bool) -> String {
        match test {
            Test::Eq(value) => format!("{left} {} {}", equals(not), self.value(*value)),
            Test::OneOf(values) => {
                format!("{left} {} {}", if not { "not in" } else { "in" }, self.list(values))
            }
            Test::MaskedEq { mask, value } => {
                // The low bits without a gap are a value of their own.
                let is_low = mask & mask.wrapping_add(1) == 0;
                let value = if is_low { self.value(*value) } else { self.masked_value(*value) };
                format!("({left} & {}) {} {value}", self.mask(*mask), equals(not))
            }
            Test::Masked { mask, test } => self.test(&format!("({left} & {})", self.mask(*mask)), test, not),
            Test::Range { first: 0, last } => {
                format!("{left} {} {}", if not { ">" } else { "<=" }, self.value(*last))
            }
            Test::Range { first, last: u64::MAX } => {
                format!("{left} {} {}", if not { "<" } else { ">=" }, self.value(*first))
            }
            Test::Range { first, last } => {
                let word = if not { "not in" } else { "in" };
                format!("{left} {word} {}..={}", self.value(*first), self.value(*last))
            }
            Test::Not(test) => self.test(left, test, !not),
            Test::AnyOf(tests) => self.joined(left, tests, if not { " && " } else { " || " }, not),
            Test::AllOf(tests) => self.joined(left, tests, if not { " || " } else { " && " }, not),
        }
    }

    /// What is left of a value behind a mask: the names of its bits, and 0 for none.
    fn masked_value(&self, value: u64) -> String {
        let names = self.set.filter(|_| value != 0).and_then(|set| constants::mask(set, value));
        names.unwrap_or_else(|| constants::plain(value))
    }

    fn joined(&self, left: &str, tests: &[Test], word: &str, not: bool) -> String {
        let texts: Vec<String> = tests
            .iter()
            .map(|test| {
                let text = self.test(left, test, not);
                let inner = if word == " && " { " || " } else { " && " };
                if text.contains(inner) { format!("({text})") } else { text }
            })
            .collect();
        texts.join(word)
    }
}

fn equals(not: bool) -> &'static str {
    if not { "!=" } else { "==" }
}
