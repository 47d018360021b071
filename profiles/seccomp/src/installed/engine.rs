//! The programs that turn a profile into a filter.
//!
//! The end-to-end suite (`policy-tests/src/suites/engines`) compares what is said here with the filters that the programs of the
//! machine install. So were seen: runc 1.1.5, 1.1.15 and 1.3.6, crun 1.8.1, 1.21 and 1.28, Docker 20.10.24 and 28.5.2, Podman 4.3.1
//! and 5.8.6, containerd 1.6.20 and 2.1.9, with libseccomp 2.5.4 (Debian's), 2.6.0 and 2.6.1. youki 0.7.0, which Debian does not
//! have, was compared once by hand, on the profiles with which it starts at all.

use super::spelling::NotOneOf;
use crate::arch::Arch;
use crate::dialect::{Dialect, FilterFlag};

/// Who reads the profile. The engines that manage containers settle their own keys first and hand what is left to a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// Nobody: [`crate::resolve::resolve`], which `plim run` installs.
    Written,
    /// runc 1.2 and later.
    Runc,
    /// runc from 1.0.0 to 1.1.14.
    Runc1_1,
    /// runc 1.1.15, the last of its series.
    Runc1_1_15,
    /// crun 1.x.
    Crun,
    /// youki (libcontainer) 0.7 and later.
    Youki,
    /// youki 0.5 and 0.6: from its sources, not compared with the program.
    Youki0_6,
    /// Docker Engine 23 and later, with runc 1.2 and later.
    Docker,
    /// The same with runc 1.1, which Docker's packages brought until 27.3.
    DockerRunc1_1,
    /// The same with runc 1.1.15.
    DockerRunc1_1_15,
    /// The same with crun (`--runtime`).
    DockerCrun,
    /// Docker Engine 20.10, with runc 1.1.
    Docker20_10,
    /// Podman 4 and later, with crun.
    Podman,
    /// The same with runc 1.2 and later.
    PodmanRunc,
    /// The same with runc 1.1.
    PodmanRunc1_1,
    /// The same with runc 1.1.15.
    PodmanRunc1_1_15,
    /// containerd, with runc 1.2 and later: `ctr run --seccomp-profile`, nerdctl, and Kubernetes' `Localhost` profiles.
    Containerd,
    /// The same with runc 1.1.
    ContainerdRunc1_1,
    /// The same with runc 1.1.15.
    ContainerdRunc1_1_15,
    /// The same with crun.
    ContainerdCrun,
}

/// Spelling, engine and the runtime that compiles the filter, in the order in which they are listed.
#[rustfmt::skip]
const SPELLINGS: [(&str, Engine, Option<Runtime>); 20] = [
    ("written", Engine::Written, None),
    ("runc", Engine::Runc, Some(Runtime::Runc)),
    ("runc@1.1", Engine::Runc1_1, Some(Runtime::Runc1_1)),
    ("runc@1.1.15", Engine::Runc1_1_15, Some(Runtime::Runc1_1_15)),
    ("crun", Engine::Crun, Some(Runtime::Crun)),
    ("youki", Engine::Youki, Some(Runtime::Youki)),
    ("youki@0.6", Engine::Youki0_6, Some(Runtime::Youki0_6)),
    ("docker", Engine::Docker, Some(Runtime::Runc)),
    ("docker/runc@1.1", Engine::DockerRunc1_1, Some(Runtime::Runc1_1)),
    ("docker/runc@1.1.15", Engine::DockerRunc1_1_15, Some(Runtime::Runc1_1_15)),
    ("docker/crun", Engine::DockerCrun, Some(Runtime::Crun)),
    ("docker@20.10", Engine::Docker20_10, Some(Runtime::Runc1_1)),
    ("podman", Engine::Podman, Some(Runtime::Crun)),
    ("podman/runc", Engine::PodmanRunc, Some(Runtime::Runc)),
    ("podman/runc@1.1", Engine::PodmanRunc1_1, Some(Runtime::Runc1_1)),
    ("podman/runc@1.1.15", Engine::PodmanRunc1_1_15, Some(Runtime::Runc1_1_15)),
    ("containerd", Engine::Containerd, Some(Runtime::Runc)),
    ("containerd/runc@1.1", Engine::ContainerdRunc1_1, Some(Runtime::Runc1_1)),
    ("containerd/runc@1.1.15", Engine::ContainerdRunc1_1_15, Some(Runtime::Runc1_1_15)),
    ("containerd/crun", Engine::ContainerdCrun, Some(Runtime::Crun)),
];

impl Engine {
    /// Every engine.
    pub fn all() -> impl Iterator<Item = Engine> + Clone {
        SPELLINGS.iter().map(|(_, engine, _)| *engine)
    }

    /// As it is spelled on a command line.
    pub fn name(self) -> &'static str {
        SPELLINGS[self as usize].0
    }

    /// The runtime that compiles the filter, `None` for [`Engine::Written`].
    pub fn runtime(self) -> Option<Runtime> {
        SPELLINGS[self as usize].2
    }

    /// A bare runtime, whose profile is in OCI's dialect or in one that its engine has settled.
    pub fn is_bare_runtime(self) -> bool {
        self.runtime().is_some() && self.reads() == Keys::AsWritten
    }

    /// Which of the dialects' keys it reads.
    pub(super) fn reads(self) -> Keys {
        match self {
            Engine::Docker
            | Engine::DockerRunc1_1
            | Engine::DockerRunc1_1_15
            | Engine::DockerCrun
            | Engine::Docker20_10 => Keys::Docker,
            Engine::Podman | Engine::PodmanRunc | Engine::PodmanRunc1_1 | Engine::PodmanRunc1_1_15 => {
                Keys::Podman
            }
            Engine::Containerd
            | Engine::ContainerdRunc1_1
            | Engine::ContainerdRunc1_1_15
            | Engine::ContainerdCrun => Keys::Oci,
            Engine::Written
            | Engine::Runc
            | Engine::Runc1_1
            | Engine::Runc1_1_15
            | Engine::Crun
            | Engine::Youki
            | Engine::Youki0_6 => Keys::AsWritten,
        }
    }

    /// Whether `includes.arches`, `excludes.arches` and `archMap` can speak of a machine of this architecture: the engine must have
    /// a name for it (moby's and containers/common's tables).
    pub(super) fn names_host(self, host: Arch) -> bool {
        let newer = matches!(host, Arch::Riscv64 | Arch::Loongarch64);
        let never = matches!(host, Arch::Parisc | Arch::Parisc64 | Arch::M68k | Arch::Sh | Arch::Sheb);
        match self {
            Engine::Docker20_10 => !(newer || never || host == Arch::Mips || host == Arch::X32),
            Engine::Docker | Engine::DockerRunc1_1 | Engine::DockerRunc1_1_15 | Engine::DockerCrun => {
                !(never || host == Arch::Mips || host == Arch::X32)
            }
            _ => true,
        }
    }
}

/// Whose keys are read; keys of another dialect are as if they were not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// All, as the profile's own dialect has them: the engines proper have settled them before a runtime sees the profile.
    AsWritten,
    Docker,
    Podman,
    Oci,
}

impl Keys {
    /// Whether `includes`, `excludes`, `archMap` and `name` are read.
    pub(super) fn conditions(self) -> bool {
        self != Keys::Oci
    }

    /// Whether `minKernel` is read.
    pub(super) fn min_kernel(self, dialect: Dialect) -> bool {
        match self {
            Keys::AsWritten => dialect != Dialect::Podman,
            Keys::Docker => true,
            Keys::Podman | Keys::Oci => false,
        }
    }

    /// Whether errors by name (`errno`, `defaultErrno`) are read.
    pub(super) fn error_names(self) -> bool {
        matches!(self, Keys::AsWritten | Keys::Podman)
    }
}

/// The runtimes, which differ in what they add to libseccomp's filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// runc 1.2 and later.
    Runc,
    /// runc from 1.0.0 to 1.1.14.
    Runc1_1,
    /// runc 1.1.15, which puts ENOSYS above the machine's own calls also where its architecture is not listed.
    Runc1_1_15,
    /// crun.
    Crun,
    /// youki 0.7 and later.
    Youki,
    /// youki 0.5 and 0.6.
    Youki0_6,
}

impl Runtime {
    /// Whether calls above the highest that the profile names get ENOSYS (runc since 1.0.0-rc93).
    pub(super) fn adds_enosys(self) -> bool {
        matches!(self, Runtime::Runc | Runtime::Runc1_1 | Runtime::Runc1_1_15)
    }

    /// Whether it takes `value` of a masked comparison for what is compared, and `valueTwo` for the mask
    /// (libcontainer/src/seccomp/mod.rs, `translate_op`).
    pub(super) fn exchanges_masks(self) -> bool {
        matches!(self, Runtime::Youki | Runtime::Youki0_6)
    }

    /// Whether each condition of a rule becomes a rule of its own, also where each looks at another argument.
    pub(super) fn splits_all(self) -> bool {
        self == Runtime::Youki0_6
    }

    /// Whether it knows an architecture's name in a profile; crun and youki ask libseccomp.
    pub(super) fn accepts(self, arch: Arch) -> bool {
        let late = matches!(arch, Arch::Riscv64 | Arch::Loongarch64);
        let never = matches!(arch, Arch::Parisc | Arch::Parisc64 | Arch::M68k | Arch::Sh | Arch::Sheb);
        match self {
            Runtime::Runc => !never,
            Runtime::Runc1_1 | Runtime::Runc1_1_15 => !(late || never),
            Runtime::Crun | Runtime::Youki | Runtime::Youki0_6 => true,
        }
    }

    /// The flags for seccomp(2) that come of the profile's, or why it refuses them.
    pub(super) fn flags(self, written: &[FilterFlag]) -> Result<Vec<FilterFlag>, &'static str> {
        match self {
            Runtime::Runc1_1 | Runtime::Runc1_1_15 if !written.is_empty() => {
                Err("no flags, since runc 1.1 knows none")
            }
            // It filters a single thread, which then executes.
            Runtime::Runc => Ok(written.iter().copied().filter(|flag| *flag != FilterFlag::Tsync).collect()),
            Runtime::Crun if written.is_empty() => Ok(vec![FilterFlag::SpecAllow]),
            Runtime::Runc1_1 | Runtime::Runc1_1_15 | Runtime::Crun | Runtime::Youki | Runtime::Youki0_6 => {
                Ok(written.to_vec())
            }
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Engine {
    type Err = NotOneOf;

    /// Reads `runc`, `docker@20.10`, `containerd/runc@1.1`, …; a longer version (`runc@1.1.5`) is taken by the generation that it
    /// belongs to.
    ///
    /// ```
    /// use plim_seccomp::installed::Engine;
    /// assert_eq!("docker".parse(), Ok(Engine::Docker));
    /// assert_eq!("runc@1.1.5".parse(), Ok(Engine::Runc1_1));
    /// assert_eq!("containerd@1.6.20/runc@1.1.5".parse(), Ok(Engine::ContainerdRunc1_1));
    /// let error = "podmann".parse::<Engine>().unwrap_err();
    /// assert!(error.to_string().ends_with(r#"did you mean "podman"?"#), "{error}");
    /// ```
    fn from_str(text: &str) -> Result<Engine, NotOneOf> {
        named(text)
            .or_else(|| by_version(text))
            .or_else(|| with_runtime(text))
            .ok_or_else(|| NotOneOf::new("an engine", text, SPELLINGS.iter().map(|(name, ..)| *name)))
    }
}

fn named(text: &str) -> Option<Engine> {
    SPELLINGS.iter().find(|(name, ..)| *name == text).map(|(_, engine, _)| *engine)
}

/// `ENGINE[@VERSION]/RUNTIME[@VERSION]`.
fn with_runtime(text: &str) -> Option<Engine> {
    let (engine, runtime) = text.split_once('/')?;
    let read = |word: &str| named(word).or_else(|| by_version(word));
    let (engine, runtime) = (read(engine)?, read(runtime)?);
    if engine.is_bare_runtime() || !runtime.is_bare_runtime() {
        return None;
    }
    named(&format!("{}/{}", engine.name(), runtime.name()))
        .or_else(|| (engine.runtime() == runtime.runtime()).then_some(engine))
}

fn by_version(text: &str) -> Option<Engine> {
    if text.contains('/') {
        return None;
    }
    let (name, version) = text.split_once('@')?;
    // Of a package's version (1.1.5+ds1-1) the upstream part.
    let version = version.split(['-', '+', '~']).next().unwrap_or(version);
    let parts: Vec<u16> = version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match (name, parts.as_slice()) {
        ("runc", [1, 1, 15..=u16::MAX, ..]) => Some(Engine::Runc1_1_15),
        ("runc", [1, 0 | 1, ..]) => Some(Engine::Runc1_1),
        ("runc", [1, 2..=u16::MAX, ..]) => Some(Engine::Runc),
        ("docker", [20, 10, ..]) => Some(Engine::Docker20_10),
        ("docker", [23..=u16::MAX, ..]) => Some(Engine::Docker),
        ("crun", [1, ..]) => Some(Engine::Crun),
        ("youki", [0, 5 | 6, ..]) => Some(Engine::Youki0_6),
        ("youki", [0, 7..=u16::MAX, ..]) => Some(Engine::Youki),
        ("podman", [4..=u16::MAX, ..]) => Some(Engine::Podman),
        ("containerd", [1 | 2, ..]) => Some(Engine::Containerd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_stand_in_the_order_of_the_type_and_round_trip() {
        for (index, engine) in Engine::all().enumerate() {
            assert_eq!(engine as usize, index);
            assert_eq!(engine.to_string().parse(), Ok(engine));
        }
        for (text, engine) in [
            ("runc@1.0.0", Engine::Runc1_1),
            ("runc@1.3", Engine::Runc),
            ("runc@1.1.5+ds1-1", Engine::Runc1_1),
            ("runc@1.2.0-rc.1", Engine::Runc),
            ("docker@20.10.24", Engine::Docker20_10),
            ("docker@28.5.2", Engine::Docker),
            ("podman@4.3.1", Engine::Podman),
            ("youki@0.7.0", Engine::Youki),
            ("youki@0.5.7", Engine::Youki0_6),
            ("runc@1.1.15", Engine::Runc1_1_15),
            ("docker@24.0.7/runc@1.1.9", Engine::DockerRunc1_1),
            ("docker@26.1.5/runc@1.1.15", Engine::DockerRunc1_1_15),
            ("docker/runc@1.3.0", Engine::Docker),
            ("docker@20.10.24/runc@1.1.5", Engine::Docker20_10),
            ("podman@4.3.1/crun@1.8.1", Engine::Podman),
            ("containerd@1.6.20~ds1-1/runc@1.1.5+ds1-1", Engine::ContainerdRunc1_1),
        ] {
            assert_eq!(text.parse(), Ok(engine), "{text}");
        }
        for bad in [
            "",
            "runc@",
            "runc@0.9",
            "docker@19.03",
            "Docker",
            "lxc",
            "runc@1.x",
            "runc/crun",
            "docker/podman",
            "docker@20.10/crun",
            &"x".repeat(9000),
        ] {
            let error = bad.parse::<Engine>().unwrap_err().to_string();
            assert!(
                error.contains("written, runc, runc@1.1, runc@1.1.15, crun") && error.len() < 400,
                "{bad}: {error}"
            );
        }
        assert_eq!("Docker".parse::<Engine>().unwrap_err().nearest.as_deref(), Some("docker"));
    }
}
