//! How often calls are made, so that the common ones are found first.
//!
//! Every number weighs 1; the calls below weigh more. The weights are estimates of our own, from what servers, shells and language
//! runtimes spend their calls on; only their order of magnitude counts. On kernels since 5.11 a call that is always allowed is looked
//! up in a bitmap and never reaches the filter; there only the others count, so a call whose verdict depends on its arguments weighs
//! more as well.

use super::search::UNIT;
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::syscalls;

/// From here on lie an architecture's private calls (ARM's), each for itself.
const PRIVATE: u32 = 0x1_0000;
/// How much more a call weighs whose verdict depends on its arguments.
pub(super) const CONDITIONAL: u64 = 8;

/// What all of x32 weighs beside x86-64: more than its numbers, because each of its calls pays for a step more (the mask).
pub(super) const X32: u64 = 1500 * UNIT;

/// Name and weight in ordinary calls.
static HOT: [(&str, u64); 33] = [
    // In every loop that moves data.
    ("read", 5),
    ("write", 5),
    ("recvfrom", 2),
    ("sendto", 2),
    ("recvmsg", 2),
    ("sendmsg", 2),
    ("readv", 1),
    ("writev", 2),
    ("pread64", 2),
    ("pwrite64", 2),
    ("sendfile", 1),
    // In every loop that waits.
    ("futex", 5),
    ("epoll_wait", 3),
    ("epoll_pwait", 2),
    ("epoll_ctl", 1),
    ("poll", 2),
    ("ppoll", 1),
    ("select", 1),
    ("sched_yield", 1),
    ("nanosleep", 1),
    ("clock_nanosleep", 1),
    // Clocks, where the vDSO has none.
    ("clock_gettime", 2),
    ("gettimeofday", 1),
    // Files and memory.
    ("openat", 2),
    ("close", 2),
    ("newfstatat", 2),
    ("fstat", 1),
    ("lseek", 1),
    ("ioctl", 1),
    ("fcntl", 1),
    ("mmap", 1),
    ("munmap", 1),
    ("rt_sigprocmask", 1),
];

/// How often the numbers of one architecture are looked for.
pub(super) struct Weights {
    /// The lowest number, without x32's bit.
    lowest: u32,
    /// The weight of all numbers from the lowest up to, not including, each.
    sums: Vec<u64>,
}

impl Weights {
    /// Calls that exist weigh most, the hot ones more where the machine's programs make them; numbers that do not exist (yet) are asked for
    /// as well, if less often: newer programs try newer calls.
    pub(super) fn of(arch: Arch, native: bool) -> Weights {
        let numbers = || {
            let all = syscalls::calls(arch).map(|(_, nr)| nr.0 & !X32_SYSCALL_BIT);
            all.filter(|nr| *nr < PRIVATE)
        };
        let (Some(lowest), Some(highest)) = (numbers().min(), numbers().max()) else {
            return Weights { lowest: 0, sums: vec![0] };
        };
        let at = |nr: u32| (nr - lowest) as usize + 1;
        let mut sums = vec![UNIT + UNIT / 4; at(highest) + 1];
        sums[0] = 0;
        numbers().for_each(|nr| sums[at(nr)] += UNIT);
        if native {
            for (nr, weight) in
                HOT.iter().filter_map(|(name, weight)| Some((syscalls::number(arch, name)?.0, weight)))
            {
                if let Some(sum) = sums.get_mut(at(nr)) {
                    *sum += weight * UNIT;
                }
            }
        }
        for index in 1..sums.len() {
            sums[index] += sums[index - 1];
        }
        Weights { lowest, sums }
    }

    /// The weight of all numbers from `first` to `last`, counted from the architecture's first.
    pub(super) fn between(&self, first: u32, last: u32) -> u64 {
        let before = |nr: u32| {
            let index = (nr.saturating_sub(self.lowest) as usize).min(self.sums.len() - 1);
            self.sums[index]
        };
        before(last.saturating_add(1)) - before(first)
    }
}
