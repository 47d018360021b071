//! Running plim's own command lines, where the promise is of an option and not of an OCI config.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::launcher::{Ctx, Outcome, Running};
use crate::spec::Case;
use crate::weaken::Weakening;

/// The path of a program on PATH.
pub fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

impl Ctx {
    /// `plim-run OPTIONS --rootfs DIR -- /bin/witness ARGS`, with the weakening's option if there is one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn plim_start(&self, options: &[&str], args: &[&str]) -> Result<Running> {
        let case = self.case(&[])?;
        let rootfs = case.rootfs.clone();
        self.plim_start_in(case, &rootfs, options, args)
    }

    /// As [`Ctx::plim_start`], in a root file system that containers share.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn plim_start_in(
        &self,
        case: Case,
        rootfs: &Path,
        options: &[&str],
        args: &[&str],
    ) -> Result<Running> {
        let rootfs = rootfs.display().to_string();
        let mut all = vec!["--rootfs", &rootfs];
        all.extend(options);
        self.plim_command(case, &all, "/bin/witness", &[&["/bin/witness"], args].concat())
    }

    /// `plim-run OPTIONS -- COMMAND` over the host's own root, with the witness mounted at /witness.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn plim_host_start(&self, options: &[&str], command: &[&str]) -> Result<Running> {
        let volume = format!("{}:/witness:ro", self.witness().canonicalize()?.display());
        let mut all = vec!["-v", &volume];
        all.extend(options);
        self.plim_command(self.case(&[])?, &all, "/witness", command)
    }

    /// `witness` is where the witness is inside.
    fn plim_command(&self, case: Case, options: &[&str], witness: &str, words: &[&str]) -> Result<Running> {
        let mut command = Command::new(self.bin.join("plim-run"));
        command.args(["--name", &case.tag, "-e", &format!("PLIM_TEST_TAG={}", case.tag)]).args(options);
        if let Some(weakening) = self.weakening {
            command.args(weakening.options());
        }
        command.arg("--");
        if let Some(wrapper) = self.weakening.and_then(Weakening::wrapper) {
            command.args([witness, wrapper]);
        }
        command.args(words);
        self.start_command(&mut command, case)
    }

    /// [`Ctx::plim_start`] to its end.
    ///
    /// # Errors
    /// When it cannot be started or does not end.
    pub fn plim(&self, options: &[&str], args: &[&str]) -> Result<Outcome> {
        self.plim_start(options, args)?.finish()
    }

    /// [`Ctx::plim_host_start`] to its end.
    ///
    /// # Errors
    /// When it cannot be started or does not end.
    pub fn plim_host(&self, options: &[&str], command: &[&str]) -> Result<Outcome> {
        self.plim_host_start(options, command)?.finish()
    }

    /// One of the other built programs (`plim-inspect`, `plim-diff`) to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn tool(&self, name: &str, args: &[&str]) -> Result<Outcome> {
        self.tool_with(name, args, &[])
    }

    /// [`Ctx::tool`] with variables in its environment.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn tool_with(&self, name: &str, args: &[&str], variables: &[(&str, &str)]) -> Result<Outcome> {
        let mut command = Command::new(self.bin.join(name));
        command.envs(variables.iter().copied());
        self.ask(command, name, args)
    }

    /// [`Ctx::tool`] with so many seconds of processor time, and ten times as many by the clock, after which it ends by a signal or with
    /// status 124: a tool that is held up.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn tool_within(&self, name: &str, args: &[&str], seconds: u32) -> Result<Outcome> {
        let limited = format!("ulimit -t {seconds}; exec timeout {} \"$0\" \"$@\"", seconds * 10);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &limited]).arg(self.bin.join(name));
        self.ask(command, name, args)
    }

    fn ask(&self, mut command: Command, name: &str, args: &[&str]) -> Result<Outcome> {
        match self.weakening {
            Some(weakening) => command.args(weakening.ask(name, args)),
            None => command.args(args),
        };
        let output = command.output().with_context(|| name.to_owned())?;
        let mut outcome = Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        if let Some(weakening) = self.weakening {
            weakening.answer(name, &mut outcome);
        }
        Ok(outcome)
    }
}
