//! What is let through because nobody asked: other architectures, x32, numbers without a rule.

use super::rules::some;
use super::{Class, Finding, Permit, Severity, View};
use crate::action::Action;
use crate::arch::Arch;
use crate::diagram::Diagram;
use crate::interpret::SeccompData;
use crate::syscalls::{self, SyscallNr};

/// S018: no seccomp at all.
pub(super) fn off(pointer: Option<&str>) -> Finding {
    let message = "seccomp is off: every system call is made".to_owned();
    Finding::new(Class::OpenDefault, Severity::Critical, message)
        .evidence(["no filter is installed".to_owned()])
        .pointer(pointer.map(str::to_owned))
}

/// S018: numbers that the filter does not speak of are let through.
pub(super) fn open_default(view: &View<'_>) -> Vec<Finding> {
    let here = view.store.at(view.diagram, view.native.audit_token(), None);
    if view.refuses_nothing() {
        let message = "the filter lets every call through".to_owned();
        let first = SeccompData { arch: view.native.audit_token(), ..SeccompData::default() };
        let finding = Finding::new(Class::OpenDefault, Severity::Critical, message)
            .evidence(["no call is refused, whatever its arguments".to_owned()])
            .witness(Some(&first));
        return vec![finding.pointer(view.resolved.map(|_| "/defaultAction".to_owned()))];
    }
    let classes = view.store.number_classes(here);
    let Some(most) = classes.iter().max_by_key(|class| class.count) else { return Vec::new() };
    if view.least(most.rest) != Permit::Made {
        return Vec::new();
    }
    let message = "calls that no rule names are let through, those of future kernels among them".to_owned();
    let example = view.example_of(most.rest, view.native, SyscallNr(most.first), |_| true);
    vec![
        Finding::new(Class::OpenDefault, Severity::Medium, message)
            .evidence([format!("number {} is named by no rule", most.first)])
            .witness(example.as_ref())
            .pointer(view.resolved.map(|_| "/defaultAction".to_owned())),
    ]
}

/// The other ABIs that a machine's kernel serves (with a token of their own).
fn companions(native: Arch) -> &'static [Arch] {
    match native {
        Arch::X86_64 => &[Arch::X86],
        Arch::Aarch64 => &[Arch::Arm],
        Arch::S390x => &[Arch::S390],
        Arch::Ppc64 => &[Arch::Ppc],
        Arch::Parisc64 => &[Arch::Parisc],
        Arch::Mips64 => &[Arch::Mips, Arch::Mips64n32],
        Arch::Mipsel64 => &[Arch::Mipsel, Arch::Mipsel64n32],
        _ => &[],
    }
}

/// S003: the token decides what a number means; a filter that does not look at it judges `socket` by another call's number.
pub(super) fn foreign(view: &View<'_>) -> Vec<Finding> {
    let unnamed = if view.guarded { view.store.unnamed_arch(view.diagram) } else { view.diagram };
    let mut findings = Vec::new();
    for arch in companions(view.native) {
        let here = view.store.at(view.diagram, arch.audit_token(), None);
        let spoken_of = view.guarded && here != unnamed;
        let native = view.store.at(view.diagram, view.native.audit_token(), None);
        // A filter that treats both tokens alike knows only one of the two meanings of a number.
        if (spoken_of && here != native) || view.most(here) != Permit::Made || view.resolved.is_some() {
            continue;
        }
        // A call that is refused natively and made by its number on the other architecture.
        let made = View::calls(*arch).find_map(|(name, nr)| {
            let refused = view.of(view.native, name)?;
            let there = view.at(*arch, nr);
            (view.most(refused) == Permit::Refused && view.most(there) == Permit::Made).then_some((name, nr))
        });
        let (severity, message) = match made {
            Some((name, _)) => (
                Severity::High,
                format!(
                    "{name} is refused on {} and made by its number on {}",
                    view.native.name(),
                    arch.name()
                ),
            ),
            None => (
                Severity::Medium,
                format!("calls of {} are judged by numbers that mean other calls there", arch.name()),
            ),
        };
        let example =
            made.and_then(|(_, nr)| view.example(*arch, nr, |action| Permit::of(action) == Permit::Made));
        let evidence = if view.guarded {
            format!("the filter does not tell {arch} from {}", view.native)
        } else {
            "the filter never looks at seccomp_data.arch".to_owned()
        };
        findings.push(
            Finding::new(Class::ForeignArchitecture, severity, message)
                .evidence([evidence])
                .witness(example.as_ref()),
        );
    }
    findings
}

/// S004: x32 calls carry x86-64's token and numbers with bit 30, so a list of refused numbers does not meet them.
pub(super) fn x32(view: &View<'_>) -> Vec<Finding> {
    if view.native != Arch::X86_64 {
        return Vec::new();
    }
    let mut open: Vec<(&'static str, SyscallNr)> = Vec::new();
    for (name, nr) in View::calls(Arch::X86_64) {
        // By x32's own number, and by x86-64's with the bit.
        let own = syscalls::number(Arch::X32, name);
        let numbers = [own, Some(SyscallNr(nr.0 | crate::arch::X32_SYSCALL_BIT))];
        let refused = view.most(view.at(Arch::X86_64, nr));
        let more = |nr: &SyscallNr| View::is_x32(nr.0) && view.most(view.at(Arch::X32, *nr)) > refused;
        if let Some(nr) = numbers.into_iter().flatten().find(more) {
            open.push((name, nr));
        }
    }
    let Some((_, first)) = open.first() else { return Vec::new() };
    let names: Vec<&str> = open.iter().map(|(name, _)| *name).collect();
    let message =
        format!("as x32 calls, {} are let through that x86-64 calls are not: {}", names.len(), some(&names));
    let example = view.example(Arch::X32, *first, |action: Action| Permit::of(action) > Permit::Refused);
    let pointer = example.and_then(|call| view.pointer(&call));
    let evidence = "their numbers have bit 30 (0x40000000) set, under x86-64's token".to_owned();
    vec![
        Finding::new(Class::X32, Severity::High, message)
            .evidence([evidence])
            .witness(example.as_ref())
            .pointer(pointer),
    ]
}

/// Whether every answer is this one.
pub(super) fn always(view: &View<'_>, diagram: Diagram, action: Action) -> bool {
    view.store.only_answer(diagram) == Some(action)
}
