//! What programs mean beside v1's list; and live, what the kernel tells of installed programs and does with them.
//!
//! The live tests need root with CAP_SYS_ADMIN and CAP_NET_ADMIN in the initial user namespace, and a v2 hierarchy (that
//! of a hybrid machine will do): without they fail, and say what they need.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use plim_model::parse::mountinfo;

use super::super::chain::Chain;
use super::super::device_assembly as asm;
use super::*;

#[test]
fn without_programs_and_without_a_v1_list_everything_may_be_opened() {
    let nothing = || Observed::Present(Vec::new());
    let everything = Observed::Present(vec!["a *:* rwm".to_owned()]);
    assert_eq!(rules(Observed::Absent, nothing()), everything);
    let refused = Observed::Unknown("refused".to_owned());
    assert_eq!(rules(Observed::Absent, refused), Observed::Unknown("refused".to_owned()));
    assert_eq!(rules(Observed::Absent, Observed::Absent), Observed::Absent);
}

#[test]
fn a_v1_list_stands_unless_a_program_refuses_more() {
    let list = || Observed::Present(vec!["c 1:3 rwm".to_owned()]);
    // mov r0, 0 or 1; exit.
    let verdict = |imm| {
        let insn = |code, imm| Instruction { code, dst: 0, src: 0, offset: 0, imm };
        vec![insn(0xb7, imm), insn(0x95, 0)]
    };
    assert_eq!(rules(list(), Observed::Unknown("refused".to_owned())), list());
    assert_eq!(rules(list(), Observed::Present(Vec::new())), list());
    assert_eq!(rules(list(), Observed::Present(vec![verdict(1)])), list());
    assert!(rules(list(), Observed::Present(vec![verdict(1), verdict(0)])).is_unknown());
}

/// A cgroup of the test, below one with the same name; both are removed with it.
struct Cgroups {
    mount_point: String,
    name: String,
}

impl Cgroups {
    fn new(name: &str) -> Cgroups {
        let own = std::fs::read("/proc/self/mountinfo").expect("mountinfo");
        let own = mountinfo::parse(&own).expect("mountinfo parses");
        let v2 = own.into_iter().find(|entry| entry.mount.fs_type == "cgroup2");
        let mount_point = v2.expect("needs a mounted v2 hierarchy").mount.target;
        let name = format!("plim-observe-{name}-{}", std::process::id());
        let cgroups = Cgroups { mount_point, name };
        std::fs::create_dir_all(cgroups.inner()).expect("needs to make cgroups");
        cgroups
    }

    fn outer(&self) -> PathBuf {
        Path::new(&self.mount_point).join(&self.name)
    }

    fn inner(&self) -> PathBuf {
        self.outer().join(&self.name)
    }

    fn directory(&self) -> Directory {
        let path = format!("/{0}/{0}", self.name);
        Chain::new(Path::new("/"), &self.mount_point, "/", &path).expect("a chain").own().clone()
    }

    fn attach(&self, to: &Path, program: &[Instruction]) {
        let bytes: Vec<[u8; 8]> = program.iter().map(to_bytes).collect();
        let program = sys::attach::load(&bytes).expect("needs CAP_SYS_ADMIN to load a device program");
        let cgroup = std::fs::File::open(to).expect("open the cgroup");
        sys::attach::attach(cgroup.as_fd(), program.as_fd()).expect("attach the program");
    }

    fn rules(&self) -> Observed<Vec<String>> {
        rules(Observed::Absent, programs(&self.directory()))
    }

    /// Whether a shell in the cgroup can do this.
    fn can(&self, what: &str) -> bool {
        let enter =
            format!("echo $$ >{}/cgroup.procs && echo in && ({what}) 2>/dev/null", self.inner().display());
        let done = Command::new("sh").args(["-c", &enter]).output().expect("run sh");
        assert_eq!(done.stdout, b"in\n", "the shell enters the cgroup");
        done.status.success()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for directory in [self.inner(), self.outer()] {
            // Its last process may be a zombie for a moment yet; programs go with the cgroup.
            for _ in 0..100 {
                match std::fs::remove_dir(&directory) {
                    Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                        std::thread::sleep(std::time::Duration::from_millis(10));
                    }
                    _ => break,
                }
            }
        }
    }
}

fn to_bytes(insn: &Instruction) -> [u8; 8] {
    let registers = match cfg!(target_endian = "little") {
        true => insn.dst | insn.src << 4,
        false => insn.src | insn.dst << 4,
    };
    let (offset, imm) = (insn.offset.to_ne_bytes(), insn.imm.to_ne_bytes());
    let bytes = [insn.code, registers, offset[0], offset[1], imm[0], imm[1], imm[2], imm[3]];
    assert_eq!(Instruction::from_bytes(bytes), *insn);
    bytes
}

fn lines(text: &str) -> Observed<Vec<String>> {
    Observed::Present(text.lines().map(str::to_owned).collect())
}

const DOCKER: &str = "b *:* m\nc *:* m\nc 136:* rwm\nc 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\n\
                      c 5:1 rwm\nc 5:2 rwm";

#[test]
fn the_kernel_tells_installed_programs_of_every_style() {
    let rules = asm::docker();
    for (style, program) in [
        ("runc", asm::runc(asm::JNE_K, &rules[1..], false)),
        ("crun", asm::runc(asm::JNE32_K, &rules[1..], false)),
        ("systemd", asm::systemd(&rules[1..])),
        ("plim", asm::plim(&rules)),
    ] {
        let cgroups = Cgroups::new(style);
        assert_eq!(cgroups.rules(), lines("a *:* rwm"), "{style}: before");
        cgroups.attach(&cgroups.inner(), &program);
        assert_eq!(cgroups.rules(), lines(DOCKER), "{style}");
    }
}

#[test]
fn programs_of_ancestors_hold_and_the_kernel_does_what_is_told() {
    let cgroups = Cgroups::new("ancestors");
    let rule = |minor, access| (true, Some(asm::CHARACTER), Some(1), Some(minor), access);
    cgroups.attach(&cgroups.outer(), &asm::systemd(&[rule(3, asm::RWM), rule(5, asm::R), rule(7, asm::RWM)]));
    assert_eq!(cgroups.rules(), lines("c 1:3 rwm\nc 1:5 r\nc 1:7 rwm"), "inherited");
    let none = (false, None, None, None, asm::RWM);
    cgroups.attach(&cgroups.inner(), &asm::plim(&[none, rule(3, asm::R | asm::W), rule(5, asm::RWM)]));
    assert_eq!(cgroups.rules(), lines("c 1:3 rw\nc 1:5 r"));
    for (node, read, write) in
        [("/dev/null", true, true), ("/dev/zero", true, false), ("/dev/full", false, false)]
    {
        let kind = std::fs::metadata(node).expect("the node is there").file_type();
        assert!(kind.is_char_device(), "{node}");
        assert_eq!(cgroups.can(&format!(": <{node}")), read, "read {node}");
        assert_eq!(cgroups.can(&format!(": >{node}")), write, "write {node}");
        assert_eq!(cgroups.can(&format!(": <>{node}")), read && write, "read and write {node}");
    }
}
