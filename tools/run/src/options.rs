//! The command line, as clap reads it. Values are kept as written; [`crate::assemble`] gives them meaning, so that an
//! error can name the option, the value and the nearest valid spelling.

use std::path::PathBuf;

use clap::Parser;

const AFTER_HELP: &str = "\
Confinement by default is Docker's: 14 capabilities, the docker-default seccomp profile, masked and read-only paths \
in /proc and /sys, no device but null, zero, full, random, urandom, tty and the pseudo-terminals; new mount, pid, \
ipc, uts, network (loopback alone) and cgroup namespaces. The programs are the host's own, below a layer that is \
thrown away; a directory of the host's data is given with -v, as -v /opt:/opt:ro.

SIZE is a number with a unit: b, k, m, g, t or p (powers of 1024; kb and kib are k), bytes without one.

The standard streams are the container's own: plim run copies between the caller's and a pipe, or with -t a \
pseudo-terminal. Only a pipe of the caller's is handed over as it is. Output that the command wrote is complete when \
plim run ends.

Exit status: the command's own; 128+N when signal N ended it; 127 the command is not there; 126 it cannot be \
executed; 125 plim run itself failed, and nothing is left behind.

Examples:
  plim run -- id
  plim run --cap-drop ALL --cap-add NET_RAW -m 64m -- tcpdump -c 1 -i lo
  plim run --security-opt seccomp=preset:tcpdump -- tcpdump -c 1 -i lo
  plim run --rootfs ./busybox -it sh
  plim run --rootfs ./busybox --print-spec -- sh > config.json";

/// Run a command in a new container
///
/// The options, their values and the defaults are those of `docker run`.
#[derive(Debug, Default, Parser)]
#[command(
    name = "plim-run",
    bin_name = "plim run",
    version,
    disable_help_flag = true,
    // The last one counts, as in docker run.
    args_override_self = true,
    override_usage = "plim run [OPTIONS] [--] COMMAND [ARG…]\n       plim run [OPTIONS] --bundle DIR",
    after_help = AFTER_HELP,
    max_term_width = 110
)]
pub(crate) struct Options {
    /// Command and its arguments; it is looked up in the container's PATH
    #[arg(value_name = "COMMAND", trailing_var_arg = true)]
    pub(crate) command: Vec<String>,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    pub(crate) help: Option<bool>,

    // ---- files ----
    /// Use this directory as the container's root, in place [default: the host's root below a layer that is thrown away, with
    /// the host's programs (/usr, /bin, /sbin, /lib*, /nix, /gnu) and its /etc; every other directory, and every one in /var,
    /// starts empty, files that not everyone may read cannot be read, and set-uid bits have no effect]
    #[arg(long, value_name = "DIR", help_heading = FILES, conflicts_with = "bundle")]
    pub(crate) rootfs: Option<PathBuf>,

    /// Run an OCI bundle: DIR/config.json says everything, and only --name, --detach, --interactive, --cgroup-parent,
    /// --snapshot and --print-spec may be given beside it
    #[arg(long, value_name = "DIR", help_heading = FILES)]
    pub(crate) bundle: Option<PathBuf>,

    /// Bind-mount a file or directory of the host: SRC:DST[:OPTIONS], with ro or rw, and [r]private, [r]slave or
    /// [r]shared [default: rw,rprivate]
    #[arg(short, long, value_name = "SRC:DST[:OPTS]", help_heading = FILES)]
    pub(crate) volume: Vec<String>,

    /// The same in words: type=bind,source=SRC,target=DST[,readonly][,bind-propagation=P] or
    /// type=tmpfs,target=DST[,tmpfs-size=SIZE][,tmpfs-mode=OCTAL]
    #[arg(long, value_name = "KEY=VALUE,…", help_heading = FILES)]
    pub(crate) mount: Vec<String>,

    /// Mount an empty tmpfs: DST[:OPTIONS] with the options of tmpfs(5) [default: noexec,nosuid,nodev]
    #[arg(long, value_name = "DST[:OPTS]", help_heading = FILES)]
    pub(crate) tmpfs: Vec<String>,

    /// Mount the root file system read-only
    #[arg(long, help_heading = FILES)]
    pub(crate) read_only: bool,

    /// size=SIZE: size of the layer that is thrown away [default: 1g, or half of the memory (of --memory, of the host) if that
    /// is less]
    #[arg(long, value_name = "KEY=VALUE", help_heading = FILES)]
    pub(crate) storage_opt: Vec<String>,

    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE", default_value = "64m", help_heading = FILES)]
    pub(crate) shm_size: String,

    // ---- process ----
    /// Working directory in the container, absolute [default: /]
    #[arg(short, long, value_name = "DIR", help_heading = PROCESS)]
    pub(crate) workdir: Option<String>,

    /// Set an environment variable; NAME alone takes the caller's value
    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = PROCESS)]
    pub(crate) env: Vec<String>,

    /// Read environment variables from a file, one NAME=VALUE a line, # begins a comment
    #[arg(long, value_name = "FILE", help_heading = PROCESS)]
    pub(crate) env_file: Vec<PathBuf>,

    /// Run as this user, by name or number; names are looked up in the container's own /etc/passwd and /etc/group
    /// [default: root]
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = PROCESS)]
    pub(crate) user: Option<String>,

    /// Add a supplementary group, by name or number
    #[arg(long, value_name = "GROUP", help_heading = PROCESS)]
    pub(crate) group_add: Vec<String>,

    /// Run this in place of COMMAND, with COMMAND as its arguments
    #[arg(long, value_name = "PROGRAM", help_heading = PROCESS)]
    pub(crate) entrypoint: Option<String>,

    /// Put an init at pid 1 that forwards signals and reaps children
    #[arg(long, help_heading = PROCESS)]
    pub(crate) init: bool,

    /// Pass standard input on; without it the container reads /dev/null
    #[arg(short, long, help_heading = PROCESS)]
    pub(crate) interactive: bool,

    /// Give the command a pseudo-terminal, in place of all three streams
    #[arg(short, long, help_heading = PROCESS)]
    pub(crate) tty: bool,

    /// Run in the background and print the container's id; the last 1 to 2 MiB of its output are in the files log.1 and
    /// log beside its state in /run/plim/ID, as long as it runs
    #[arg(short, long, help_heading = PROCESS)]
    pub(crate) detach: bool,

    /// Name of the container [default: made up]
    #[arg(long, value_name = "NAME", help_heading = PROCESS)]
    pub(crate) name: Option<String>,

    /// Accepted as docker run takes it: a container is always removed when it ends
    #[arg(long, help_heading = PROCESS)]
    pub(crate) rm: bool,

    /// Limit a resource of each process: NAME=SOFT[:HARD], -1 for no limit; names as nofile, nproc, core, memlock
    #[arg(long, value_name = "NAME=SOFT[:HARD]", help_heading = PROCESS)]
    pub(crate) ulimit: Vec<String>,

    /// Preference of the out-of-memory killer, -1000 (never) to 1000 (first)
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = PROCESS)]
    pub(crate) oom_score_adj: Option<i32>,

    // ---- privileges ----
    /// Add a capability: a name with or without CAP_ in any case, or ALL
    #[arg(long, value_name = "CAP", value_delimiter = ',', help_heading = PRIVILEGES)]
    pub(crate) cap_add: Vec<String>,

    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAP", value_delimiter = ',', help_heading = PRIVILEGES)]
    pub(crate) cap_drop: Vec<String>,

    /// Grant every capability that the caller holds and every device, mask nothing, install no seccomp filter
    #[arg(long, help_heading = PRIVILEGES)]
    pub(crate) privileged: bool,

    /// seccomp=FILE, seccomp=preset:NAME, seccomp=unconfined, no-new-privileges[=true|false], apparmor=PROFILE,
    /// apparmor=unconfined [default: plim-default where AppArmor is active], label=disable, label=user:USER, label=role:ROLE,
    /// label=type:TYPE, label=filetype:TYPE, label=level:LEVEL [default: container_t and container_file_t with two categories
    /// of the container's own, where the SELinux policy has them], systempaths=unconfined
    #[arg(long, value_name = "OPTION", help_heading = PRIVILEGES)]
    pub(crate) security_opt: Vec<String>,

    /// Give the container a device: HOST[:CONTAINER][:rwm] (r read, w write, m make the node) [default: rwm]
    #[arg(long, value_name = "HOST[:CONT[:rwm]]", help_heading = PRIVILEGES)]
    pub(crate) device: Vec<String>,

    /// Allow devices in the device cgroup: 'c 10:200 rwm', 'b 8:* r', 'a'
    #[arg(long, value_name = "RULE", help_heading = PRIVILEGES)]
    pub(crate) device_cgroup_rule: Vec<String>,

    // ---- namespaces ----
    /// User namespace: host, or private (root in the container is an unprivileged user outside) [default: host as
    /// root, private otherwise]
    #[arg(long, value_name = "MODE", help_heading = NAMESPACES)]
    pub(crate) userns: Option<String>,

    /// Pid namespace: private, host or container:NAME [default: private]
    #[arg(long, value_name = "MODE", help_heading = NAMESPACES)]
    pub(crate) pid: Option<String>,

    /// IPC namespace: private, host or container:NAME (/dev/shm stays the container's own) [default: private]
    #[arg(long, value_name = "MODE", help_heading = NAMESPACES)]
    pub(crate) ipc: Option<String>,

    /// Host name namespace: private or host [default: private]
    #[arg(long, value_name = "MODE", help_heading = NAMESPACES)]
    pub(crate) uts: Option<String>,

    /// Network namespace: none (loopback alone), host or container:NAME [default: none]
    #[arg(long, alias = "net", value_name = "MODE", help_heading = NAMESPACES)]
    pub(crate) network: Option<String>,

    /// Cgroup namespace: private or host [default: private]
    #[arg(long, value_name = "MODE", help_heading = NAMESPACES)]
    pub(crate) cgroupns: Option<String>,

    /// Time namespace: host or private; Docker has none [default: host]
    #[arg(long, value_name = "MODE", help_heading = NAMESPACES)]
    pub(crate) timens: Option<String>,

    /// Move a clock in the container's own time namespace: monotonic=SECONDS or boottime=SECONDS (uptime), also
    /// negative
    #[arg(long, value_name = "CLOCK=SECONDS", help_heading = NAMESPACES)]
    pub(crate) time_offset: Vec<String>,

    /// Host name in the container [default: the first 12 digits of its id]
    #[arg(short = 'h', long, value_name = "NAME", help_heading = NAMESPACES)]
    pub(crate) hostname: Option<String>,

    /// NIS domain name in the container
    #[arg(long, value_name = "NAME", help_heading = NAMESPACES)]
    pub(crate) domainname: Option<String>,

    /// Set a sysctl of one of the container's own namespaces
    #[arg(long, value_name = "NAME=VALUE", help_heading = NAMESPACES)]
    pub(crate) sysctl: Vec<String>,

    // ---- limits ----
    /// Most memory, at least 6m; 0 for no limit
    #[arg(short, long, value_name = "SIZE", help_heading = LIMITS)]
    pub(crate) memory: Option<String>,

    /// Most memory and swap together, -1 for unlimited swap [default: twice the memory]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, help_heading = LIMITS)]
    pub(crate) memory_swap: Option<String>,

    /// Memory that is given back last when the host is short of it
    #[arg(long, value_name = "SIZE", help_heading = LIMITS)]
    pub(crate) memory_reservation: Option<String>,

    /// Number of CPUs' worth of time, as 1.5
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = LIMITS)]
    pub(crate) cpus: Option<String>,

    /// Weight against other containers, 2 to 262144 [default: 1024]
    #[arg(short = 'c', long, value_name = "N", help_heading = LIMITS)]
    pub(crate) cpu_shares: Option<String>,

    /// Accounting period of --cpu-quota in microseconds, 1000 to 1000000 [default: 100000]
    #[arg(long, value_name = "US", help_heading = LIMITS)]
    pub(crate) cpu_period: Option<String>,

    /// Microseconds of CPU time a period, at least 1000; -1 for no limit
    #[arg(long, value_name = "US", allow_hyphen_values = true, help_heading = LIMITS)]
    pub(crate) cpu_quota: Option<String>,

    /// CPUs it may run on, as 0-3,8
    #[arg(long, value_name = "LIST", help_heading = LIMITS)]
    pub(crate) cpuset_cpus: Option<String>,

    /// Memory nodes it may use, as 0-1
    #[arg(long, value_name = "LIST", help_heading = LIMITS)]
    pub(crate) cpuset_mems: Option<String>,

    /// Most processes and threads; 0 or -1 for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = LIMITS)]
    pub(crate) pids_limit: Option<String>,

    /// Weight for block devices, 10 to 1000; 0 for the default
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub(crate) blkio_weight: Option<String>,

    /// Most bytes a second read from a block device
    #[arg(long, value_name = "PATH:SIZE", help_heading = LIMITS)]
    pub(crate) device_read_bps: Vec<String>,

    /// Most bytes a second written to a block device
    #[arg(long, value_name = "PATH:SIZE", help_heading = LIMITS)]
    pub(crate) device_write_bps: Vec<String>,

    /// Most reads a second from a block device
    #[arg(long, value_name = "PATH:N", help_heading = LIMITS)]
    pub(crate) device_read_iops: Vec<String>,

    /// Most writes a second to a block device
    #[arg(long, value_name = "PATH:N", help_heading = LIMITS)]
    pub(crate) device_write_iops: Vec<String>,

    /// Put the container's cgroup below this one [default: /plim]
    #[arg(long, value_name = "PATH", help_heading = LIMITS)]
    pub(crate) cgroup_parent: Option<String>,

    // ---- looking ----
    /// Write a snapshot of the container, taken right after the command's execve, to FILE (- is standard output)
    #[arg(long, value_name = "FILE", help_heading = LOOKING, conflicts_with_all = ["print_spec", "detach"])]
    pub(crate) snapshot: Option<PathBuf>,

    /// Report the container's refused calls and the reason for each when it ends (needs CAP_BPF and CAP_PERFMON)
    #[arg(long, help_heading = LOOKING, conflicts_with_all = ["print_spec", "detach"])]
    pub(crate) trace: bool,

    /// How they are reported: table, json, or jsonl as they happen
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "table", help_heading = LOOKING)]
    pub(crate) trace_format: plim_trace::report::Format,

    /// Write the report to FILE; - is standard output, and the container's then goes to standard error [default: standard
    /// error]
    #[arg(long, value_name = "FILE", help_heading = LOOKING, requires = "trace")]
    pub(crate) trace_output: Option<PathBuf>,

    // What `plim trace -- COMMAND` passes on.
    #[arg(long, hide = true, requires = "trace")]
    pub(crate) trace_live: bool,
    #[arg(long, hide = true, requires = "trace")]
    pub(crate) trace_times: bool,
    #[arg(long, hide = true, requires = "trace", value_delimiter = ',', value_parser = plim_trace::options::kind)]
    pub(crate) trace_cause: Vec<plim_trace::cause::Kind>,
    #[arg(long, hide = true, requires = "trace", value_delimiter = ',', value_parser = plim_trace::options::syscall)]
    pub(crate) trace_syscall: Vec<String>,

    /// Record what the command uses (system calls, capabilities, files, devices, ports) to FILE, for plim learn (needs CAP_BPF and
    /// CAP_PERFMON)
    #[arg(long, value_name = "FILE", help_heading = LOOKING, conflicts_with_all = ["print_spec", "detach", "trace"])]
    pub(crate) learn: Option<PathBuf>,

    /// Print the container as an OCI config.json and do not run it
    #[arg(long, help_heading = LOOKING)]
    pub(crate) print_spec: bool,
}

const FILES: &str = "Files";
const PROCESS: &str = "Process";
const PRIVILEGES: &str = "Privileges";
const NAMESPACES: &str = "Namespaces";
const LIMITS: &str = "Limits";
const LOOKING: &str = "Looking from outside";

/// What may be given beside `--bundle`: the rest is the bundle's to say.
pub(crate) const BESIDE_BUNDLE: [&str; 17] = [
    "bundle",
    "name",
    "detach",
    "interactive",
    "rm",
    "cgroup_parent",
    "snapshot",
    "print_spec",
    "help",
    "trace",
    "trace_format",
    "trace_output",
    "trace_live",
    "trace_times",
    "trace_cause",
    "trace_syscall",
    "learn",
];

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(args: &[&str]) -> Options {
        Options::try_parse_from(std::iter::once("plim-run").chain(args.iter().copied()))
            .unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    #[test]
    fn the_definition_holds_together() {
        Options::command().debug_assert();
    }

    #[test]
    fn the_first_word_that_is_no_option_begins_the_command() {
        for (args, command) in [
            (&["ls", "-l", "--name", "x"][..], &["ls", "-l", "--name", "x"][..]),
            (&["--", "ls", "-l"], &["ls", "-l"]),
            (&["-m", "64m", "sh", "-c", "true"], &["sh", "-c", "true"]),
            (&["-it", "sh"], &["sh"]),
            (&["ls", "--", "x"], &["ls", "--", "x"]),
            (&["--", "-x"], &["-x"]),
        ] {
            assert_eq!(parse(args).command, command, "{args:?}");
        }
    }

    #[test]
    fn the_last_of_a_repeated_option_counts_and_lists_grow() {
        let options = parse(&[
            "--pids-limit",
            "50",
            "--pids-limit",
            "-1",
            "--cpus",
            "-1",
            "-e",
            "A=1",
            "-e",
            "B=2",
            "sh",
        ]);
        assert_eq!(options.pids_limit.as_deref(), Some("-1"));
        // Refused later, by name and with the range.
        assert_eq!(options.cpus.as_deref(), Some("-1"));
        assert_eq!(options.env, ["A=1", "B=2"]);
    }

    #[test]
    fn short_options_are_dockers() {
        let options =
            parse(&["-it", "-h", "box", "-uroot", "-w", "/x", "-eA=1", "-v/a:/b", "-m1g", "-c", "5", "sh"]);
        assert!(options.interactive && options.tty && !options.detach);
        assert_eq!(options.hostname.as_deref(), Some("box"));
        assert_eq!(options.user.as_deref(), Some("root"));
        assert_eq!(options.workdir.as_deref(), Some("/x"));
        assert_eq!(options.env, ["A=1"]);
        assert_eq!(options.volume, ["/a:/b"]);
        assert_eq!(options.memory.as_deref(), Some("1g"));
        assert_eq!(options.cpu_shares.as_deref(), Some("5"));
    }

    #[test]
    fn minus_one_is_a_value() {
        let options = parse(&["--memory-swap", "-1", "--pids-limit=-1", "--cpu-quota", "-1", "true"]);
        assert_eq!(options.memory_swap.as_deref(), Some("-1"));
        assert_eq!(options.pids_limit.as_deref(), Some("-1"));
        assert_eq!(options.cpu_quota.as_deref(), Some("-1"));
        assert_eq!(options.command, ["true"]);
    }
}
