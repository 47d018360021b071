//! Start, end, exit statuses, init, terminal.

use std::os::fd::AsFd as _;

use plim_model::rlimit::{Limit, Rlimit};
use plim_runtime::{Exit, RuntimeError, Stdio};

use crate::support::*;

pub(crate) const CASES: &[crate::Case] = &[
    ("life_true_runs_and_leaves_nothing", true_runs),
    ("life_exit_status_is_the_commands", exit_status),
    ("life_killed_by_signal_is_128_plus_n", killed),
    ("life_command_not_found_is_127", not_found),
    ("life_not_executable_is_126", not_executable),
    ("life_directory_root", directory_root),
    ("life_only_standard_descriptors", descriptors),
    ("life_init_reaps_and_is_not_the_hosts_file", init),
    ("life_start_observed_sees_the_command", observed),
    ("life_dropping_a_created_container_clears_it_away", dropped),
    ("life_name_in_use", name_in_use),
    ("life_working_directory_is_made", working_directory),
    ("life_limits_and_umask", limits),
    ("life_terminal", terminal),
];

fn true_runs() {
    let config = config(&["true"]);
    assert_eq!(run(&config).exit, Exit::Exited(0));
    assert_eq!(traces(&config), Vec::<String>::new());
}

fn exit_status() {
    assert_eq!(run(&script("exit 42")).exit.code(), 42);
}

fn killed() {
    // Process 1 is spared by signals it has no handler for, so a child shows it.
    let outcome = run(&script("sh -c 'kill -KILL $$'; exit $?"));
    assert_eq!(outcome.exit.code(), 137);
    let created =
        plim_runtime::create(&config(&["sleep", "100"]), Stdio::without_input()).expect("a container");
    let running = created.start().expect("a start");
    running.kill().expect("a kill");
    assert_eq!(running.wait().expect("an end"), Exit::Signaled(9));
}

fn not_found() {
    for command in ["no-such-command", "/no/such/command"] {
        let config = config(&[command]);
        let error = try_run(&config).expect_err("an error");
        assert_eq!(error.exit_code(), 127, "{error}");
        assert!(error.to_string().contains(command), "{error}");
        assert_eq!(traces(&config), Vec::<String>::new());
    }
}

fn not_executable() {
    for command in ["/etc/passwd", "/etc"] {
        let error = try_run(&config(&[command])).expect_err("an error");
        assert_eq!(error.exit_code(), 126, "{error}");
    }
}

fn directory_root() {
    let (_guard, root) = busybox_root();
    let said = output(&on_directory(script("ls / && echo x > /written"), &root));
    assert_eq!(said, "bin\ndev\netc\nproc\nsys\ntmp\n");
    assert_eq!(std::fs::read_to_string(root.join("written")).expect("what the container wrote"), "x\n");
}

fn descriptors() {
    // 3 is the directory that ls reads.
    assert_eq!(output(&config(&["ls", "/proc/self/fd"])), "0\n1\n2\n3\n");
}

fn init() {
    let mut config = script(
        "readlink /proc/1/exe; echo $$; (sleep 0.1 &) ; sleep 0.3; ps -e -o stat= | grep -c Z; exit 7",
    );
    config.init = true;
    let outcome = run(&config);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(outcome.exit, Exit::Exited(7), "{outcome:?}");
    // The path of a mount that is in no namespace, or of memory.
    assert!(lines[0] == "/" || lines[0].starts_with("/memfd:plim-run"), "{outcome:?}");
    assert_eq!(lines[1..], ["2", "0"], "{outcome:?}");
}

fn observed() {
    let created =
        plim_runtime::create(&config(&["sleep", "0"]), Stdio::without_input()).expect("a container");
    let mut seen = String::new();
    let running = created
        .start_observed(|pid| seen = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default())
        .expect("a start");
    assert_eq!(running.wait().expect("an end"), Exit::Exited(0));
    assert_eq!(seen, "sleep\n");
}

fn dropped() {
    let config = config(&["true"]);
    let created = plim_runtime::create(&config, Stdio::without_input()).expect("a container");
    let pid = created.pid();
    assert!(pid.0 > 0);
    drop(created);
    assert_eq!(traces(&config), Vec::<String>::new());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

fn name_in_use() {
    let first = config(&["sleep", "100"]);
    let mut second = config(&["true"]);
    second.name.clone_from(&first.name);
    let running =
        plim_runtime::create(&first, Stdio::without_input()).expect("a container").start().expect("a start");
    match try_run(&second) {
        Err(RuntimeError::NameInUse { name, id }) => {
            assert_eq!((name, id), (first.name.clone(), first.id.clone()))
        }
        other => panic!("{other:?}"),
    }
    assert!(plim_runtime::state_directory().join(&first.id).join("state.json").exists());
    drop(running);
    assert_eq!(run(&second).exit, Exit::Exited(0));
}

fn working_directory() {
    let mut config = config(&["pwd"]);
    config.process.cwd = "/srv/made/for/it".into();
    assert_eq!(output(&config), "/srv/made/for/it\n");
    assert!(!std::path::Path::new("/srv/made").exists());
}

fn limits() {
    let mut config = script("ulimit -n; ulimit -Hn; umask; cat /proc/self/oom_score_adj");
    config
        .process
        .rlimits
        .insert("RLIMIT_NOFILE".into(), Rlimit { soft: Limit::Of(99), hard: Limit::Of(100) });
    config.process.user.umask = Some(0o027);
    config.process.oom_score_adj = Some(300);
    assert_eq!(output(&config), "99\n100\n0027\n300\n");
    config.process.rlimits.insert("RLIMIT_NOFLIE".into(), Rlimit { soft: Limit::Of(1), hard: Limit::Max });
    let error = try_run(&config).expect_err("an unknown name").to_string();
    assert!(error.contains("RLIMIT_NOFLIE"), "{error}");
}

fn terminal() {
    // The launcher's standard output is a pipe of ours: the terminal's output is copied there.
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    nix::unistd::dup2_stdout(write.as_fd()).expect("a redirection");
    drop(write);
    let mut config = script("tty; test -c /dev/console && stat -c %t:%T /dev/console /dev/pts/0; echo done");
    config.process.terminal = true;
    let exit = plim_runtime::create(&config, Stdio::without_input())
        .and_then(plim_runtime::Created::start)
        .and_then(plim_runtime::Running::wait)
        .expect("a run");
    let null = std::fs::File::options().write(true).open("/dev/null").expect("null");
    nix::unistd::dup2_stdout(null.as_fd()).expect("a redirection");
    let said = std::io::read_to_string(std::fs::File::from(read)).expect("output");
    assert_eq!(exit, Exit::Exited(0), "{said}");
    let lines: Vec<&str> = said.lines().map(|line| line.trim_end_matches('\r')).collect();
    assert_eq!(lines.first(), Some(&"/dev/pts/0"), "{said}");
    assert_eq!(lines.get(1), lines.get(2), "{said}");
    assert_eq!(lines.last(), Some(&"done"), "{said}");
}
