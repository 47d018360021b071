//! A call as a person asks for it: `socket family=AF_ALG`.

use crate::arch::Arch;
use crate::arguments;
use crate::constants;
use crate::diagram::{Diagram, Store, Undecided};
use crate::error::Hint;
use crate::interpret::SeccompData;
use crate::syscalls::{self, SyscallNr};

/// A call of which some arguments may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its architecture.
    pub arch: Arch,
    /// Its number.
    pub nr: SyscallNr,
    /// The arguments that are known.
    pub args: [Option<u64>; 6],
}

/// Why a question cannot be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// The architecture has no call of that name.
    #[error("{arch} has no system call {name:?}{}{}", Elsewhere(*elsewhere), Hint(nearest.as_deref()))]
    Call {
        /// The architecture.
        arch: &'static str,
        /// What was asked for.
        name: String,
        /// An architecture that has it.
        elsewhere: Option<&'static str>,
        /// The nearest that it has, where no architecture has the call.
        nearest: Option<String>,
    },
    /// Not `argument=value`.
    #[error("found {0:?}, expected an argument and its value, such as family=AF_INET or arg0=2")]
    Form(String),
    /// The call has no such argument.
    #[error("{call} has no argument {name:?}, it takes {takes}{}", Hint(nearest.as_deref()))]
    Argument {
        /// The call.
        call: String,
        /// What was asked for.
        name: String,
        /// What there is.
        takes: String,
        /// The nearest of them.
        nearest: Option<String>,
    },
    /// Neither a number nor a constant that the argument takes.
    #[error("{argument}={value}: {value:?} is no number{}{}", if *named { " and no constant of this argument" } else { "" }, Hint(nearest.as_deref()))]
    Value {
        /// The argument.
        argument: String,
        /// What was given.
        value: String,
        /// Whether the argument takes constants.
        named: bool,
        /// The nearest constant.
        nearest: Option<String>,
    },
}

struct Elsewhere(Option<&'static str>);

impl std::fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(arch) => write!(f, ", {arch} has"),
            None => Ok(()),
        }
    }
}

/// Text of the command line in an error: short.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Question {
    /// A call by name, or by number (as it stands in `seccomp_data.nr`), with all arguments open.
    ///
    /// # Errors
    /// [`QuestionError::Call`].
    pub fn of_call(arch: Arch, name: &str) -> Result<Question, QuestionError> {
        let number =
            || name.starts_with(|c: char| c.is_ascii_digit()).then(|| constants::number(name)).flatten();
        let nr = syscalls::number(arch, name);
        let nr = nr.or_else(|| number().and_then(|n| u32::try_from(n).ok()).map(SyscallNr));
        let Some(nr) = nr else {
            let has = |other: &Arch| syscalls::number(*other, name).is_some();
            let elsewhere = Arch::all().find(has).map(Arch::name);
            let nearest = crate::spelling::nearest(name, syscalls::names(arch)).map(str::to_owned);
            let nearest = nearest.filter(|_| elsewhere.is_none());
            return Err(QuestionError::Call { arch: arch.name(), name: cut(name), elsewhere, nearest });
        };
        Ok(Question { arch, nr, args: [None; 6] })
    }

    /// The same with one more argument known: `family=AF_INET`, `arg0=2`, `flags=O_RDWR|O_CREAT`, `arg1=0x5412`.
    ///
    /// ```
    /// use plim_seccomp::{Arch, explain::Question};
    /// let question = Question::of_call(Arch::X86_64, "socket").unwrap().with("family=AF_ALG").unwrap();
    /// assert_eq!(question.args[0], Some(38));
    /// let error = question.with("famliy=1").unwrap_err();
    /// assert!(error.to_string().ends_with(r#"did you mean "family"?"#), "{error}");
    /// ```
    ///
    /// # Errors
    /// What is wrong with the text, and the nearest that would be right.
    pub fn with(mut self, text: &str) -> Result<Question, QuestionError> {
        let Some((name, value)) = text.split_once('=') else { return Err(QuestionError::Form(cut(text))) };
        let call = self.name().unwrap_or_default();
        let arguments = arguments::on(self.arch, call);
        let by_number =
            name.strip_prefix("arg").and_then(|digit| digit.parse::<usize>().ok()).filter(|n| *n < 6);
        let by_name = arguments.iter().position(|argument| argument.name == name);
        let Some(index) = by_name.or(by_number) else {
            let names = || arguments.iter().map(|argument| argument.name.as_str());
            let takes = match arguments {
                [] => "arg0 to arg5".to_owned(),
                _ => names().collect::<Vec<_>>().join(", "),
            };
            let nearest = crate::spelling::nearest(name, names()).map(str::to_owned);
            let call = if call.is_empty() { format!("number {}", self.nr) } else { call.to_owned() };
            return Err(QuestionError::Argument { call, name: cut(name), takes, nearest });
        };
        let set =
            arguments.get(index).and_then(|argument| argument.set).filter(|set| set.holds_on(self.arch));
        let read = constants::number(value).or_else(|| constants::value(set?, value));
        let Some(read) = read else {
            let nearest = set.and_then(|set| constants::nearest(set, value)).map(str::to_owned);
            return Err(QuestionError::Value {
                argument: cut(name),
                value: cut(value),
                named: set.is_some(),
                nearest,
            });
        };
        self.args[index] = Some(if self.arch.has_narrow_arguments() { read & 0xffff_ffff } else { read });
        Ok(self)
    }

    /// The call's name, where the number has one.
    pub fn name(&self) -> Option<&'static str> {
        syscalls::name(self.arch, self.nr)
    }

    /// The call with zeros for what is open.
    pub(super) fn data(&self) -> SeccompData {
        let args = self.args.map(|argument| argument.unwrap_or(0));
        SeccompData { nr: self.nr.0, arch: self.arch.audit_token(), ip: 0, args }
    }

    /// What is left of a diagram of this number when the known arguments are what they are.
    pub(super) fn known(&self, store: &mut Store, mut rest: Diagram) -> Result<Diagram, Undecided> {
        for (index, value) in (0u8..).zip(self.args).filter_map(|(index, value)| Some((index, value?))) {
            rest = store.given(rest, self.arch, index, u64::MAX, value)?;
        }
        Ok(rest)
    }

    /// As JSON.
    pub(super) fn asked(&self) -> super::Asked {
        super::Asked {
            arch: self.arch.name().to_owned(),
            syscall: self.name().map(str::to_owned),
            nr: self.nr.0,
            args: self.args.map(|argument| argument.map(|value| format!("{value:#x}"))),
        }
    }
}
