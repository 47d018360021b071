//! What a rule checks: expressions and the predicates that CEL cannot say.

use super::*;

pub(super) const CHECK_KEYS: [&str; 7] =
    ["assert", "capabilities", "seccomp", "syscall", "verify_installed", "no_escape_paths", "pod_security"];

impl Reader {
    pub(super) fn checks(&self, node: &Node) -> Result<Vec<Check>> {
        let mut checks = Vec::new();
        for key in CHECK_KEYS {
            let Some(value) = node.get(key) else { continue };
            checks.push(match key {
                "assert" => self.expression(value)?,
                "capabilities" => self.capabilities(value)?,
                "seccomp" => self.seccomp(value)?,
                "syscall" => self.syscall(value)?,
                "pod_security" => self.control(value)?,
                flag => match value.bool() {
                    Some(true) if flag == "verify_installed" => Check::VerifyInstalled,
                    Some(true) => Check::NoEscapePaths,
                    _ => {
                        return self
                            .fail(value.at, format!("{flag}: found {}, expected true", value.describe()));
                    }
                },
            });
        }
        Ok(checks)
    }

    fn expression(&self, node: &Node) -> Result<Check> {
        let text = self.text(node, "assert")?;
        Expression::new(text).map(Check::Assert).or_else(|error| {
            // A block begins on the line after its key.
            let block = text.contains('\n');
            let place =
                Place { line: node.at.line + error.line, column: if block { 1 } else { node.at.column } };
            self.fail(place, format!("assert: {}", error.what))
        })
    }

    fn capabilities(&self, node: &Node) -> Result<Check> {
        self.keys(node, &["at_most"], "capabilities")?;
        let Some(list) = node.get("at_most") else {
            return self.fail(node.at, "capabilities: at_most is missing");
        };
        let mut at_most = std::collections::BTreeSet::new();
        for item in self.list(list, "at_most")? {
            let text = self.text(item, "at_most")?;
            match (plim_model::Capability::from_name(text), text) {
                (Some(capability), _) => {
                    at_most.insert(capability.to_string());
                }
                (None, "docker") => {
                    at_most.extend(plim_model::CapabilitySet::DOCKER_DEFAULT.names());
                }
                (None, _) => {
                    let known: Vec<String> = plim_model::Capability::known().map(|c| c.to_string()).collect();
                    let full = format!("CAP_{}", text.to_uppercase().trim_start_matches("CAP_"));
                    let hint = crate::spelling::hint(&full, known.iter().map(String::as_str));
                    return self.fail(item.at, format!("at_most: unknown capability {text:?}{hint}"));
                }
            }
        }
        Ok(Check::Capabilities { at_most })
    }

    fn seccomp(&self, node: &Node) -> Result<Check> {
        self.keys(node, &["subset_of", "equals"], "seccomp")?;
        let (relation, profile) = match (node.get("subset_of"), node.get("equals")) {
            (Some(profile), None) => (Relation::SubsetOf, profile),
            (None, Some(profile)) => (Relation::Equals, profile),
            _ => return self.fail(node.at, "seccomp: expected one of subset_of and equals"),
        };
        let name = self.text(profile, "seccomp")?;
        if let Some(preset) = name.strip_prefix("preset:")
            && plim_seccomp::presets::get(preset).is_none()
        {
            let hint = crate::spelling::hint(preset, plim_seccomp::presets::names());
            return self.fail(profile.at, format!("seccomp: unknown preset {preset:?}{hint}"));
        }
        Ok(Check::Seccomp { relation, profile: name.to_owned() })
    }

    fn syscall(&self, node: &Node) -> Result<Check> {
        self.keys(node, &["must_deny", "must_allow"], "syscall")?;
        let calls = |key: &str| -> Result<Vec<Call>> {
            let Some(list) = node.get(key) else { return Ok(Vec::new()) };
            self.list(list, key)?.into_iter().map(|item| self.call(item, key)).collect()
        };
        let (must_deny, must_allow) = (calls("must_deny")?, calls("must_allow")?);
        if must_deny.is_empty() && must_allow.is_empty() {
            return self.fail(node.at, "syscall: expected calls in must_deny or must_allow");
        }
        Ok(Check::Syscall { must_deny, must_allow })
    }

    fn call(&self, node: &Node, key: &str) -> Result<Call> {
        let text = self.text(node, key)?;
        crate::judge::syscall::parse(text).or_else(|what| self.fail(node.at, format!("{key}: {what}")))
    }

    fn control(&self, node: &Node) -> Result<Check> {
        let ids: Vec<&str> = Control::all().map(Control::id).collect();
        let control = self.word(node, "pod_security", &ids, Control::from_id)?;
        let Some(PodSecurity { level, version }) = self.pod_security else {
            return self
                .fail(node.at, "pod_security: the policy does not say its level and version at the top");
        };
        Ok(Check::PodSecurity { control, level, version })
    }
}

pub(super) enum Side {
    Live,
    Declared,
    Both,
}

/// Which targets a check that stands in the rule itself is about.
pub(super) fn side(check: &Check) -> Side {
    match check {
        Check::Assert(expression) if expression.names("snapshot") => Side::Live,
        Check::Assert(expression) if expression.names("workload") || expression.names("container") => {
            Side::Declared
        }
        Check::VerifyInstalled => Side::Live,
        Check::PodSecurity { .. } => Side::Declared,
        Check::Assert(_)
        | Check::Capabilities { .. }
        | Check::Seccomp { .. }
        | Check::Syscall { .. }
        | Check::NoEscapePaths => Side::Both,
    }
}

pub(super) fn misplaced(check: &Check, into: u8) -> bool {
    matches!((side(check), into), (Side::Live, 1)) || matches!((check, into), (Check::PodSecurity { .. }, 0))
}

pub(super) fn check_name(check: &Check) -> &'static str {
    match check {
        Check::Assert(_) => "this expression",
        Check::Capabilities { .. } => "capabilities",
        Check::Seccomp { .. } => "seccomp",
        Check::Syscall { .. } => "syscall",
        Check::VerifyInstalled => "verify_installed",
        Check::NoEscapePaths => "no_escape_paths",
        Check::PodSecurity { .. } => "pod_security",
    }
}
