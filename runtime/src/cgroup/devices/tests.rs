//! The program is run by a tiny interpreter and compared with what the rules say, word by word.

use super::*;

fn rule(text: &str) -> DeviceRule {
    let words: Vec<&str> = text.split(' ').collect();
    let [verdict, kind, number, access] = words[..] else { panic!("{text}") };
    let (major, minor) = number.split_once(':').expect("MAJOR:MINOR");
    let part = |word: &str| (word != "*").then(|| word.parse().expect("a number"));
    DeviceRule {
        allow: verdict == "allow",
        kind: kind.chars().next().expect("a kind"),
        major: part(major),
        minor: part(minor),
        access: access.to_owned(),
    }
}

fn rules(texts: &[&str]) -> Vec<DeviceRule> {
    texts.iter().map(|text| rule(text)).collect()
}

/// Runs the few instructions that we emit; anything else, a jump out of the program, or a read of a register that was
/// never written is a failed test, as it would be for the verifier.
fn run(program: &[DeviceInsn], kind: i32, access: i32, major: u32, minor: u32) -> i64 {
    let access_type = i64::from(kind | (access << 16));
    let context = [access_type, i64::from(major), i64::from(minor)];
    let mut registers = [None; 11];
    registers[1] = Some(i64::MIN); // the context pointer
    let mut at = 0;
    for _ in 0..=program.len() {
        let now = program[at];
        at += 1;
        let (dst, src) = (usize::from(now.registers & 15), usize::from(now.registers >> 4));
        let value = |register: usize| registers[register].expect("a register that was written");
        match now.code {
            LDX_W => {
                assert_eq!(value(src), i64::MIN);
                registers[dst] = Some(context[usize::try_from(now.offset).expect("in the context") / 4]);
            }
            MOV64_K => registers[dst] = Some(i64::from(now.imm)),
            MOV64_X => registers[dst] = Some(value(src)),
            AND64_K => registers[dst] = Some(value(dst) & i64::from(now.imm)),
            RSH64_K => registers[dst] = Some(value(dst) >> now.imm),
            JEQ_K | JNE_K => {
                if (value(dst) == i64::from(now.imm)) == (now.code == JEQ_K) {
                    at += usize::try_from(now.offset).expect("forward");
                }
            }
            EXIT => return value(0),
            other => panic!("unexpected operation {other:#x}"),
        }
    }
    panic!("the program did not end");
}

/// The meaning in words: every bit asked is decided by the last rule that covers device and bit.
fn meant(rules: &[DeviceRule], kind: char, access: &str, major: u32, minor: u32) -> bool {
    access.chars().all(|bit| {
        rules
            .iter()
            .rev()
            .find(|rule| {
                (rule.kind == 'a' || rule.kind == kind)
                    && rule.major.is_none_or(|number| number == major)
                    && rule.minor.is_none_or(|number| number == minor)
                    && rule.access.contains(bit)
            })
            .is_none_or(|rule| rule.allow)
    })
}

const ACCESSES: [(&str, i32); 7] = [
    ("r", READ),
    ("w", WRITE),
    ("m", MKNOD),
    ("rw", READ | WRITE),
    ("rm", READ | MKNOD),
    ("wm", WRITE | MKNOD),
    ("rwm", ALL),
];

#[test]
fn the_program_means_what_the_rules_say() {
    let lists: [&[&str]; 12] = [
        &[],
        &["deny a *:* rwm"],
        &["allow a *:* rwm"],
        &["deny a *:* rwm", "allow a *:* rwm", "deny b 8:0 w"],
        &["deny a *:* rwm", "allow c 1:3 r", "allow c 1:3 w"],
        &["allow c 1:3 rwm", "deny c 1:* w"],
        &["deny c 1:* rwm", "allow c 1:3 rw"],
        &["deny a *:* rwm", "allow c *:3 r", "deny c 1:3 r"],
        &["deny a *:* rw", "allow b 8:0 r"],
        &["allow a *:* m", "deny a *:* m", "allow c 1:3 m"],
        &["deny b *:* rwm"],
        &["deny a *:* rwm", "allow c 4095:1048575 rwm", "allow b 0:0 m"],
    ];
    let mut compared = 0;
    for list in lists {
        let list = rules(list);
        let program = v2_program(&list).expect("good rules");
        for (kind, bit) in [('b', BLOCK), ('c', CHARACTER)] {
            for major in [0, 1, 2, 8, 4095] {
                for minor in [0, 3, 4, 1_048_575] {
                    for (access, bits) in ACCESSES {
                        let expected = meant(&list, kind, access, major, minor);
                        assert_eq!(
                            run(&program, bit, bits, major, minor) == 1,
                            expected,
                            "{list:?}: {kind} {major}:{minor} {access}"
                        );
                        compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(compared, 12 * 2 * 5 * 4 * 7);
}

#[test]
fn docker_default() {
    let program = v2_program(&docker_default_rules()).expect("good rules");
    let cases = [
        // null, zero, full, random, urandom, tty, console, ptmx, a pty
        (CHARACTER, 1, 3, "rwm", true),
        (CHARACTER, 1, 5, "rw", true),
        (CHARACTER, 1, 7, "rw", true),
        (CHARACTER, 1, 8, "r", true),
        (CHARACTER, 1, 9, "r", true),
        (CHARACTER, 5, 0, "rw", true),
        (CHARACTER, 5, 1, "rw", true),
        (CHARACTER, 5, 2, "rw", true),
        (CHARACTER, 136, 77, "rw", true),
        // mem, kmem, kmsg: make the node, never open it
        (CHARACTER, 1, 1, "m", true),
        (CHARACTER, 1, 1, "r", false),
        (CHARACTER, 1, 2, "r", false),
        (CHARACTER, 1, 11, "r", false),
        // fuse, tun, kvm, a disk
        (CHARACTER, 10, 229, "rw", false),
        (CHARACTER, 10, 200, "rw", false),
        (CHARACTER, 10, 232, "r", false),
        (BLOCK, 8, 0, "r", false),
        (BLOCK, 8, 0, "w", false),
        (BLOCK, 8, 0, "m", true),
        (BLOCK, 8, 0, "rm", false),
        // the same numbers as null, but a block device
        (BLOCK, 1, 3, "r", false),
    ];
    for (kind, major, minor, access, expected) in cases {
        let bits = ACCESSES.iter().find(|(name, _)| *name == access).expect("in the table").1;
        assert_eq!(run(&program, kind, bits, major, minor) == 1, expected, "{kind} {major}:{minor} {access}");
    }
    // Asked for nothing: any rule that allows something allows it, as in v1; a rule that denies all refuses it.
    assert_eq!(run(&program, CHARACTER, 0, 10, 232), 1);
    let closed = v2_program(&rules(&["deny a *:* rwm", "allow c 1:3 r"])).expect("good rules");
    assert_eq!(run(&closed, CHARACTER, 0, 10, 232), 0);
    assert_eq!(run(&closed, CHARACTER, 0, 1, 3), 1);
}

#[test]
fn no_instruction_is_out_of_reach() {
    // The verifier refuses unreachable code on kernels before 5.0.
    for list in [
        rules(&["allow c 1:3 rwm", "deny a *:* rwm"]),
        rules(&["deny a *:* rwm", "allow a *:* rwm", "deny a *:* rwm"]),
        docker_default_rules(),
    ] {
        let program = v2_program(&list).expect("good rules");
        let mut reached = vec![false; program.len()];
        let mut todo = vec![0];
        while let Some(at) = todo.pop() {
            if std::mem::replace(&mut reached[at], true) {
                continue;
            }
            let now = program[at];
            if now.code == EXIT {
                continue;
            }
            todo.push(at + 1);
            if [JEQ_K, JNE_K].contains(&now.code) {
                todo.push(at + 1 + usize::try_from(now.offset).expect("forward"));
            }
        }
        assert!(reached.iter().all(|reached| *reached), "{program:?}");
    }
}

#[test]
fn bad_words() {
    let cases = [
        ("allow x 1:3 r", "kind 'x'"),
        ("allow c 1:3 q", "access 'q'"),
        ("allow c 4096:0 r", "4096"),
        ("allow c 1:1048576 r", "1048576"),
        ("allow a 1:3 rwm", "a 1:3 rwm"),
    ];
    for (text, found) in cases {
        for error in [v2_program(&[rule(text)]).map(drop), v1_writes(&[rule(text)]).map(drop)] {
            let error = error.expect_err(text).to_string();
            assert!(error.contains(found), "{text}: {error}");
        }
    }
    let empty = DeviceRule { access: String::new(), ..rule("allow c 1:3 r") };
    assert!(v2_program(&[empty]).is_err());
    let many: Vec<DeviceRule> = (0..700).map(|minor| rule(&format!("allow c 1:{minor} r"))).collect();
    assert!(v2_program(&many).expect_err("too many").to_string().contains("4096 instructions"));
}

#[test]
fn v1_files() {
    let told = |texts: &[&str]| -> Vec<String> {
        v1_writes(&rules(texts))
            .expect("good rules")
            .into_iter()
            .flat_map(|write| write.choices)
            .map(|(file, value)| format!("{file} {value}"))
            .collect()
    };
    assert_eq!(
        told(&["deny a *:* rwm", "allow c *:* m", "allow c 1:3 rwm", "deny c 1:3 w"]),
        ["devices.deny a", "devices.allow c *:* m", "devices.allow c 1:3 rwm", "devices.deny c 1:3 w"]
    );
    let default: Vec<String> = v1_writes(&docker_default_rules())
        .expect("good rules")
        .into_iter()
        .flat_map(|write| write.choices)
        .map(|(file, value)| format!("{file} {value}"))
        .collect();
    assert_eq!(default.len(), 12);
    assert_eq!(default[0], "devices.deny a");
    assert_eq!(default[11], "devices.allow c 136:* rwm");
}

#[test]
fn v1_refuses_what_the_kernel_would_ignore() {
    let cases: [&[&str]; 4] = [
        // Takes back a part of a wildcard.
        &["deny a *:* rwm", "allow c 1:* rwm", "deny c 1:3 rwm"],
        &["deny a *:* rwm", "allow c *:* m", "deny c 10:229 rwm"],
        &["deny c 1:* w", "allow c 1:3 w"],
        // `a` without all bits.
        &["deny a *:* w"],
    ];
    for list in cases {
        let error = v1_writes(&rules(list)).expect_err("not sayable");
        assert!(matches!(error, CgroupError::DeviceRule { .. }), "{error}");
    }
    // The same devices exactly, or other bits: the kernel does as told.
    assert!(v1_writes(&rules(&["deny a *:* rwm", "allow c 1:* rwm", "deny c 1:* w"])).is_ok());
    assert!(v1_writes(&rules(&["deny a *:* rwm", "allow c *:* m", "deny c 10:229 rw"])).is_ok());
}
