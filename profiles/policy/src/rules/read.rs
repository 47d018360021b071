//! Policy files, from text to [`Policy`], with line and column in every complaint.

use std::sync::Arc;

use super::file::{Call, Check, Date, Ignore, Override, Policy, Relation, Rule, Scope};
use super::{Expression, Glob};
use crate::declared::Form;
use crate::finding::Severity;
use crate::pss::{Control, Level, Version};
use crate::text::{Kind, Limits, Node, Place, read as read_text};

/// Why a policy file was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {place}: {what}")]
pub struct PolicyError {
    /// The file.
    pub file: Arc<str>,
    /// Where in it.
    pub place: Place,
    /// What was found and what was expected.
    pub what: String,
}

mod checks;

use checks::{CHECK_KEYS, Side, check_name, misplaced, side};

type Result<T> = std::result::Result<T, PolicyError>;

const POLICY_KEYS: [&str; 8] =
    ["format", "name", "title", "extends", "pod_security", "rules", "overrides", "ignores"];
const RULE_KEYS: [&str; 16] = [
    "id",
    "title",
    "severity",
    "remedy",
    "why",
    "reference",
    "on",
    "live",
    "declared",
    "assert",
    "capabilities",
    "seccomp",
    "syscall",
    "verify_installed",
    "no_escape_paths",
    "pod_security",
];

/// What a policy of the Pod Security Standards is read for, when the file does not say.
#[derive(Clone, Copy)]
struct PodSecurity {
    level: Level,
    version: Version,
}

struct Reader {
    file: Arc<str>,
    pod_security: Option<PodSecurity>,
}

/// Reads a policy file. `version` is what stood behind `@` where a pack was asked for.
///
/// # Errors
/// [`PolicyError`]: hostile or malformed text, a key or word that there is not (with the nearest), an expression that does not
/// compile.
pub fn read(text: &str, file: &str, version: Option<Version>) -> Result<Policy> {
    let file: Arc<str> = Arc::from(file);
    let documents = read_text(text, Limits::POLICY).map_err(|error| PolicyError {
        file: file.clone(),
        place: error.place,
        what: error.what,
    })?;
    let mut reader = Reader { file, pod_security: None };
    match documents.as_slice() {
        [document] => reader.policy(document, version),
        [] => reader.fail(Place::START, "an empty file, expected a policy"),
        [_, second, ..] => reader.fail(second.at, "a second document, expected one policy"),
    }
}

impl Reader {
    fn fail<T>(&self, place: Place, what: impl Into<String>) -> Result<T> {
        Err(PolicyError { file: self.file.clone(), place, what: what.into() })
    }

    fn keys(&self, node: &Node, known: &[&str], what: &str) -> Result<()> {
        let Kind::Map(entries) = &node.kind else {
            return self.fail(node.at, format!("{what}: found {}, expected a mapping", node.describe()));
        };
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                let hint = crate::spelling::hint(&key.text, known.iter().copied());
                let all = known.join(", ");
                return self
                    .fail(key.at, format!("{what}: unknown key {:?}{hint}; there are {all}", key.text));
            }
        }
        Ok(())
    }

    fn text<'n>(&self, node: &'n Node, what: &str) -> Result<&'n str> {
        match node.text() {
            Some(text) if !text.trim().is_empty() => Ok(text.trim_end()),
            _ => self.fail(node.at, format!("{what}: found {}, expected text", node.describe())),
        }
    }

    fn required<'n>(&self, node: &'n Node, key: &str, what: &str) -> Result<&'n str> {
        match node.get(key) {
            Some(value) => self.text(value, key),
            None => self.fail(node.at, format!("{what}: {key} is missing")),
        }
    }

    fn optional(&self, node: &Node, key: &str) -> Result<Option<String>> {
        node.get(key).map(|value| self.text(value, key).map(str::to_owned)).transpose()
    }

    /// A list, or one value that stands for a list of one.
    fn list<'n>(&self, node: &'n Node, what: &str) -> Result<Vec<&'n Node>> {
        match &node.kind {
            Kind::List(items) => Ok(items.iter().collect()),
            Kind::Scalar { .. } if !node.is_null() => Ok(vec![node]),
            _ => self.fail(node.at, format!("{what}: found {}, expected a list", node.describe())),
        }
    }

    fn word<T>(
        &self,
        node: &Node,
        what: &str,
        known: &[&str],
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let text = self.text(node, what)?;
        match parse(text) {
            Some(value) => Ok(value),
            None => {
                let hint = crate::spelling::hint(text, known.iter().copied());
                self.fail(node.at, format!("{what}: found {text:?}{hint}, expected {}", known.join(", ")))
            }
        }
    }

    fn policy(&mut self, node: &Node, version: Option<Version>) -> Result<Policy> {
        self.keys(node, &POLICY_KEYS, "policy")?;
        match node.get("format") {
            None => {
                return self.fail(node.at, "policy: format is missing; this version reads format: \"1.0\"");
            }
            Some(format) => {
                let text = self.text(format, "format")?;
                if text.split('.').next() != Some("1") {
                    return self
                        .fail(format.at, format!("format {text:?} is not supported, expected \"1.0\""));
                }
            }
        }
        let name = self.required(node, "name", "policy")?.to_owned();
        if let Some(pod_security) = node.get("pod_security") {
            self.pod_security = Some(self.pod_security(pod_security, version)?);
        } else if version.is_some() {
            return self
                .fail(node.at, format!("policy {name} has no versions of the Pod Security Standards"));
        }
        let mut policy = Policy {
            name,
            title: self.optional(node, "title")?,
            extends: Vec::new(),
            level: self.pod_security.map(|pod_security| pod_security.level),
            rules: Vec::new(),
            overrides: Vec::new(),
            ignores: Vec::new(),
        };
        if let Some(extends) = node.get("extends") {
            for item in self.list(extends, "extends")? {
                policy.extends.push((self.text(item, "extends")?.to_owned(), item.at));
            }
        }
        for item in self.list_of(node, "rules")? {
            let rule = self.rule(item)?;
            if let Some(first) = policy.rules.iter().find(|other: &&Rule| other.id == rule.id) {
                return self.fail(
                    rule.at,
                    format!("rule {:?} stands twice, first in line {}", rule.id, first.at.line),
                );
            }
            policy.rules.push(rule);
        }
        for item in self.list_of(node, "overrides")? {
            policy.overrides.push(self.override_of(item)?);
        }
        for item in self.list_of(node, "ignores")? {
            policy.ignores.push(self.ignore(item)?);
        }
        Ok(policy)
    }

    fn list_of<'n>(&self, node: &'n Node, key: &str) -> Result<&'n [Node]> {
        match node.get(key) {
            None => Ok(&[]),
            Some(list) => match &list.kind {
                Kind::List(items) => Ok(items),
                _ => self.fail(list.at, format!("{key}: found {}, expected a list", list.describe())),
            },
        }
    }

    fn pod_security(&self, node: &Node, asked: Option<Version>) -> Result<PodSecurity> {
        self.keys(node, &["level", "version"], "pod_security")?;
        let level = node.get("level").map(|node| {
            self.word(node, "level", &["baseline", "restricted"], |word| match word {
                "baseline" => Some(Level::Baseline),
                "restricted" => Some(Level::Restricted),
                _ => None,
            })
        });
        let written = node
            .get("version")
            .map(|node| self.word(node, "version", &["latest", "1.0 and later"], Version::parse))
            .transpose()?;
        Ok(PodSecurity {
            level: level.transpose()?.unwrap_or(Level::Baseline),
            version: asked.or(written).unwrap_or(Version::LATEST),
        })
    }

    fn rule(&self, node: &Node) -> Result<Rule> {
        self.keys(node, &RULE_KEYS, "rule")?;
        let id = self.required(node, "id", "rule")?.to_owned();
        let legal = id.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
        if !legal || id.len() > 64 {
            let what = format!("id: found {id:?}, expected up to 64 letters, digits, dots and hyphens");
            return self.fail(node.get("id").map_or(node.at, |id| id.at), what);
        }
        let what = format!("rule {id}");
        let severity = match node.get("severity") {
            None => return self.fail(node.at, format!("{what}: severity is missing")),
            Some(severity) => self.severity(severity)?,
        };
        let mut rule = Rule {
            title: self.required(node, "title", &what)?.to_owned(),
            severity,
            remedy: self.required(node, "remedy", &what)?.to_owned(),
            why: self.optional(node, "why")?,
            reference: self.optional(node, "reference")?,
            on: node.get("on").map(|on| self.scope(on)).transpose()?.unwrap_or_default(),
            live: Vec::new(),
            declared: Vec::new(),
            file: self.file.clone(),
            at: node.at,
            id,
        };
        for check in self.checks(node)? {
            match side(&check) {
                Side::Live => rule.live.push(check),
                Side::Declared => rule.declared.push(check),
                Side::Both => {
                    // Checks hold compiled programs: read it once more for the other side.
                    rule.live.push(check);
                }
            }
        }
        for check in self.checks(node)? {
            if matches!(side(&check), Side::Both) {
                rule.declared.push(check);
            }
        }
        for (key, into, other) in [("live", 0, "declared"), ("declared", 1, "live")] {
            let Some(block) = node.get(key) else { continue };
            self.keys(block, &CHECK_KEYS, key)?;
            let checks = self.checks(block)?;
            if let Some(check) = checks.iter().find(|check| misplaced(check, into)) {
                let what = format!("{key}: {} is about {other} targets", check_name(check));
                return self.fail(block.at, what);
            }
            if into == 0 { rule.live.extend(checks) } else { rule.declared.extend(checks) }
        }
        if rule.live.is_empty() && rule.declared.is_empty() {
            return self
                .fail(node.at, format!("{what}: nothing to check; expected {}", CHECK_KEYS.join(", ")));
        }
        Ok(rule)
    }

    fn severity(&self, node: &Node) -> Result<Severity> {
        self.word(node, "severity", &Severity::ALL.map(Severity::as_str), Severity::from_name)
    }

    fn scope(&self, node: &Node) -> Result<Scope> {
        self.keys(node, &["kind", "engine", "image", "name", "namespace", "label"], "on")?;
        let globs = |key: &str| -> Result<Vec<Glob>> {
            let Some(list) = node.get(key) else { return Ok(Vec::new()) };
            self.list(list, key)?.into_iter().map(|item| Ok(Glob::new(self.text(item, key)?))).collect()
        };
        let kinds: Vec<&str> = ["live"].into_iter().chain(Form::ALL.map(Form::as_str)).collect();
        let kinds = match node.get("kind") {
            None => Vec::new(),
            Some(list) => self
                .list(list, "kind")?
                .into_iter()
                .map(|item| {
                    self.word(item, "kind", &kinds, |word| kinds.contains(&word).then(|| word.to_owned()))
                })
                .collect::<Result<_>>()?,
        };
        let labels = match node.get("label") {
            None => Vec::new(),
            Some(label) => match &label.kind {
                Kind::Map(entries) => entries
                    .iter()
                    .map(|(key, value)| Ok((key.text.clone(), Glob::new(self.text(value, &key.text)?))))
                    .collect::<Result<_>>()?,
                _ => {
                    return self
                        .fail(label.at, format!("label: found {}, expected a mapping", label.describe()));
                }
            },
        };
        Ok(Scope {
            kinds,
            engines: globs("engine")?,
            images: globs("image")?,
            names: globs("name")?,
            namespaces: globs("namespace")?,
            labels,
        })
    }

    fn override_of(&self, node: &Node) -> Result<Override> {
        self.keys(node, &["rule", "severity", "reason"], "override")?;
        let Some(severity) = node.get("severity") else {
            return self.fail(node.at, "override: severity is missing");
        };
        let known = ["low", "medium", "high", "critical", "off"];
        let severity = self.word(severity, "severity", &known, |word| match word {
            "off" => Some(None),
            word => Severity::from_name(word).map(Some),
        });
        // YAML 1.1 readers take `off` for false.
        Ok(Override {
            rule: self.required(node, "rule", "override")?.to_owned(),
            severity: severity?,
            file: self.file.clone(),
            at: node.at,
        })
    }

    fn ignore(&self, node: &Node) -> Result<Ignore> {
        self.keys(node, &["rule", "target", "reason", "expires"], "ignore")?;
        let expires = node
            .get("expires")
            .map(|node| self.word(node, "expires", &["a day as 2026-12-31"], Date::parse))
            .transpose()?;
        Ok(Ignore {
            rule: Glob::new(self.required(node, "rule", "ignore")?),
            target: Glob::new(self.required(node, "target", "ignore")?),
            reason: self.required(node, "reason", "ignore")?.to_owned(),
            expires,
            file: self.file.clone(),
            at: node.at,
        })
    }
}
