//! The kernel as an oracle.
//!
//! No call is executed. The child first installs a filter that answers ERRNO(4095) to everything, then the filter under test. Both
//! run for every call; ALLOW, LOG, TRACE and USER_NOTIF are weaker than an error, so they show as 4095, and of two errors the newer
//! filter's wins. Results go through shared memory, so the child needs no call of its own, and the parent ends it with SIGKILL.

use std::time::{Duration, Instant};

use plim_seccomp::bpf::{Insn, Program};
use plim_seccomp::resolve::Call;

use crate::sys::{Child, Guarded, Shared, guard, install, raw};

/// What the oracle answers when the filter under test would let a call pass.
pub(crate) const PASSED: u16 = crate::sys::REFUSED;
/// In results: the call returned something that is no error.
const NO_ERROR: u32 = u32::MAX;

/// Slots before the results. A result is the error plus one, so that 0 means that the call never came back.
const DONE: usize = 0;
const FAILED: usize = 1;
const FIRST: usize = 2;

/// The errors that the kernel answers to `calls` under `program`, or why it cannot be asked.
pub(crate) fn ask(program: &Program, calls: &[Call]) -> Result<Vec<u32>, String> {
    let shared = Shared::new(FIRST + calls.len());
    let (guard, filter) = (guard(), raw(program.instructions()));
    let child = Child::start(|| {
        let ready = guard.enter().and_then(|guarded| guarded.install(&filter).map(|()| guarded));
        match ready {
            Ok(guarded) => answer(&guarded, calls, &shared),
            Err(error) => shared.set(FAILED, u32::try_from(error).unwrap_or(NO_ERROR)),
        }
        shared.set(DONE, 1);
    });
    watch(&child.map_err(|error| error.to_string())?, calls, &shared)?;
    match shared.get(FAILED) {
        0 => Ok((0..calls.len()).map(|index| shared.get(FIRST + index) - 1).collect()),
        error => {
            Err(format!("installing the filters: {}", std::io::Error::from_raw_os_error(error.cast_signed())))
        }
    }
}

fn answer(guarded: &Guarded, calls: &[Call], shared: &Shared) {
    for (index, call) in calls.iter().enumerate() {
        let ret = guarded.call(call.arch, call.nr, &call.args);
        let error = match ret {
            -4095..=0 => u32::try_from(-ret).unwrap_or(NO_ERROR - 1),
            _ => NO_ERROR - 1,
        };
        shared.set(FIRST + index, error + 1);
    }
}

/// Waits until the child has asked everything.
fn watch(child: &Child, calls: &[Call], shared: &Shared) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while shared.get(DONE) == 0 {
        if let Some(status) = child.ended() {
            let at = (0..calls.len()).find(|index| shared.get(FIRST + index) == 0);
            let call = at.map(|index| format!("{:x?}", calls[index])).unwrap_or_default();
            return Err(format!("the child ended with status {status:#x} at {call}"));
        }
        if Instant::now() > deadline {
            return Err("the child takes more than two minutes".to_owned());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Whether seccomp(2) installs these instructions, tried in a child of its own that ends right after.
pub(crate) fn kernel_takes(instructions: &[Insn]) -> bool {
    let filter = raw(instructions);
    let shared = Shared::new(1);
    let child = Child::start(|| shared.set(0, if install(&filter).is_ok() { 1 } else { 2 })).unwrap();
    while shared.get(0) == 0 {
        assert_eq!(child.ended(), None, "the child that tries a filter ended");
        std::hint::spin_loop();
    }
    shared.get(0) == 1
}
