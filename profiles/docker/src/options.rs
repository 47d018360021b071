//! The options of `run` and `create`, and those before them, by engine.
//!
//! From the sources of docker/cli (`cli/command/container/opts.go`), podman (`cmd/podman/common/create.go`, `docs/source/markdown`)
//! and nerdctl (`cmd/nerdctl/container/container_run.go`) of 2026, with the options that older versions have.

/// A program that runs containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Engine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// nerdctl, containerd's command line.
    Nerdctl,
    /// Plimsoll's own runtime, which has no images: the first word is the command.
    Plim,
}

/// How an option takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A boolean: a value only behind `=`.
    Flag,
    /// One value.
    Value,
    /// Values between commas, as CSV (pflag's `StringSlice`).
    List,
}

impl Engine {
    /// The engine behind a program's name.
    pub fn from_program(program: &str) -> Option<Engine> {
        match program {
            "docker" => Some(Engine::Docker),
            "podman" => Some(Engine::Podman),
            "nerdctl" | "nerdctl.lima" | "finch" => Some(Engine::Nerdctl),
            "plim" | "plim-run" => Some(Engine::Plim),
            _ => None,
        }
    }

    /// The program's name.
    pub fn program(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Podman => "podman",
            Engine::Nerdctl => "nerdctl",
            Engine::Plim => "plim",
        }
    }

    /// How `--NAME` of `run` takes its value, and the name that it is known by; `None` where there is no such option.
    pub fn option(self, name: &str) -> Option<(&'static str, Takes)> {
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, known)| known);
        self.options().find(|(known, _)| *known == name)
    }

    /// All long options of `run`.
    pub fn options(self) -> impl Iterator<Item = (&'static str, Takes)> {
        let tables: &'static [(&'static str, Takes)] = match self {
            Engine::Docker => &DOCKER,
            Engine::Podman => &PODMAN,
            Engine::Nerdctl => &NERDCTL,
            Engine::Plim => &PLIM,
        };
        tables
            .iter()
            .chain(&COMMON)
            .flat_map(|(names, takes)| names.split_whitespace().map(|name| (name, *takes)))
            .map(move |(name, takes)| match takes {
                // Lists of Docker's are repeated instead.
                Takes::List if matches!(self, Engine::Docker | Engine::Plim) => (name, Takes::Value),
                _ => (name, takes),
            })
    }

    /// The long name of a one-letter option of `run`.
    pub fn short(self, letter: char) -> Option<&'static str> {
        let (_, name) = SHORT.iter().find(|(short, _)| *short == letter)?;
        self.option(name).map(|(name, _)| name)
    }

    /// Whether a global option, before the verb, takes a value; `None` where there is no such option.
    pub fn global(self, name: &str) -> Option<Takes> {
        let (flags, values) = match self {
            Engine::Docker => (
                "D debug tls tlsverify help h v version",
                "c context config H host l log-level tlscacert tlscert tlskey",
            ),
            Engine::Podman => (
                "help noout r remote syslog transient-store trace v version",
                "c connection cgroup-manager cdi-spec-dir config conmon cpu-profile db-backend default-mounts-file docker-config \
                 events-backend hooks-dir identity imagestore log-level memory-profile module namespace network-cmd-path \
                 network-config-dir out pull-option registries-conf registries-conf-dir root runroot runtime runtime-flag ssh \
                 storage-driver storage-opt tls-ca tls-cert tls-key tmpdir url volumepath",
            ),
            Engine::Nerdctl => (
                "debug debug-full experimental help h insecure-registry kube-hide-dupe selinux-enabled v version",
                "a H address host n namespace snapshotter storage-driver cni-path cni-netconfpath data-root cgroup-manager hosts-dir \
                 host-gateway-ip bridge-ip cdi-spec-dirs userns-remap dns dns-opts dns-search",
            ),
            Engine::Plim => ("q quiet v verbose help h V version", "color"),
        };
        let among = |names: &str| names.split_whitespace().any(|known| known == name);
        if among(flags) { Some(Takes::Flag) } else { among(values).then_some(Takes::Value) }
    }
}

const ALIASES: [(&str, &str); 11] = [
    ("net", "network"),
    ("net-alias", "network-alias"),
    ("dns-opt", "dns-option"),
    ("healthcheck-command", "health-cmd"),
    ("healthcheck-interval", "health-interval"),
    ("healthcheck-retries", "health-retries"),
    ("healthcheck-start-period", "health-start-period"),
    ("healthcheck-timeout", "health-timeout"),
    ("override-arch", "arch"),
    ("override-os", "os"),
    ("override-variant", "variant"),
];

const SHORT: [(char, &str); 15] = [
    ('a', "attach"),
    ('c', "cpu-shares"),
    ('d', "detach"),
    ('e', "env"),
    ('h', "hostname"),
    ('i', "interactive"),
    ('l', "label"),
    ('m', "memory"),
    ('P', "publish-all"),
    ('p', "publish"),
    ('q', "quiet"),
    ('t', "tty"),
    ('u', "user"),
    ('v', "volume"),
    ('w', "workdir"),
];

/// What all of them have.
const COMMON: [(&str, Takes); 3] = [
    ("detach help init interactive oom-kill-disable privileged read-only rm sig-proxy tty", Takes::Flag),
    (
        "annotation blkio-weight blkio-weight-device cgroup-parent cgroupns cidfile cpu-period cpu-quota cpu-rt-period \
         cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems detach-keys device-read-bps device-read-iops device-write-bps \
         device-write-iops domainname entrypoint env hostname ip ip6 ipc label mac-address memory memory-reservation memory-swap \
         memory-swappiness mount name network oom-score-adj pid pids-limit platform pull restart runtime security-opt shm-size \
         stop-signal stop-timeout tmpfs user userns uts volume volumes-from workdir",
        Takes::Value,
    ),
    (
        "attach cap-add cap-drop device device-cgroup-rule dns dns-option dns-search env-file group-add label-file publish ulimit",
        Takes::List,
    ),
];

const DOCKER: [(&str, Takes); 2] = [
    ("disable-content-trust no-healthcheck publish-all quiet use-api-socket", Takes::Flag),
    (
        "add-host cpu-count cpu-percent expose gpus health-cmd health-interval health-retries health-start-interval \
         health-start-period health-timeout io-maxbandwidth io-maxiops isolation kernel-memory link link-local-ip log-driver log-opt \
         network-alias storage-opt sysctl volume-driver",
        Takes::Value,
    ),
];

const PODMAN: [(&str, Takes); 3] = [
    (
        "disable-content-trust env-host http-proxy no-healthcheck no-hosts no-hostname passwd publish-all quiet \
         read-only-tmpfs replace rmi rootfs tls-verify unsetenv-all",
        Takes::Flag,
    ),
    (
        "arch authfile cert-dir cgroups conmon-pidfile creds env-merge gidmap gpus health-cmd health-interval \
         health-log-destination health-max-log-count health-max-log-size health-on-failure health-retries health-start-period \
         health-startup-cmd health-startup-interval health-startup-retries health-startup-success health-startup-timeout \
         health-timeout hosts-file image-volume init-path kernel-memory log-driver os passwd-entry group-entry personality pidfile \
         pod pod-id-file preserve-fds rdt-class retry retry-delay sdnotify seccomp-policy secret shm-size-systemd signature-policy \
         subgidname subuidname systemd timeout tz uidmap umask unsetenv variant",
        Takes::Value,
    ),
    (
        "add-host cgroup-conf chrootdirs decryption-key expose hostuser link log-opt network-alias preserve-fd requires storage-opt sysctl",
        Takes::List,
    ),
];

const NERDCTL: [(&str, Takes); 3] = [
    ("no-healthcheck publish-all quiet rootfs", Takes::Flag),
    (
        "cosign-certificate-identity cosign-certificate-identity-regexp cosign-certificate-oidc-issuer \
         cosign-certificate-oidc-issuer-regexp cosign-key gpus health-cmd health-interval health-retries health-start-interval \
         health-start-period health-timeout init-binary ipfs-address isolation kernel-memory link log-driver log-opt network-alias \
         pidfile rdt-class storage-opt sysctl systemd umask verify volume-driver",
        Takes::Value,
    ),
    ("add-host cgroup-conf expose", Takes::List),
];

const PLIM: [(&str, Takes); 2] = [
    ("print-spec trace quiet", Takes::Flag),
    (
        "bundle learn rootfs snapshot storage-opt sysctl time-offset timens trace-format trace-output umask gidmap uidmap",
        Takes::Value,
    ),
];
