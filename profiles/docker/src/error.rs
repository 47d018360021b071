//! What is wrong with a text.

use crate::options::Engine;
use crate::shell::ShellError;

/// Why an engine would refuse a command line, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct UsageError {
    /// The line of the text, from 1.
    pub line: usize,
    /// What was found and what was expected.
    pub what: What,
}

/// The kinds of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// Not a text that a shell would run.
    #[error("{0}")]
    Shell(String),
    /// The engine has no such option.
    #[error("unknown option {option}")]
    UnknownOption {
        /// With its dashes.
        option: String,
        /// Whose options are meant.
        engine: Engine,
    },
    /// The command ends where a value is expected.
    #[error("{option} without its value")]
    NoValue {
        /// With its dashes.
        option: String,
    },
    /// A value that is not of the option's kind.
    #[error("{option}: found {found:?}, expected {expected}")]
    Value {
        /// With its dashes.
        option: String,
        /// The value.
        found: String,
        /// A phrase.
        expected: String,
    },
    /// No capability has this name.
    #[error("{option}: unknown capability {found:?}")]
    UnknownCapability {
        /// With its dashes.
        option: String,
        /// The name.
        found: String,
    },
    /// The command ends before an image, or a command of [`Engine::Plim`].
    #[error("no {0}")]
    Nothing(&'static str),
    /// The word in the image's place is not a reference.
    #[error("image {found:?}: {why}")]
    Image {
        /// The word.
        found: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// No command of the text runs a container.
    #[error("found {found:?}, expected docker run … ({why})")]
    NoContainer {
        /// The first command.
        found: String,
        /// What it is.
        why: String,
    },
}

impl UsageError {
    pub(crate) fn new(line: usize, what: What) -> UsageError {
        UsageError { line, what }
    }

    /// The word that is not known and the words that are, for the nearest spelling.
    pub fn spelling(&self) -> Option<(&str, Vec<String>)> {
        match &self.what {
            What::UnknownOption { option, engine } => {
                let known = engine.options().map(|(name, _)| format!("--{name}"));
                Some((option, known.collect()))
            }
            What::UnknownCapability { found, .. } => {
                let known = plim_model::Capability::known();
                // In the spelling of the word.
                let prefix = found.to_ascii_uppercase().starts_with("CAP_");
                let name = |full: String| if prefix { full } else { full["CAP_".len()..].to_owned() };
                Some((found, known.map(|capability| name(capability.to_string())).collect()))
            }
            _ => None,
        }
    }
}

impl From<ShellError> for UsageError {
    fn from(error: ShellError) -> UsageError {
        UsageError::new(error.line, What::Shell(error.what))
    }
}
