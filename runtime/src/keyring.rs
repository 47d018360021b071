//! The session keyring: every process below a login shares the caller's, and its keys are read by whoever possesses it,
//! whatever its user, user namespace and capabilities (session-keyring(7)).

use nix::errno::Errno;

use crate::error::{During, Result};
use crate::sys;

/// Gives the calling process a session keyring of its own, which is empty. An anonymous one: by its name, another process
/// could join it, or have made it before.
///
/// # Errors
/// `EDQUOT`: the caller's user has as many keys as kernel.keys.maxkeys allows. `EPERM` and `EACCES`, as of an outer
/// container's filter, when the caller's keyring can be reached all the same.
pub(crate) fn join_new() -> Result<()> {
    match sys::new_session_keyring() {
        // A kernel without CONFIG_KEYS has nothing to hide.
        Ok(()) | Err(Errno::ENOSYS) => Ok(()),
        // Filters are inherited: where this process cannot reach a keyring, the container cannot.
        Err(refused @ (Errno::EPERM | Errno::EACCES)) if sys::session_keyring() == Err(refused) => Ok(()),
        Err(errno) => Err(errno).during(|| {
            "give the container a session keyring of its own (EDQUOT: see kernel.keys.maxkeys and /proc/key-users)"
        }),
    }
}
