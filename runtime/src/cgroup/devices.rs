//! Device rules: Docker's default list, v1's files, and the program that v2 takes instead. Pure.
//!
//! What the rules mean is told bit by bit: each of read, write and mknod that is asked of a device is decided by the last
//! rule that covers that device and that bit; what no rule covers is as the parent cgroup has it (allowed, for the
//! program: the parents' programs run as well and may still refuse). So two rules that allow `r` and `w` allow opening
//! for both, as in v1.

use super::{CgroupError, Write};
use crate::config::DeviceRule;

/// One instruction of the kernel's `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DeviceInsn {
    /// Operation.
    pub code: u8,
    /// Destination register in the low four bits, source in the high four.
    pub registers: u8,
    /// Jump offset or address offset.
    pub offset: i16,
    /// Immediate operand.
    pub imm: i32,
}

/// `BPF_DEVCG_ACC_*` (linux/bpf.h).
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const ALL: i32 = MKNOD | READ | WRITE;
/// `BPF_DEVCG_DEV_*`.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// Largest device numbers (`MINORBITS` is 20; dev_t keeps 12 bits for the major).
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// What Docker gives a container: moby's `DefaultLinuxSpec` followed by runc's `AllowedDevices`, less what has no effect
/// (moby denies fuse, 10:229, which the first rule denies already). runc ≥ 1.2 no longer has tun, 10:200.
pub fn docker_default_rules() -> Vec<DeviceRule> {
    let rule = |allow, kind, major, minor, access: &str| DeviceRule {
        allow,
        kind,
        major,
        minor,
        access: access.into(),
    };
    let mut rules = vec![
        rule(false, 'a', None, None, "rwm"),
        // Making a node is harmless while opening it is refused; package managers do make them.
        rule(true, 'c', None, None, "m"),
        rule(true, 'b', None, None, "m"),
    ];
    let nodes = [
        (1, Some(3)), // null
        (1, Some(5)), // zero
        (1, Some(7)), // full
        (1, Some(8)), // random
        (1, Some(9)), // urandom
        (5, Some(0)), // tty
        (5, Some(1)), // console
        (5, Some(2)), // ptmx
        (136, None),  // pts/*
    ];
    rules.extend(nodes.into_iter().map(|(major, minor)| rule(true, 'c', Some(major), minor, "rwm")));
    rules
}

/// A rule whose words were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    /// `None` is both kinds.
    kind: Option<i32>,
    major: Option<i32>,
    minor: Option<i32>,
    access: i32,
}

impl Rule {
    fn check(rule: &DeviceRule) -> Result<Rule, CgroupError> {
        let invalid =
            |found: String, expected: &str| Err(CgroupError::invalid("device rule", found, expected));
        let kind = match rule.kind {
            'a' => None,
            'b' => Some(BLOCK),
            'c' => Some(CHARACTER),
            other => return invalid(format!("kind {other:?}"), "a, b or c"),
        };
        if kind.is_none() && (rule.major.is_some() || rule.minor.is_some()) {
            // The kernel's v1 parser stops at `a` and would apply the rule to every device.
            return invalid(spell(rule), "kind b or c beside a device number");
        }
        let mut access = 0;
        for letter in rule.access.chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                other => return invalid(format!("access {other:?}"), "any of r, w, m"),
            };
        }
        if access == 0 {
            return invalid("no access".to_owned(), "any of r, w, m");
        }
        let number = |value: Option<u32>, max: u32| match value {
            Some(value) if value > max => {
                Err(CgroupError::invalid("device rule", value, format!("a device number up to {max}")))
            }
            other => Ok(other.and_then(|value| i32::try_from(value).ok())),
        };
        Ok(Rule {
            allow: rule.allow,
            kind,
            major: number(rule.major, MAJOR_MAX)?,
            minor: number(rule.minor, MINOR_MAX)?,
            access,
        })
    }

    fn is_everything(&self) -> bool {
        self.covers_every_device() && self.access == ALL
    }

    fn covers_every_device(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none()
    }

    /// Some device is covered by both.
    fn overlaps(&self, other: &Rule) -> bool {
        let meet = |a: Option<i32>, b: Option<i32>| a.is_none() || b.is_none() || a == b;
        meet(self.kind, other.kind) && meet(self.major, other.major) && meet(self.minor, other.minor)
    }

    fn same_devices(&self, other: &Rule) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }
}

/// As v1's files spell a rule.
fn spell(rule: &DeviceRule) -> String {
    let number = |value: Option<u32>| value.map_or_else(|| "*".to_owned(), |value| value.to_string());
    format!("{} {}:{} {}", rule.kind, number(rule.major), number(rule.minor), rule.access)
}

/// `devices.deny` and `devices.allow` in the rules' order.
///
/// # Errors
/// Bad words; and rules that the files cannot say: v1 keeps one default and a list of exceptions, and a rule that takes
/// back a part of an earlier exception (deny `c 1:3` after allowing `c 1:*`) is accepted by the kernel **without effect**
/// (security/device_cgroup.c, `dev_exception_rm` wants the same device numbers).
pub(super) fn v1_writes(rules: &[DeviceRule]) -> Result<Vec<Write>, CgroupError> {
    let mut default_allow = true;
    let mut exceptions: Vec<(Rule, String)> = Vec::new();
    let mut writes = Vec::new();
    for written in rules {
        let rule = Rule::check(written)?;
        let text = spell(written);
        let file = if rule.allow { "devices.allow" } else { "devices.deny" };
        let refuse = |why: String| Err(CgroupError::DeviceRule { rule: text.clone(), why });
        if rule.is_everything() {
            default_allow = rule.allow;
            exceptions.clear();
            // `a` alone: it resets default and exceptions.
            writes.push(Write::one("device rules", "devices", file, "a", "rule"));
            continue;
        }
        if rule.covers_every_device() {
            return refuse(
                "kind a is only understood with rwm there; write one rule for b and one for c".to_owned(),
            );
        }
        if rule.allow == default_allow {
            let cut = exceptions.iter().find(|(old, _)| {
                old.access & rule.access != 0 && old.overlaps(&rule) && !old.same_devices(&rule)
            });
            if let Some((_, old)) = cut {
                return refuse(format!("it takes back a part of {old:?}, which the kernel ignores there"));
            }
            for (old, _) in exceptions.iter_mut().filter(|(old, _)| old.same_devices(&rule)) {
                old.access &= !rule.access;
            }
        } else {
            exceptions.push((rule, text.clone()));
        }
        writes.push(Write::one("device rules", "devices", file, text.clone(), "rule"));
    }
    Ok(writes)
}

// Operations: class | operation | source (linux/bpf_common.h, linux/bpf.h).
const LDX_W: u8 = 0x61;
const MOV64_K: u8 = 0xb7;
const MOV64_X: u8 = 0xbf;
const AND64_K: u8 = 0x57;
const RSH64_K: u8 = 0x77;
const JEQ_K: u8 = 0x15;
const JNE_K: u8 = 0x55;
const EXIT: u8 = 0x95;

/// Registers: the result, the context on entry, and ours.
const R0: u8 = 0;
const R1: u8 = 1;
const TYPE: u8 = 2;
const ASKED: u8 = 3;
const DEVICE_MAJOR: u8 = 4;
const DEVICE_MINOR: u8 = 5;
const SCRATCH: u8 = 0;

/// Most instructions that every kernel loads (`BPF_MAXINSNS`).
const MAX_INSNS: usize = 4096;

fn insn(code: u8, dst: u8, src: u8, offset: i16, imm: i32) -> DeviceInsn {
    DeviceInsn { code, registers: dst | (src << 4), offset, imm }
}

/// The program of type `BPF_PROG_TYPE_CGROUP_DEVICE` for `struct bpf_cgroup_dev_ctx` (access_type, major, minor: three
/// u32; the low half of access_type is the kind, the high half the access asked). It returns 1 to allow, 0 to refuse.
///
/// From the last rule to the first: an allowing rule strikes its bits off what is asked and allows when nothing is left;
/// a denying rule refuses when a bit that is still asked is one of its own.
///
/// # Errors
/// Bad words in a rule; more rules than fit into 4096 instructions.
pub fn v2_program(rules: &[DeviceRule]) -> Result<Vec<DeviceInsn>, CgroupError> {
    let mut program = vec![
        insn(LDX_W, TYPE, R1, 0, 0),
        insn(MOV64_X, ASKED, TYPE, 0, 0),
        insn(AND64_K, TYPE, 0, 0, 0xffff),
        insn(RSH64_K, ASKED, 0, 0, 16),
        insn(LDX_W, DEVICE_MAJOR, R1, 4, 0),
        insn(LDX_W, DEVICE_MINOR, R1, 8, 0),
    ];
    let checked = rules.iter().map(Rule::check).collect::<Result<Vec<_>, _>>()?;
    let mut decided = false;
    for rule in checked.iter().rev() {
        let verdict = [insn(MOV64_K, R0, 0, 0, i32::from(rule.allow)), insn(EXIT, 0, 0, 0, 0)];
        let mut body = Vec::new();
        match (rule.allow, rule.access) {
            // Whatever is asked, even nothing.
            (_, ALL) => body.extend(verdict),
            (true, access) => {
                body.push(insn(AND64_K, ASKED, 0, 0, ALL & !access));
                body.push(insn(JNE_K, ASKED, 0, 2, 0));
                body.extend(verdict);
            }
            (false, access) => {
                body.push(insn(MOV64_X, SCRATCH, ASKED, 0, 0));
                body.push(insn(AND64_K, SCRATCH, 0, 0, access));
                body.push(insn(JEQ_K, SCRATCH, 0, 2, 0));
                body.extend(verdict);
            }
        }
        let tests: Vec<(u8, i32)> =
            [(TYPE, rule.kind), (DEVICE_MAJOR, rule.major), (DEVICE_MINOR, rule.minor)]
                .into_iter()
                .filter_map(|(register, value)| value.map(|value| (register, value)))
                .collect();
        for (index, (register, value)) in tests.iter().enumerate() {
            // Over the tests that follow and the body; at most 7.
            let skip = i16::try_from(tests.len() - index - 1 + body.len()).unwrap_or(i16::MAX);
            program.push(insn(JNE_K, *register, 0, skip, *value));
        }
        program.extend(body);
        if rule.is_everything() {
            // Earlier rules cannot be reached; the verifier refuses such code.
            decided = true;
            break;
        }
    }
    if !decided {
        program.push(insn(MOV64_K, R0, 0, 0, 1));
        program.push(insn(EXIT, 0, 0, 0, 0));
    }
    if program.len() > MAX_INSNS {
        let found = format!("{} rules, {} instructions", rules.len(), program.len());
        return Err(CgroupError::invalid("device rules", found, format!("at most {MAX_INSNS} instructions")));
    }
    Ok(program)
}

#[cfg(test)]
mod tests;
