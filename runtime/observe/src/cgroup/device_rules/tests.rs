//! Rules that come out are those that went in, whoever wrote the program.

use super::super::device_assembly::*;
use super::*;

fn told(programs: &[Vec<Instruction>]) -> Result<Vec<String>, NotRules> {
    rules(programs)
}

fn lines(text: &str) -> Result<Vec<String>, NotRules> {
    Ok(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}

const DOCKER: &str = "b *:* m\nc *:* m\nc 136:* rwm\nc 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\n\
                      c 5:1 rwm\nc 5:2 rwm";

#[test]
fn dockers_rules_are_told_alike_whoever_wrote_the_program() {
    let rules = docker();
    let allowing = || rules[1..].to_vec();
    for (name, program) in [
        ("runc", runc(JNE_K, &allowing(), false)),
        ("crun", runc(JNE32_K, &allowing(), false)),
        ("systemd", systemd(&allowing())),
        ("plim", plim(&rules)),
    ] {
        assert_eq!(told(&[program]), lines(DOCKER), "{name}");
    }
}

#[test]
fn nothing_everything_and_kinds() {
    assert_eq!(told(&[]), lines("a *:* rwm"));
    assert_eq!(told(&[verdict(true)]), lines("a *:* rwm"));
    assert_eq!(told(&[verdict(false)]), lines(""));
    assert_eq!(told(&[plim(&[])]), lines("a *:* rwm"));
    // The kind alone (systemd's `DeviceAllow=char-* r`), in the narrow load that clang makes of it.
    let mut program = vec![insn(LDX_H, 2, 1, 0, 0), insn(MOV32_K, 0, 0, 0, 0)];
    program.extend([insn(JNE_K, 2, 0, 1, CHARACTER), insn(MOV32_K, 0, 0, 0, 1), insn(EXIT, 0, 0, 0, 0)]);
    let expected = if cfg!(target_endian = "little") { "c *:* rwm" } else { "" };
    assert_eq!(told(&[program]), lines(expected));
}

#[test]
fn wildcards_hold_for_every_number_and_minors_of_every_major_too() {
    let rule = |kind, major, minor, access| (true, Some(kind), major, minor, access);
    let written = [
        rule(CHARACTER, Some(1), Some(3), R),
        rule(CHARACTER, Some(1), None, R | W),
        rule(CHARACTER, None, Some(7), M),
        rule(BLOCK, Some(8), Some(0), R | W),
        rule(BLOCK, Some(4095), Some(1_048_575), RWM),
    ];
    let expected = lines("b 4095:1048575 rwm\nb 8:0 rw\nc *:7 m\nc 1:* rw");
    assert_eq!(told(&[systemd(&written)]), expected);
    // The same without order: each bit by itself, so `c 1:7` has three.
    let mut by_bits = vec![(false, None, None, None, RWM)];
    by_bits.extend(written);
    assert_eq!(told(&[plim(&by_bits)]), lines("b 4095:1048575 rwm\nb 8:0 rw\nc *:7 m\nc 1:* rw"));
    // A number that no device has allows nothing.
    for nobody in [4096, -1] {
        assert_eq!(told(&[systemd(&[rule(CHARACTER, Some(nobody), None, RWM)])]), lines(""));
    }
}

#[test]
fn a_device_that_may_be_made_and_opened_by_different_rules_has_both() {
    // runc asks whether one rule allows all that is asked; the kernel never asks for mknod with another access.
    let rule = |major, minor, access| (true, Some(CHARACTER), major, minor, access);
    let program = runc(JNE_K, &[rule(None, None, M), rule(Some(10), Some(200), R | W)], false);
    assert_eq!(told(&[program]), lines("c *:* m\nc 10:200 rwm"));
    // It does ask for reading and writing at once, which two such rules refuse.
    let program = runc(JNE_K, &[rule(Some(1), Some(3), R), rule(Some(1), Some(3), W)], false);
    assert_eq!(told(&[program]), Err(NotRules::Together));
}

#[test]
fn every_program_has_to_allow() {
    let narrow = plim(&[
        (false, None, None, None, RWM),
        (true, Some(CHARACTER), Some(1), Some(3), R | M),
        (true, Some(CHARACTER), Some(4), None, RWM),
    ]);
    let docker = runc(JNE_K, &docker()[1..], false);
    let expected = lines("c 1:3 rm\nc 4:* m");
    assert_eq!(told(&[narrow.clone(), docker.clone()]), expected);
    assert_eq!(told(&[docker.clone(), verdict(true), narrow]), expected);
    assert_eq!(told(&[docker.clone(), verdict(false)]), lines(""));
    assert_eq!(told(&[docker.clone(), docker]), lines(DOCKER));
}

#[test]
fn what_allowing_rules_cannot_say_is_not_told() {
    for (name, denied) in [
        ("one device", (Some(10), Some(229))),
        ("one major", (Some(10), None)),
        ("one minor", (None, Some(229))),
    ] {
        let program = plim(&[(false, Some(CHARACTER), denied.0, denied.1, W)]);
        assert_eq!(told(&[program]), Err(NotRules::Exceptions), "{name}");
    }
    // All minors of a major but one; a minor of all majors but one.
    for denied in [(Some(136), None), (None, Some(3))] {
        let program = plim(&[
            (false, None, None, None, RWM),
            (true, Some(CHARACTER), denied.0, denied.1, RWM),
            (false, Some(CHARACTER), Some(136), Some(3), R),
        ]);
        assert_eq!(told(&[program]), Err(NotRules::Exceptions), "{denied:?}");
    }
    // What a denying rule takes from an allowing rule for the same device can be said.
    let program = plim(&[
        (false, None, None, None, RWM),
        (true, Some(CHARACTER), Some(136), None, RWM),
        (false, Some(CHARACTER), Some(136), None, M),
    ]);
    assert_eq!(told(&[program]), lines("c 136:* rw"));
}

#[test]
fn long_lists_of_rules_are_followed_in_time() {
    let rule = |number| (true, Some(CHARACTER), Some(number % 4095), Some(number), RWM);
    let written: Vec<_> = (0..700).map(rule).collect();
    let program = runc(JNE_K, &written, false);
    assert!(program.len() > 3500);
    assert_eq!(told(&[program]).map(|rules| rules.len()), Ok(700));
    let one_major: Vec<_> = (0..700).map(|minor| (true, Some(BLOCK), Some(8), Some(minor), R | W)).collect();
    assert_eq!(told(&[plim(&one_major[..0]), systemd(&one_major)]).map(|rules| rules.len()), Ok(700));
}

#[test]
fn a_program_agrees_with_its_rules_on_every_device_around_its_constants() {
    // The rules once more, told by looking them up: the last that covers the device and the bit decides.
    let written = [
        (false, None, None, None, RWM),
        (true, Some(CHARACTER), None, None, M),
        (true, Some(CHARACTER), Some(4), None, R | W),
        (true, Some(BLOCK), None, Some(9), R),
        (true, Some(BLOCK), Some(8), Some(9), W),
        (true, Some(CHARACTER), Some(4), Some(64), M | W),
    ];
    let told = told(&[plim(&written)]).expect("rules");
    for (letter, kind) in [('b', BLOCK), ('c', CHARACTER)] {
        for major in [0, 3, 4, 5, 7, 8, 9, 4095] {
            for minor in [0, 8, 9, 10, 63, 64, 65, 1_048_575] {
                for (name, bit) in [('r', R), ('w', W), ('m', M)] {
                    let fits = |rule: &Option<i32>, value| rule.is_none_or(|rule| rule == value);
                    let wanted = written
                        .iter()
                        .rev()
                        .find(|(_, k, ma, mi, access)| {
                            fits(k, kind) && fits(ma, major) && fits(mi, minor) && access & bit != 0
                        })
                        .is_some_and(|rule| rule.0);
                    let found = told.iter().any(|rule| {
                        let words: Vec<&str> = rule.split([' ', ':']).collect();
                        let is = |word: &str, value: i32| word == "*" || word == value.to_string();
                        rule.starts_with(letter)
                            && is(words[1], major)
                            && is(words[2], minor)
                            && words[3].contains(name)
                    });
                    assert_eq!(found, wanted, "{letter} {major}:{minor} {name} in {told:?}");
                }
            }
        }
    }
}
