//! Policies with all that they extend, as one set of rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::file::{Check, Ignore, Policy, Rule};
use super::read::{PolicyError, read};
use crate::packs;
use crate::pss::{Level, Version};
use crate::text::Place;

/// How many files may extend one another in a row.
const DEEPEST: usize = 8;

/// Where the text of policy files comes from.
pub trait Source {
    /// The text of a file that is named `name` in `from` (a file read before, or nothing for the command line), and the name
    /// under which it is to be known.
    ///
    /// # Errors
    /// What opening it said.
    fn text(&self, name: &str, from: Option<&str>) -> Result<(String, String), String>;
}

/// Why policies were not loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// A file that is wrong.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A file that is not there, a pack that there is not.
    #[error("{name}: {what}")]
    Missing {
        /// As it was named.
        name: String,
        /// What happened.
        what: String,
    },
}

/// Rules that are judged together.
#[derive(Debug, Default)]
pub struct PolicySet {
    /// Rules in the order of the files, what is extended first; severities as overridden, rules turned off left out.
    pub rules: Vec<Rule>,
    /// Accepted failures.
    pub ignores: Vec<Ignore>,
    /// Rules that an override turned off: id and the place of the override.
    pub off: Vec<(String, Arc<str>, Place)>,
}

/// Loads every named policy: `pack:NAME`, `pack:NAME@VERSION` or a file.
///
/// # Errors
/// [`LoadError`].
pub fn load(names: &[String], source: &dyn Source) -> Result<PolicySet, LoadError> {
    let mut loader = Loader { source, set: PolicySet::default(), loaded: BTreeMap::new() };
    for name in names {
        loader.load(name, None, DEEPEST)?;
    }
    Ok(loader.set)
}

struct Loader<'s> {
    source: &'s dyn Source,
    set: PolicySet,
    /// Files by name with their version: each is taken once.
    loaded: BTreeMap<String, Option<Version>>,
}

impl Loader<'_> {
    fn load(&mut self, name: &str, from: Option<&str>, left: usize) -> Result<(), LoadError> {
        let missing = |what: String| LoadError::Missing { name: name.to_owned(), what };
        if left == 0 {
            return Err(missing(format!(
                "extended more than {DEEPEST} deep; do two policies extend each other?"
            )));
        }
        let (text, file, version) = match name.strip_prefix("pack:") {
            Some(pack) => {
                let (pack, version) = match pack.split_once('@') {
                    None => (pack, None),
                    Some((pack, version)) => {
                        let parsed = Version::parse(version).ok_or_else(|| {
                            missing(format!(
                                "found version {version:?}, expected one such as 1.31, or latest"
                            ))
                        })?;
                        (pack, Some(parsed))
                    }
                };
                let text = packs::get(pack).ok_or_else(|| {
                    let hint = crate::spelling::hint(pack, packs::names());
                    let names: Vec<&str> = packs::names().collect();
                    missing(format!("no such pack{hint}; there are {}", names.join(", ")))
                })?;
                (text.to_owned(), format!("pack:{pack}"), version)
            }
            None => {
                let (text, file) = self.source.text(name, from).map_err(missing)?;
                (text, file, None)
            }
        };
        match self.loaded.get(&file) {
            Some(known) if *known == version => return Ok(()),
            Some(_) => return Err(missing("asked for twice, in two versions".to_owned())),
            None => self.loaded.insert(file.clone(), version),
        };
        let policy = read(&text, &file, version)?;
        self.add(policy, &file, version, left)
    }

    fn add(
        &mut self,
        policy: Policy,
        file: &str,
        version: Option<Version>,
        left: usize,
    ) -> Result<(), LoadError> {
        let before = self.set.rules.len();
        for (name, place) in &policy.extends {
            // A pack of the Pod Security Standards extends its base in the same version.
            let versioned = match version {
                Some(version) if file.starts_with("pack:") && !name.contains('@') => {
                    format!("{name}@{version}")
                }
                _ => name.clone(),
            };
            self.load(&versioned, Some(file), left - 1).map_err(|error| match error {
                LoadError::Missing { name, what } => PolicyError {
                    file: Arc::from(file),
                    place: *place,
                    what: format!("extends {name}: {what}"),
                }
                .into(),
                error => error,
            })?;
        }
        // Within restricted, baseline's controls make way for the stricter ones.
        if policy.level == Some(Level::Restricted) {
            for check in self.set.rules[before..].iter_mut().flat_map(|rule| &mut rule.declared) {
                if let Check::PodSecurity { level, .. } = check {
                    *level = Level::Restricted;
                }
            }
        }
        let fail = |place: Place, what: String| PolicyError { file: Arc::from(file), place, what };
        for rule in policy.rules {
            if let Some(other) = self.set.rules.iter().find(|other| other.id == rule.id) {
                let what =
                    format!("rule {:?} is already in {}; change it with an override", rule.id, other.file);
                return Err(fail(rule.at, what).into());
            }
            self.set.rules.push(rule);
        }
        for change in policy.overrides {
            let Some(index) = self.set.rules.iter().position(|rule| rule.id == change.rule) else {
                let hint =
                    crate::spelling::hint(&change.rule, self.set.rules.iter().map(|rule| rule.id.as_str()));
                return Err(fail(change.at, format!("override: no rule {:?}{hint}", change.rule)).into());
            };
            match change.severity {
                Some(severity) => self.set.rules[index].severity = severity,
                None => {
                    let rule = self.set.rules.remove(index);
                    self.set.off.push((rule.id, change.file, change.at));
                }
            }
        }
        self.set.ignores.extend(policy.ignores);
        Ok(())
    }
}

impl PolicySet {
    /// The rule of an id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }
}
