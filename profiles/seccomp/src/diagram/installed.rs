//! From a profile as an engine installs it to a diagram.

use super::arena::{Arena, Exceeded, FALSE, Id, Leaf, TRUE};
use super::rules::{Bit, by_starts, exceeds, masked, put};
use super::word::{self, ARCH_LEVELS, NR_LEVELS};
use crate::action::Action;
use crate::arch::Arch;
use crate::installed::Function;
use crate::installed::words::{Compare, Decision, Step, WordTest};

pub(super) fn of_function(arena: &mut Arena, function: &Function) -> Result<Id, Exceeded> {
    let foreign = leaf(arena, function.foreign);
    // Decisions by place, for machines of either byte order, when one needs them.
    let mut made: [Option<Vec<Id>>; 2] = [None, None];
    let mut starts = vec![(0, foreign)];
    for (token, numbers) in &function.tokens {
        let big = Arch::from_audit_token(*token, 0).is_some_and(Arch::is_big_endian);
        let place = &mut made[usize::from(big)];
        let ids = match place {
            Some(ids) => ids,
            None => place.insert(decisions(arena, function, big)?),
        };
        let numbers: Vec<(u32, Id)> =
            numbers.iter().map(|(start, step)| (*start, ids[step.index()])).collect();
        let numbers = by_starts(arena, NR_LEVELS, &numbers)?;
        put(&mut starts, *token, numbers);
        if let Some(next) = token.checked_add(1) {
            put(&mut starts, next, foreign);
        }
    }
    by_starts(arena, ARCH_LEVELS, &starts)
}

fn leaf(arena: &mut Arena, action: Action) -> Id {
    arena.leaf(Leaf::Ret(action.to_ret()))
}

/// Every decision. Each leads to earlier ones only.
fn decisions(arena: &mut Arena, function: &Function, big_endian: bool) -> Result<Vec<Id>, Exceeded> {
    let mut ids: Vec<Id> = Vec::new();
    for decision in function.decisions.in_order() {
        let of = |step: Step| ids[step.index()];
        let id = match decision {
            Decision::Answer(action) => leaf(arena, action),
            Decision::Test { test, then, otherwise } => {
                let (then, otherwise) = (of(then), of(otherwise));
                let holds = holds(arena, &test, big_endian)?;
                arena.ite(holds, then, otherwise)?
            }
        };
        ids.push(id);
    }
    Ok(ids)
}

fn holds(arena: &mut Arena, test: &WordTest, big_endian: bool) -> Result<Id, Exceeded> {
    let lane = u32::from(test.argument);
    let first = match test.high != big_endian {
        true => 32,
        false => 0,
    };
    let (mask, value) = (u64::from(test.mask), u64::from(test.value));
    let mut bit = |arena: &mut Arena, bit: u32| match mask >> bit & 1 {
        0 => Ok(FALSE),
        _ => arena.node(word::level(lane, first + bit), FALSE, TRUE),
    };
    let bit: Bit<'_> = &mut bit;
    match test.compare {
        Compare::Equal => masked(arena, bit, mask, value),
        Compare::Greater => exceeds(arena, bit, value, false),
        Compare::GreaterOrEqual => exceeds(arena, bit, value, true),
    }
}

#[cfg(test)]
mod tests {
    use plim_model::CapabilitySet;
    use proptest::prelude::*;

    use crate::arch::Arch;
    use crate::diagram::Store;
    use crate::dialect;
    use crate::installed::{Engine, Installed, Vintage, install};
    use crate::interpret::SeccompData;
    use crate::presets;
    use crate::resolve::{Facts, KernelVersion};

    fn installed(json: &str, arch: Arch, engine: Engine, vintage: Vintage) -> Option<Installed> {
        let written = dialect::parse(json.as_bytes()).unwrap();
        let mut facts = Facts::new(arch, CapabilitySet::DOCKER_DEFAULT, KernelVersion { major: 6, minor: 1 });
        facts.unknown_names = crate::resolve::UnknownNames::Skip;
        install(&written, &facts, engine, vintage).ok()
    }

    /// Values at and around what profiles compare with, high halves too.
    fn argument() -> impl Strategy<Value = u64> {
        let low = prop_oneof![0u64..50, Just(0x2_0008), Just(0xffff_ffff), Just(0x1000_0000), any::<u64>()];
        (low, prop_oneof![3 => Just(0u64), 1 => 0u64..3]).prop_map(|(low, high)| low | high << 32)
    }

    fn call() -> impl Strategy<Value = SeccompData> {
        let tokens: Vec<u32> =
            [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::S390x, Arch::Arm].map(Arch::audit_token).into();
        let nr = prop_oneof![4 => 0u32..480, 2 => 0x4000_0000u32..0x4000_0230, 1 => any::<u32>(), 1 => Just(u32::MAX)];
        (prop::sample::select(tokens), nr, prop::array::uniform6(argument()))
            .prop_map(|(arch, nr, args)| SeccompData { nr, arch, ip: 0, args })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

        #[test]
        fn the_diagram_decides_as_the_engine_does(
            calls in prop::collection::vec(call(), 500),
            engine in prop::sample::select(Engine::all().collect::<Vec<_>>()),
            vintage in prop::sample::select(Vintage::all().collect::<Vec<_>>()),
            arch in prop::sample::select(vec![Arch::X86_64, Arch::Aarch64, Arch::S390x]),
        ) {
            for name in presets::names() {
                let Some(installed) = installed(presets::get(name).unwrap(), arch, engine, vintage) else { continue };
                let mut store = Store::new();
                let diagram = store.of_installed(&installed).unwrap();
                for call in &calls {
                    prop_assert_eq!(store.decide(diagram, call), installed.decide(call), "{} {:?} {:?}", name, engine, call);
                }
            }
        }
    }

    #[test]
    fn off_allows_everything_and_written_is_resolved() {
        let mut store = Store::new();
        let off = installed("{}", Arch::X86_64, Engine::Runc, Vintage::newest()).unwrap();
        let diagram = store.of_installed(&off).unwrap();
        assert_eq!(diagram, store.constant(crate::Action::Allow));
        let profile = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#;
        let mut of = |engine| {
            let installed = installed(profile, Arch::X86_64, engine, Vintage::newest()).unwrap();
            store.of_installed(&installed).unwrap()
        };
        let (as_written, as_docker) = (of(Engine::Written), of(Engine::Docker));
        assert_ne!(as_written, as_docker, "nobody wrote libseccomp's rule for socketcall");
        let socketcall =
            SeccompData { arch: Arch::X86.audit_token(), nr: 102, args: [1, 0, 0, 0, 0, 0], ip: 0 };
        assert_eq!(store.decide(as_docker, &socketcall), crate::Action::Allow);
    }
}
