//! What the fuzz targets and the stable runner (`tests/fuzz.rs`) do with an input. Every function returns or panics; a panic is a bug.
#![allow(dead_code, reason = "each target uses one of them")]

use plim_model::{Capability, CapabilitySet};
use plim_seccomp::bpf::{Insn, Program, code::*};
use plim_seccomp::compile::compile;
use plim_seccomp::decompile::decompile;
use plim_seccomp::diagram::Store;
use plim_seccomp::dialect::{self, Written};
use plim_seccomp::installed::{Engine, Vintage, install};
use plim_seccomp::interpret::{self, SeccompData};
use plim_seccomp::lint::lint_profile;
use plim_seccomp::resolve::{Facts, KernelVersion, UnknownNames, resolve};
use plim_seccomp::{Arch, SyscallNr, disasm, exact, syscalls};

/// Small, so that an input which needs more ends soon with "undecided".
const BUDGET: usize = 20_000;

/// A profile in any dialect.
pub(crate) fn json(bytes: &[u8]) {
    let Ok(written) = dialect::parse(bytes) else { return };
    let all: CapabilitySet = Capability::known().collect();
    for (arch, caps) in
        [(Arch::X86_64, CapabilitySet::EMPTY), (Arch::Aarch64, all), (Arch::S390x, CapabilitySet::EMPTY)]
    {
        let mut facts = Facts::new(arch, caps, KernelVersion { major: 6, minor: 1 });
        facts.unknown_names = UnknownNames::Skip;
        as_installed(&written, &facts);
        let Ok(Some(resolved)) = resolve(&written, &facts) else { continue };
        let mut store = Store::with_budget(BUDGET);
        let Ok(rules) = store.of_resolved(&resolved) else { continue };
        if let Ok(program) = compile(&resolved)
            && let Ok(compiled) = store.of_program(&program)
        {
            assert_eq!(rules, compiled, "the compiled filter means what the rules mean");
        }
        let oci = resolved.to_oci_json().to_string();
        let again = dialect::parse(oci.as_bytes());
        assert!(again.is_ok(), "OCI's form of a profile is a profile: {oci}");
    }
}

/// The same as engines install it: what libseccomp makes of the rules has the meaning that its diagram has.
fn as_installed(written: &Written, facts: &Facts) {
    let old = Vintage::V2_5_4;
    for (engine, vintage) in [
        (Engine::Docker, Vintage::newest()),
        (Engine::Crun, old),
        (Engine::Containerd, old),
        (Engine::Youki0_6, Vintage::newest()),
    ] {
        let Ok(installed) = install(written, facts, engine, vintage) else { continue };
        let mut store = Store::with_budget(BUDGET);
        let Ok(diagram) = store.of_installed(&installed) else { continue };
        let named = written.rules.iter().flat_map(|rule| &rule.names);
        for name in named.take(64) {
            let SyscallNr(nr) = syscalls::number(facts.arch, name).unwrap_or(SyscallNr(0));
            let value = u64::from(nr).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let data = SeccompData { nr, arch: facts.arch.audit_token(), args: [value; 6], ip: 0 };
            assert_eq!(store.decide(diagram, &data), installed.decide(&data), "{data:x?}");
        }
    }
    lint_profile(written, facts, Some(old));
}

/// A raw dump.
pub(crate) fn bpf(bytes: &[u8]) {
    let Ok(program) = Program::from_bytes(bytes) else { return };
    assert_eq!(Program::from_bytes(&program.to_bytes()).as_ref(), Ok(&program));
    disasm::disassemble(&program);
    decided(&program, bytes);
}

/// Bytes as instructions of a program that is always taken: operations by number, jumps cut to the program.
pub(crate) fn diagram(bytes: &[u8]) {
    const CODES: [u16; 40] = [
        LD_IMM, LD_W_ABS, LD_MEM, LD_W_LEN, LDX_IMM, LDX_MEM, LDX_W_LEN, ST, STX, ALU_ADD_K, ALU_ADD_X,
        ALU_SUB_K, ALU_SUB_X, ALU_MUL_K, ALU_MUL_X, ALU_DIV_K, ALU_DIV_X, ALU_OR_K, ALU_OR_X, ALU_AND_K,
        ALU_AND_X, ALU_LSH_K, ALU_LSH_X, ALU_RSH_K, ALU_RSH_X, ALU_NEG, ALU_XOR_K, ALU_XOR_X, JMP_JA,
        JMP_JEQ_K, JMP_JEQ_X, JMP_JGT_K, JMP_JGT_X, JMP_JGE_K, JMP_JGE_X, JMP_JSET_K, JMP_JSET_X, RET_A,
        MISC_TAX, MISC_TXA,
    ];
    let body: Vec<&[u8]> = bytes.chunks_exact(7).take(200).collect();
    let mut all = vec![Insn::stmt(ST, 0), Insn::stmt(ST, 1)];
    for (index, raw) in body.iter().enumerate() {
        let left = body.len() - index - 1;
        let cut = |offset: u8| u8::try_from(left.min(usize::from(offset & 15))).unwrap_or(0);
        let k = u32::from_le_bytes([raw[3], raw[4], raw[5], raw[6]]);
        let code = if raw[0] == u8::MAX { RET_K } else { CODES[usize::from(raw[0]) % CODES.len()] };
        let k = match code {
            LD_W_ABS => (k & 15) * 4,
            LD_MEM | LDX_MEM | ST | STX => k & 1,
            ALU_LSH_K | ALU_RSH_K => k & 31,
            ALU_DIV_K => k.max(1),
            JMP_JA => u32::from(cut(raw[1])),
            _ => k,
        };
        let jumps = code & 7 == 5 && code != JMP_JA;
        all.push(if jumps {
            Insn { code, jt: cut(raw[1]), jf: cut(raw[2]), k }
        } else {
            Insn::stmt(code, k)
        });
    }
    all.push(Insn::stmt(RET_K, 0x7fff_0000));
    let program = Program::from_instructions(all).expect("a program that the kernel takes");
    decided(&program, bytes);
}

/// The diagram keeps its budget, answers as the interpreter does, and has a difference to "allow" exactly where it is not that.
fn decided(program: &Program, bytes: &[u8]) {
    let mut store = Store::with_budget(BUDGET);
    let Ok(diagram) = store.of_program(program) else {
        assert!(store.nodes() <= BUDGET);
        return;
    };
    let words: Vec<u32> =
        program.instructions().iter().map(|insn| insn.k).chain([0, 41, 0xc000_003e, u32::MAX]).collect();
    let mut at = bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    let mut word = || {
        at = at.wrapping_mul(31).wrapping_add(7);
        let near = words[at % words.len()];
        [near, near.wrapping_add(1), near.wrapping_sub(1), !near][at / 7 % 4]
    };
    for _ in 0..64 {
        let mut wide = || u64::from(word()) << 32 | u64::from(word());
        let (args, ip) = (std::array::from_fn(|_| wide()), wide());
        let call = SeccompData { nr: word(), arch: word(), ip, args };
        assert_eq!(store.decide(diagram, &call), interpret::run(program, &call), "{call:x?}");
    }
    if let Ok(back) = decompile(&mut store, diagram, None)
        && back.is_exact()
    {
        let profile = dialect::parse(back.profile.to_string().as_bytes()).expect("a profile");
        let resolved = resolve(&profile, &back.facts()).expect("a profile that can be resolved");
        let again = match resolved {
            Some(resolved) => store.of_resolved(&resolved),
            None => store.of_stack(&[]),
        };
        // Undecided where the budget is spent by now.
        assert!(again.is_ok_and(|again| again == diagram) || store.nodes() > BUDGET / 2, "{}", back.profile);
    }
    let Ok(allow) = store.of_stack(&[]) else { return };
    if let Ok(changes) = exact::diff(&mut store, allow, diagram, true) {
        assert_eq!(changes.is_empty(), allow == diagram);
        for change in changes {
            assert_eq!(interpret::run(program, &change.witness), change.after, "{change:?}");
        }
    }
}
