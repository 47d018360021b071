//! The one place of this crate with unsafe code.
#![allow(unsafe_code, reason = "the crate's one door to calls that have no safe form")]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Calls [`plim_seccomp::diagram::interrupt`] after so many seconds, and ends the process with `status` when it is still there `grace`
/// seconds later, having written `last_words` to stderr. Takes SIGALRM and the process's real-time timer for it.
pub(crate) fn end_after(seconds: u32, grace: u32, status: u8, last_words: &'static str) -> io::Result<()> {
    END.with(status, last_words);
    // SAFETY: all zero is a valid sigaction: no flags, an empty mask and SIG_DFL.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_alarm as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: `action` is initialised and lives through the call; the old action is not asked for.
    if unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let time = |seconds: u32| libc::timeval { tv_sec: seconds.into(), tv_usec: 0 };
    let timer = libc::itimerval { it_value: time(seconds), it_interval: time(grace) };
    // SAFETY: `timer` is initialised and lives through the call; the old value is not asked for.
    if unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// What the handler needs.
struct End {
    status: std::sync::atomic::AtomicU8,
    words: std::sync::atomic::AtomicPtr<u8>,
    length: std::sync::atomic::AtomicUsize,
    asked: AtomicBool,
}

static END: End = End {
    status: std::sync::atomic::AtomicU8::new(0),
    words: std::sync::atomic::AtomicPtr::new(std::ptr::null_mut()),
    length: std::sync::atomic::AtomicUsize::new(0),
    asked: AtomicBool::new(false),
};

impl End {
    fn with(&self, status: u8, words: &'static str) {
        self.status.store(status, Ordering::Relaxed);
        self.length.store(words.len(), Ordering::Relaxed);
        self.words.store(words.as_ptr().cast_mut(), Ordering::Relaxed);
    }
}

/// Makes only calls that signal-safety(7) lists, and leaves errno as it was where it returns.
extern "C" fn on_alarm(_: libc::c_int) {
    if !END.asked.swap(true, Ordering::Relaxed) {
        plim_seccomp::diagram::interrupt();
        return;
    }
    let (words, length) = (END.words.load(Ordering::Relaxed), END.length.load(Ordering::Relaxed));
    // SAFETY: `words` and `length` are those of a text that lives as long as the process; write(2) only reads it.
    unsafe { libc::write(libc::STDERR_FILENO, words.cast_const().cast(), length) };
    // SAFETY: ends the process without running anything of it.
    unsafe { libc::_exit(END.status.load(Ordering::Relaxed).into()) }
}
