//! A package that apt refuses beside what is installed runs from a private tree: with the real apt, on a repository and a list of
//! installed packages of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    /// `wanted` depends on `common`, which the installed `other` breaks.
    fn new() -> Machine {
        let machine = Machine { dir: tempfile::tempdir().unwrap() };
        for folder in ["repository", "lists/partial", "archives/partial", "dpkg"] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        let program = "#!/bin/sh\ncat \"$(dirname \"$0\")/../share/plimtest/data\"\n";
        machine.package("plimtest-common", "", "usr/share/plimtest/data", "from the private tree\n");
        machine.package("plimtest-wanted", "Depends: plimtest-common\n", "usr/bin/plimtest-wanted", program);
        let other = "Package: plimtest-other\nStatus: install ok installed\nVersion: 10.0\nArchitecture: all\n\
                     Maintainer: a test <test@localhost>\nBreaks: plimtest-common (<< 8.0)\nDescription: a test\n\n";
        fs::write(machine.path("dpkg/status"), other).unwrap();
        let at = machine.dir.path().display();
        let own = format!("deb [trusted=yes] file:{at}/repository ./\n");
        fs::write(machine.path("sources.list"), own).unwrap();
        let options = format!(
            "Dir::Etc::Main \"/dev/null\";\nDir::Etc::Parts \"/dev/null\";\nDir::Etc::SourceList \"{at}/sources.list\";\n\
             Dir::Etc::SourceParts \"/dev/null\";\nDir::Etc::Preferences \"/dev/null\";\nDir::Etc::PreferencesParts \"/dev/null\";\n\
             Dir::State \"{at}\";\nDir::State::Lists \"{at}/lists\";\nDir::State::status \"{at}/dpkg/status\";\n\
             Dir::Cache \"{at}\";\nDir::Cache::Archives \"{at}/archives\";\nAPT::Sandbox::User \"root\";\n"
        );
        fs::write(machine.path("apt.conf"), options).unwrap();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn package(&self, name: &str, more: &str, file: &str, content: &str) {
        let tree = self.path(name);
        let file = tree.join(file);
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let control = format!(
            "Package: {name}\nVersion: 7.2\nArchitecture: all\nMaintainer: a test <test@localhost>\n{more}Description: a test\n"
        );
        fs::write(tree.join("DEBIAN/control"), &control).unwrap();
        let deb = self.path(&format!("repository/{name}.deb"));
        let built = Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&deb).output();
        assert!(built.unwrap().status.success());
        let sum = Command::new("sha256sum").arg(&deb).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        let size = fs::metadata(&deb).unwrap().len();
        let entry = format!(
            "{control}Filename: ./{name}.deb\nSize: {size}\nSHA256: {}\n\n",
            sum.split(' ').next().unwrap()
        );
        let index = self.path("repository/Packages");
        fs::write(&index, fs::read_to_string(&index).unwrap_or_default() + &entry).unwrap();
    }

    fn run(&self, program: impl AsRef<Path>, args: &[&str]) -> Output {
        let mut command = Command::new(program.as_ref());
        command.args(args).env("APT_CONFIG", self.path("apt.conf")).env("DPKG_ADMINDIR", self.path("dpkg"));
        command.env("PLIM_KERNEL_CACHE", self.path("cache")).env("LC_ALL", "C");
        command.output().unwrap()
    }

    fn private(&self, package: &str) -> Output {
        self.run(concat!(env!("CARGO_MANIFEST_DIR"), "/setup/private.sh"), &[package])
    }
}

#[test]
fn what_apt_refuses_runs_from_a_private_tree() {
    if !Path::new("/usr/bin/apt-get").exists() {
        print_skip("apt is not installed");
        return;
    }
    let machine = Machine::new();
    let update = machine.run("apt-get", &["-q", "update"]);
    assert!(update.status.success(), "{update:?}");
    let before = fs::read(machine.path("dpkg/status")).unwrap();

    // As setup.sh installs: without that, apt takes away what is installed to make room.
    let refused = machine.run("apt-get", &["-q", "--simulate", "--no-remove", "install", "plimtest-wanted"]);
    assert!(!refused.status.success(), "apt would install it: {refused:?}");

    let unpacked = machine.private("plimtest-wanted");
    assert!(unpacked.status.success(), "{unpacked:?}");
    let ran = machine.run(machine.path("cache/packages/bin/plimtest-wanted"), &[]);
    assert_eq!((ran.status.success(), &ran.stdout[..]), (true, &b"from the private tree\n"[..]), "{ran:?}");
    // setup.sh counts it as present, with nothing installed.
    let there = "PATH=/usr/bin:/bin; . setup/lib.sh; present plimtest-wanted && present '~/usr/share/plimtest/data' && ! present no-such";
    let mut bash = Command::new("bash");
    bash.args(["-c", there])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PLIM_KERNEL_CACHE", machine.path("cache"));
    assert!(bash.status().unwrap().success());
    assert_eq!(fs::read(machine.path("dpkg/status")).unwrap(), before, "what is installed was changed");

    assert_eq!(machine.private("plimtest-nothing").status.code(), Some(1));
    assert!(!machine.path("cache/packages/bin/plimtest-nothing").exists());
}

#[allow(clippy::print_stdout, reason = "the form in which a test that cannot run says so")]
fn print_skip(why: &str) {
    println!("skipped: {why}");
}
