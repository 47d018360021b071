use super::*;
use crate::bpf::{Insn, code};
use crate::dialect;
use crate::interpret::{self, SeccompData};
use crate::presets;
use crate::resolve::{EnosysAbove, Facts, KernelVersion, resolve};
use plim_model::{Capability, CapabilitySet};

const KERNEL: KernelVersion = KernelVersion { major: 6, minor: 18 };

fn preset(name: &str, arch: Arch, caps: CapabilitySet, enosys_above: EnosysAbove) -> Resolved {
    let written = dialect::parse(presets::get(name).unwrap().as_bytes()).unwrap();
    let facts = Facts { enosys_above, ..Facts::new(arch, caps, KERNEL) };
    resolve(&written, &facts).unwrap().unwrap()
}

/// Arguments at every constant of the rules −1/0/+1, with and without high words.
fn argument_values(resolved: &Resolved) -> Vec<u64> {
    let mut values = vec![0, 1, u64::MAX, 1 << 32, 0xffff_ffff, 0x8000_0000_0000_0000];
    for rule in resolved.rules.values().flat_map(|rules| rules.values()).flatten() {
        for condition in &rule.conditions {
            let (_, value, two) = condition.test.to_oci();
            for around in [value, two, value | 1 << 32, value & 0xffff_ffff, value.rotate_left(32), !value] {
                values.extend([around.wrapping_sub(1), around, around.wrapping_add(1)]);
            }
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}

fn numbers() -> impl Iterator<Item = u32> {
    let edges = [0u32, 1 << 30, 1 << 31, 3 << 30]
        .into_iter()
        .flat_map(|base| (base..base + 1100).chain((1..40u32).map(move |below| base.wrapping_sub(below))));
    edges.chain(4000..6500).chain(0x000f_0000..0x000f_0010).chain(0x7fff_ff00..0x8000_0000)
}

fn assert_same(resolved: &Resolved, what: &str) {
    let program = compile(resolved).unwrap();
    let values = argument_values(resolved);
    let tokens: std::collections::BTreeSet<u32> =
        Arch::all().map(Arch::audit_token).chain([0, 7, u32::MAX]).collect();
    for arch in tokens {
        for nr in numbers() {
            let conditional = resolved.abi(arch, nr).is_some_and(|abi| {
                resolved.rules_of(abi, crate::SyscallNr(nr)).iter().any(|r| !r.conditions.is_empty())
            });
            let values = if conditional { values.as_slice() } else { &values[..1] };
            for value in values {
                for index in 0..if conditional { 2 } else { 1 } {
                    let mut call = SeccompData { nr, arch, ip: 0, args: [0; 6] };
                    call.args[index] = *value;
                    let (got, expected) = (interpret::run(&program, &call), resolved.decide(&call));
                    assert_eq!(got, expected, "{what}: {call:x?}");
                }
            }
        }
    }
}

#[test]
fn presets_compile_to_what_they_mean() {
    let all: CapabilitySet = Capability::known().collect();
    for name in presets::names() {
        for arch in [Arch::X86_64, Arch::Aarch64, Arch::S390x, Arch::Riscv64, Arch::Mips64] {
            for caps in [CapabilitySet::EMPTY, all] {
                for enosys in [EnosysAbove::Never, EnosysAbove::HighestNamed] {
                    let resolved = preset(name, arch, caps, enosys);
                    assert_same(&resolved, &format!("{name} {arch} {enosys:?}"));
                }
            }
        }
    }
}

/// Size is start-up time: the kernel checks, translates and compiles every instruction.
#[test]
fn the_default_is_small_and_shallow() {
    let caps = CapabilitySet::DOCKER_DEFAULT;
    let resolved = preset("docker-default", Arch::X86_64, caps, EnosysAbove::HighestNamed);
    let program = compile(&resolved).unwrap();
    let length = program.instructions().len();
    assert!(length <= 220, "{length} instructions");
    let executed = |arch: Arch, numbers: std::ops::Range<u32>| {
        let count = f64::from(numbers.end - numbers.start);
        let each = numbers.map(|nr| {
            let data = SeccompData { nr, arch: arch.audit_token(), ip: 0, args: [0; 6] };
            interpret::run_raw(&program, &data).executed
        });
        let each: Vec<u32> = each.collect();
        (f64::from(each.iter().sum::<u32>()) / count, each.into_iter().max().unwrap())
    };
    let (mean, most) = executed(Arch::X86_64, 0..467);
    assert!(mean <= 10.0 && most <= 16, "{mean:.2} on average, {most} at most");
    for (arch, numbers) in [(Arch::X86, 0..467), (Arch::X32, 1 << 30..(1 << 30) + 548)] {
        let (mean, most) = executed(arch, numbers);
        assert!(mean <= 13.0 && most <= 16, "{arch}: {mean:.2} on average, {most} at most");
    }
    assert_eq!(compile(&resolved), Ok(program), "the same rules give the same bytes");
}

/// What `seccomp_is_const_allow` can evaluate ahead of time: everything before the verdict of an unconditional call.
#[test]
fn unconditional_verdicts_need_only_number_and_architecture() {
    let resolved = preset("docker-default", Arch::X86_64, CapabilitySet::EMPTY, EnosysAbove::HighestNamed);
    let program = compile(&resolved).unwrap();
    for (arch, rules) in &resolved.rules {
        for (nr, _) in rules.iter().filter(|(_, rules)| rules.iter().all(|rule| rule.conditions.is_empty())) {
            let mut pc = 0;
            let mut a = 0;
            loop {
                let insn = program.instructions()[pc];
                pc += 1;
                match insn.code {
                    code::LD_W_ABS if insn.k == 0 => a = nr.0,
                    code::LD_W_ABS if insn.k == 4 => a = arch.audit_token(),
                    code::JMP_JA => pc += insn.k as usize,
                    code::JMP_JEQ_K => pc += usize::from(if a == insn.k { insn.jt } else { insn.jf }),
                    code::JMP_JGE_K => pc += usize::from(if a >= insn.k { insn.jt } else { insn.jf }),
                    code::JMP_JSET_K => pc += usize::from(if a & insn.k != 0 { insn.jt } else { insn.jf }),
                    code::ALU_AND_K => a &= insn.k,
                    code::RET_K => break,
                    other => panic!("{arch} {nr}: {other:#x} is not evaluated ahead of time"),
                }
            }
        }
    }
}

#[test]
fn far_targets_are_reached() {
    // 700 calls with a condition of their own each: far beyond what a conditional jump reaches.
    let names: Vec<&str> = crate::syscalls::names(Arch::X86_64).collect();
    let entries: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            format!(
                r#"{{"names":["{name}"],"action":"SCMP_ACT_ERRNO","errnoRet":{},"args":[{{"index":1,"value":{},"op":"SCMP_CMP_GT"}}]}}"#,
                index + 2,
                (index as u64) << 30
            )
        })
        .collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[{}]}}"#,
        entries.join(",")
    );
    let written = dialect::parse(json.as_bytes()).unwrap();
    let resolved =
        resolve(&written, &Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KERNEL)).unwrap().unwrap();
    let program = compile(&resolved).unwrap();
    assert!(program.instructions().len() > 1500);
    for (arch, rules) in &resolved.rules {
        for nr in rules.keys() {
            for value in [0u64, 1 << 30, 200 << 30, 1 << 38, u64::MAX] {
                let args = [9, value, 0, 0, 0, 0];
                let call = SeccompData { nr: nr.0, arch: arch.audit_token(), ip: 0, args };
                assert_eq!(interpret::run(&program, &call), resolved.decide(&call), "{call:x?}");
            }
        }
    }
}

#[test]
fn a_profile_beyond_the_kernels_limit_is_refused() {
    let condition = |value: u32| format!(r#"{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}"#);
    // Values that lie alone: next to each other they would be one range.
    let conditions: Vec<String> = (0..4200).map(|index| condition(index * 3)).collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[{}]}}]}}"#,
        conditions.join(",")
    );
    let written = dialect::parse(json.as_bytes()).unwrap();
    let resolved =
        resolve(&written, &Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KERNEL)).unwrap().unwrap();
    let refused = compile(&resolved);
    assert!(matches!(refused, Err(CompileError::Refused(ProgramError::TooLong(4097..)))), "{refused:?}");
}

/// Values next to each other are one range, however many rules say so.
#[test]
fn many_rules_for_neighbouring_values_are_one_comparison() {
    let condition = |value: u32| format!(r#"{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}"#);
    let conditions: Vec<String> = (0..1000).map(condition).collect();
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[{}]}}]}}"#,
        conditions.join(",")
    );
    let written = dialect::parse(json.as_bytes()).unwrap();
    let facts = Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KERNEL);
    let program = compile(&resolve(&written, &facts).unwrap().unwrap()).unwrap();
    assert!(program.instructions().len() < 20, "{}", crate::disasm::disassemble(&program));
}

/// Filters that no profile can say: words compared with each other, arithmetic, masks of the number.
#[test]
fn diagrams_of_any_program_compile() {
    use crate::bpf::code::*;
    let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
    let (allow, refuse) = (Insn::stmt(RET_K, 0x7fff_0000), Insn::stmt(RET_K, 0x0005_0001));
    let load = |offset| Insn::stmt(LD_W_ABS, offset);
    let programs = [
        // args[0] == args[1], both halves
        vec![
            load(16),
            Insn::stmt(MISC_TAX, 0),
            load(24),
            insn(JMP_JEQ_X, 0, 4, 0),
            load(20),
            Insn::stmt(MISC_TAX, 0),
            load(28),
            insn(JMP_JEQ_X, 1, 0, 0),
            refuse,
            allow,
        ],
        // low word of args[2] > that of args[3]
        vec![load(40), Insn::stmt(MISC_TAX, 0), load(32), insn(JMP_JGT_X, 0, 1, 0), allow, refuse],
        // The number is odd, whatever the architecture.
        vec![load(0), insn(JMP_JSET_K, 0, 1, 1), allow, refuse],
        // (args[0] & 0xf0f0) == 0x5010, then (args[0] & 0x0f00) != 0x0300
        vec![
            load(16),
            Insn::stmt(ALU_AND_K, 0xf0f0),
            insn(JMP_JEQ_K, 0, 3, 0x5010),
            load(16),
            Insn::stmt(ALU_AND_K, 0x0f00),
            insn(JMP_JEQ_K, 0, 1, 0x0300),
            refuse,
            allow,
        ],
        // args[1] + 5 > 9, modulo 2³²; the instruction pointer
        vec![
            load(24),
            Insn::stmt(ALU_ADD_K, 5),
            insn(JMP_JGT_K, 0, 3, 9),
            load(12),
            insn(JMP_JEQ_K, 0, 1, 0x7fff),
            allow,
            refuse,
        ],
    ];
    for instructions in programs {
        let program = Program::from_instructions(instructions).unwrap();
        let mut store = Store::new();
        let diagram = store.of_program(&program).unwrap();
        // Proven, or it is an error.
        let ours = from_diagram(&mut store, diagram, None).unwrap();
        assert!(ours.instructions().len() < 600, "{}", crate::disasm::disassemble(&ours));
    }
}

/// One constant off by one, or the two ways of one jump exchanged, and the program is not handed out.
#[test]
fn a_wrong_program_is_not_handed_out() {
    let resolved =
        preset("docker-default", Arch::X86_64, CapabilitySet::DOCKER_DEFAULT, EnosysAbove::HighestNamed);
    let mut store = Store::new();
    let diagram = store.of_resolved(&resolved).unwrap();
    let right = from_diagram(&mut store, diagram, Some(Arch::X86_64)).unwrap();
    let mut found = 0;
    for index in (0..right.instructions().len()).step_by(5) {
        let mut wrong = right.instructions().to_vec();
        let insn = &mut wrong[index];
        match insn.code {
            code::RET_K => insn.k ^= 0x0005_0001,
            code::JMP_JSET_K => std::mem::swap(&mut insn.jt, &mut insn.jf),
            code::JMP_JEQ_K | code::JMP_JGE_K => insn.k += 1,
            _ => continue,
        }
        let wrong = Program::from_instructions(wrong).unwrap();
        match prove(&mut store, diagram, &wrong) {
            Err(CompileError::Unproven(call)) => {
                assert_eq!(interpret::run(&right, &call), resolved.decide(&call));
                assert_ne!(interpret::run(&wrong, &call), resolved.decide(&call), "instruction {index}");
                found += 1;
            }
            // Nothing is told apart there that was not told apart before.
            Ok(()) => assert_eq!(store.of_program(&wrong).unwrap(), diagram, "instruction {index}"),
            Err(other) => panic!("instruction {index}: {other}"),
        }
    }
    assert!(found > 30, "{found}");
}
