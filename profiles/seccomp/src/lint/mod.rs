//! Weaknesses and mistakes of profiles and filters, each with a stable id, evidence and a remedy.
//!
//! Everything that can be decided exactly is decided on decision diagrams ([`crate::diagram`]): "this call gets more with a high bit
//! set", "this rule never decides". So a finding's witness is a call that really is treated so. The classes are described in
//! `README.md` beside this file.
//!
//! ```
//! use plim_model::CapabilitySet;
//! use plim_seccomp::{Arch, dialect, lint, resolve::{Facts, KernelVersion}};
//! let written = dialect::parse(br#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
//!     {"names": ["raed"], "action": "SCMP_ACT_ALLOW"}]}"#).unwrap();
//! let facts = Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KernelVersion { major: 6, minor: 1 });
//! let report = lint::lint_profile(&written, &facts, None);
//! let finding = report.findings.iter().find(|f| f.id == "PLIM-S010").unwrap();
//! assert_eq!(finding.pointer.as_deref(), Some("/syscalls/0/names/0"));
//! assert!(finding.remedy.contains("read"));
//! ```

pub mod bitmap;
mod class;
mod equivalent;
mod example;
mod fallback;
mod guard;
mod multiplex;
mod names;
mod purpose;
mod rules;
mod view;
mod width;

use schemars::JsonSchema;
use serde::Serialize;

use crate::arch::Arch;
use crate::bpf::Program;
use crate::diagram::{Diagram, Store, Undecided};
use crate::dialect::Written;
use crate::installed::{Engine, Vintage, install};
use crate::interpret::SeccompData;
use crate::kernel::KernelVersion;
use crate::resolve::{Facts, Resolved, UnknownNames, resolve};
use crate::witness::Witness;
pub use class::{Class, Severity};
pub use multiplex::still_made;
pub(crate) use view::{Permit, View};

/// The version of [`Report`]'s JSON. A reader refuses another major number and ignores keys that it does not know.
pub const VERSION: &str = "1.0";

/// One weakness or mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Finding {
    /// `PLIM-S001`, …; never reused for another class.
    pub id: &'static str,
    /// What the class is called.
    pub title: &'static str,
    /// How bad this one is.
    pub severity: Severity,
    /// What is wrong here, one sentence.
    pub message: String,
    /// What shows it, one fact each.
    pub evidence: Vec<String>,
    /// A call that is treated so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
    /// JSON pointer to the place in the profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    fn new(class: Class, severity: Severity, message: String) -> Finding {
        Finding {
            id: class.id(),
            title: class.title(),
            severity,
            message,
            evidence: Vec::new(),
            witness: None,
            pointer: None,
            remedy: class.remedy().to_owned(),
        }
    }

    fn evidence(mut self, facts: impl IntoIterator<Item = String>) -> Finding {
        self.evidence.extend(facts);
        self
    }

    fn witness(mut self, call: Option<&SeccompData>) -> Finding {
        self.witness = call.map(Witness::from);
        self
    }

    fn pointer(mut self, pointer: Option<String>) -> Finding {
        self.pointer = pointer;
        self
    }

    fn remedy(mut self, remedy: String) -> Finding {
        self.remedy = remedy;
        self
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// [`VERSION`].
    pub version: &'static str,
    /// The gravest first, then by id and place.
    pub findings: Vec<Finding>,
    /// What could not be decided, and why; a report with entries here is no clean bill.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undecided: Vec<String>,
}

/// The JSON Schema of [`Report`].
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Report).to_value()
}

/// Looks at a profile as it is written and means under `facts`; unknown names are findings, whatever `facts` says of them.
///
/// `libseccomp`, when given, is the library that will install it: names that it does not know are findings.
pub fn lint_profile(written: &Written, facts: &Facts, libseccomp: Option<Vintage>) -> Report {
    lint(written, facts, libseccomp, |store, resolved, _| store.of_resolved(resolved))
}

/// Looks at a profile and at what `engine` makes of it with libseccomp `vintage`: what the rules say of each other is found in the
/// profile, what gets through in the filter that is installed. A finding that has no place in the profile has no pointer.
pub fn lint_installed(written: &Written, facts: &Facts, engine: Engine, vintage: Vintage) -> Report {
    let library = engine.runtime().map(|_| vintage);
    lint(written, facts, library, |store, _, facts| {
        let installed = install(written, facts, engine, vintage).map_err(|error| Undecided {
            why: format!("{} refuses the profile: {error}", engine.name()),
            instruction: None,
        })?;
        store.of_installed(&installed)
    })
}

/// Entries that another one of the same call, with another action, leaves without effect (S006): a profile that has some
/// contradicts itself. Engines run it all the same.
pub fn contradictions(written: &Written, facts: &Facts, resolved: &Resolved) -> Vec<Finding> {
    let conflict = Class::Conflict.id();
    rules::replaced(written, facts, resolved).into_iter().filter(|finding| finding.id == conflict).collect()
}

fn lint(
    written: &Written,
    facts: &Facts,
    libseccomp: Option<Vintage>,
    meaning: impl FnOnce(&mut Store, &Resolved, &Facts) -> Result<Diagram, Undecided>,
) -> Report {
    let mut report = Collector::default();
    let facts = Facts { unknown_names: UnknownNames::Skip, ..*facts };
    report.take(names::unknown(written, &facts));
    if let Some(vintage) = libseccomp {
        report.take(names::too_new(written, &facts, vintage));
    }
    report.take(rules::equal_to_default(written, &facts));
    report.take(rules::any_of(written, &facts));
    report.take(width::constant_conditions(written, &facts));
    report.take(rules::missing_log(written));
    let resolved = match resolve(written, &facts) {
        Ok(Some(resolved)) => resolved,
        Ok(None) => {
            report.take(vec![guard::off(Some("/defaultAction"))]);
            example::fill(&mut report.findings, written, &facts, None);
            return report.finish();
        }
        Err(error) if error.pointer().is_some_and(|pointer| pointer.contains("/syscalls")) => {
            report.take(vec![rules::contradiction(&error)]);
            let why = "the profile has no meaning as long as its rules contradict each other";
            report.undecided.push(why.to_owned());
            example::fill(&mut report.findings, written, &facts, None);
            return report.finish();
        }
        Err(error) => {
            report.undecided.push(format!("the profile cannot be resolved: {error}"));
            example::fill(&mut report.findings, written, &facts, None);
            return report.finish();
        }
    };
    report.take(rules::replaced(written, &facts, &resolved));
    let mut store = Store::new();
    report.try_take(rules::shadowed(&mut store, &resolved));
    report.try_take(rules::overlapping(&mut store, &resolved));
    match meaning(&mut store, &resolved, &facts) {
        Ok(diagram) => report.diagram(store, diagram, facts.arch, facts.kernel, Some(&resolved)),
        Err(why) => report.undecided.push(why.to_string()),
    }
    example::fill(&mut report.findings, written, &facts, Some(&resolved));
    report.finish()
}

/// Looks at installed filters, oldest first. `native` is the machine's architecture, `kernel` its release.
pub fn lint_filter(programs: &[Program], native: Arch, kernel: KernelVersion) -> Report {
    let mut report = Collector::default();
    if programs.is_empty() {
        let first = SeccompData { arch: native.audit_token(), ..SeccompData::default() };
        report.take(vec![guard::off(None).witness(Some(&first))]);
        return report.finish();
    }
    let mut store = Store::new();
    match store.of_stack(programs) {
        Ok(diagram) => {
            report.take(bitmap::lost(&mut store, diagram, programs, native));
            report.diagram(store, diagram, native, kernel, None);
        }
        Err(why) => report.undecided.push(why.to_string()),
    }
    report.finish()
}

#[derive(Default)]
struct Collector {
    findings: Vec<Finding>,
    undecided: Vec<String>,
}

impl Collector {
    fn take(&mut self, found: Vec<Finding>) {
        self.findings.extend(found);
    }

    fn try_take(&mut self, found: Result<Vec<Finding>, Undecided>) {
        match found {
            Ok(found) => self.take(found),
            Err(why) => self.undecided.push(why.to_string()),
        }
    }

    /// What the meaning alone shows, the same for profiles and filters.
    fn diagram(
        &mut self,
        store: Store,
        diagram: Diagram,
        native: Arch,
        kernel: KernelVersion,
        resolved: Option<&Resolved>,
    ) {
        let mut view = View::new(store, diagram, native, resolved);
        self.take(guard::open_default(&view));
        if view.refuses_nothing() {
            return;
        }
        self.take(guard::foreign(&view));
        self.take(guard::x32(&view));
        self.try_take(width::narrow(&mut view));
        self.try_take(multiplex::companions(&mut view));
        self.take(fallback::wrong_error(&view));
        self.try_take(equivalent::unequal(&mut view));
        self.try_take(purpose::defeated(&mut view, kernel));
    }

    fn finish(mut self) -> Report {
        self.findings.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then_with(|| (a.id, &a.pointer, &a.message).cmp(&(b.id, &b.pointer, &b.message)))
        });
        self.findings.dedup();
        Report { version: VERSION, findings: self.findings, undecided: self.undecided }
    }
}

#[cfg(test)]
mod tests;
