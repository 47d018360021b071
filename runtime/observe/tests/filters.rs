//! Installed filters read by the BPF task iterator, against what was installed and against ptrace.
//!
//! Needs root with CAP_SYS_ADMIN, BTF and CONFIG_CHECKPOINT_RESTORE: without them the tests fail, and say what they need.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plim_model::{HostPid, Observed};
use plim_observe::filters::{self, Dump, Means, Method};
use plim_observe::{Selected, find};
use sys::{become_nobody, install, prepare};

#[path = "common/sys.rs"]
mod sys;

const RET_ALLOW: u32 = 0x7fff_0000;
const FLAG_LOG: libc::c_ulong = 2;

/// A child that is killed and reaped whatever becomes of the test.
struct Guard(Child);

impl Guard {
    fn pid(&self) -> HostPid {
        HostPid(self.0.id().cast_signed())
    }

    fn selected(&self) -> Selected {
        find(Some("pid"), &self.pid().to_string()).expect("the child lives")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A filter that allows everything, told from others by its length and a constant.
fn filter(length: usize, mark: u32) -> Vec<libc::sock_filter> {
    let load = libc::sock_filter { code: 0x00, jt: 0, jf: 0, k: mark };
    let mut program = vec![load; length - 1];
    program.push(libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: RET_ALLOW });
    program
}

/// `command` under filters of these lengths, the oldest first; every second one with SECCOMP_FILTER_FLAG_LOG.
fn under(mut command: Command, lengths: &[usize]) -> Guard {
    let mut programs: Vec<_> =
        lengths.iter().zip(1000..).map(|(length, mark)| filter(*length, mark)).collect();
    let steps = move || {
        for (index, program) in programs.iter_mut().enumerate() {
            install(program, if index % 2 == 1 { FLAG_LOG } else { 0 })?;
        }
        Ok(())
    };
    prepare(&mut command, steps);
    Guard(command.spawn().expect("needs root with CAP_SYS_ADMIN"))
}

fn sleeper(lengths: &[usize]) -> Guard {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null());
    under(command, lengths)
}

/// Reads by the iterator, or says what this machine lacks.
fn iterated(pid: HostPid) -> Dump {
    match filters::dump(pid, Means::Iterator) {
        Observed::Present(dump) => dump,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_iterator_and_ptrace_read_the_same_bytes() {
    // One, many, the longest there is, and 31 stacked ones that no single record could hold.
    let many: Vec<usize> = (1..=31).collect();
    let longest = [4096, 4096, 4096, 4096, 4096, 4096, 4096];
    let stacks: [&[usize]; 5] = [&[1], &[3, 1, 2], &[4096], &many, &longest];
    for lengths in stacks {
        let child = sleeper(lengths);
        let by_iterator = iterated(child.pid());
        assert_eq!((by_iterator.method, &by_iterator.instead_of_iterator), (Method::BpfIterator, &None));
        let told: Vec<usize> =
            by_iterator.filters.iter().map(|filter| filter.program.instructions().len()).collect();
        assert_eq!(told, lengths, "oldest first");
        assert_eq!(by_iterator.filters.last().map(|filter| &filter.log).cloned(), {
            Some(Observed::Present(lengths.len() % 2 == 0))
        });
        let by_ptrace = filters::dump(child.pid(), Means::Ptrace);
        let Observed::Present(by_ptrace) = by_ptrace else { panic!("{by_ptrace:?}") };
        assert_eq!(by_ptrace.method, Method::Ptrace);
        assert_eq!(by_iterator.filters, by_ptrace.filters);
        // The first choice is the iterator, for a whole target as well.
        let all = filters::read_all(&child.selected(), Means::Any).expect("reads");
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].filters, Observed::Present(by_iterator));
    }
}

/// A python program, under one filter, that starts `threads` threads, says so, and then obeys stdin: `one` makes one
/// thread install another filter; the end of stdin ends it.
fn threaded(threads: usize) -> Guard {
    const PROGRAM: &str = "
import ctypes, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
ask, done = threading.Semaphore(0), threading.Semaphore(0)
def install():
    insns = ctypes.create_string_buffer(struct.pack('<HBBI', 6, 0, 0, 0x7fff0000))
    fprog = ctypes.create_string_buffer(struct.pack('<HxxxxxxQ', 1, ctypes.addressof(insns)))
    if libc.syscall(317, 1, 0, fprog): raise OSError(ctypes.get_errno())
def odd():
    ask.acquire(); install(); done.release(); threading.Event().wait()
threading.Thread(target=odd, daemon=True).start()
for _ in range(int(sys.argv[1]) - 1): threading.Thread(target=threading.Event().wait, daemon=True).start()
print('up', flush=True)
for line in sys.stdin:
    ask.release(); done.acquire(); print('done', flush=True)
";
    let mut command = Command::new("python3");
    command.args(["-c", PROGRAM, &threads.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    under(command, &[5])
}

#[test]
fn a_thread_with_a_filter_of_its_own_is_found_among_many() {
    let mut child = threaded(300);
    let mut answers = BufReader::new(child.0.stdout.take().expect("piped"));
    let mut line = String::new();
    answers.read_line(&mut line).expect("it comes up");
    assert_eq!(line, "up\n", "needs python3");
    let count = |child: &Guard, expected: [usize; 2]| {
        let begun = Instant::now();
        let all = filters::read_all(&child.selected(), Means::Any).expect("reads");
        let took = begun.elapsed();
        assert_eq!(all.len(), 301);
        let mut with = [0, 0];
        for thread in &all {
            let dump = thread.filters.present().expect("read");
            assert_eq!(dump.method, Method::BpfIterator);
            with[dump.filters.len() - 1] += 1;
            let by_ptrace = filters::dump(child.pid(), Means::Ptrace);
            if thread.tid == child.pid().0 {
                assert_eq!(by_ptrace.present().map(|dump| &dump.filters), Some(&dump.filters));
            }
        }
        assert_eq!(with, expected, "after {took:?}");
    };
    count(&child, [301, 0]);
    child.0.stdin.as_mut().expect("piped").write_all(b"one\n").expect("it reads");
    line.clear();
    answers.read_line(&mut line).expect("it answers");
    assert_eq!(line, "done\n");
    count(&child, [300, 1]);
}

#[test]
fn reading_interrupts_nothing() {
    // epoll_wait returns -1 with EINTR after a ptrace stop, even though no signal was handled.
    const PROGRAM: &str = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
e = libc.epoll_create1(0)
event = ctypes.create_string_buffer(12)
event.raw = (1).to_bytes(4, 'little') + bytes(8)
libc.epoll_ctl(e, 1, 0, event)
print('up', flush=True)
interrupted = 0
while True:
    got = libc.epoll_wait(e, event, 1, -1)
    if got == 1: break
    interrupted += 1
print(interrupted, flush=True)
";
    let mut command = Command::new("python3");
    command.args(["-c", PROGRAM]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = under(command, &[2, 2]);
    let mut answers = BufReader::new(child.0.stdout.take().expect("piped"));
    let mut line = String::new();
    answers.read_line(&mut line).expect("it comes up");
    assert_eq!(line, "up\n", "needs python3");
    for _ in 0..500 {
        assert_eq!(iterated(child.pid()).filters.len(), 2);
    }
    drop(child.0.stdin.take());
    line.clear();
    answers.read_line(&mut line).expect("it counts");
    assert_eq!(line, "0\n", "early EINTRs");
}

#[test]
fn tasks_that_end_meanwhile_give_whole_stacks_or_none() {
    let lengths = [7, 9, 11];
    let (mut whole, mut gone) = (0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let mut children: Vec<Guard> = (0..8).map(|_| sleeper(&lengths)).collect();
        let pids: Vec<HostPid> = children.iter().map(Guard::pid).collect();
        let killer = std::thread::spawn(move || {
            for child in &mut children {
                let _ = child.0.kill();
            }
        });
        for pid in pids {
            match filters::dump(pid, Means::Iterator) {
                Observed::Present(dump) => {
                    let told: Vec<usize> =
                        dump.filters.iter().map(|filter| filter.program.instructions().len()).collect();
                    assert_eq!(told, lengths);
                    whole += 1;
                }
                _ => gone += 1,
            }
        }
        killer.join().expect("joins");
    }
    assert!(whole > 0 && gone > 0, "{whole} whole, {gone} gone");
}

#[test]
fn without_privilege_both_reasons_are_told() {
    let child = sleeper(&[1]);
    let pid = child.pid();
    // Loaded by a thread that may: the one below must not profit from it.
    assert_eq!(iterated(pid).filters.len(), 1);
    let reader = std::thread::spawn(move || {
        become_nobody();
        filters::dump(pid, Means::Any)
    });
    let Observed::Unknown(why) = reader.join().expect("joins") else { panic!("read without privilege") };
    assert_eq!(
        why,
        "BPF task iterator: needs CAP_BPF and CAP_PERFMON; PTRACE_SECCOMP_GET_FILTER: EACCES (permission \
         denied); needs CAP_SYS_ADMIN"
    );
}
