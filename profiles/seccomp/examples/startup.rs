//! How long the way from JSON to a filter takes, on the start-up path of every container; medians in microseconds.
#![allow(clippy::print_stdout, reason = "an example")]
use std::time::Instant;

use plim_model::Capability;
use plim_seccomp::resolve::{Facts, KernelVersion, resolve};
use plim_seccomp::{Arch, compile::compile, dialect, presets};

fn main() {
    let default_caps = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31].into_iter();
    let caps = default_caps.filter_map(Capability::from_number).collect();
    let facts = Facts::new(Arch::X86_64, caps, KernelVersion { major: 6, minor: 18 });
    let json = presets::get("docker-default").expect("shipped").as_bytes();
    let mut times = [const { Vec::new() }; 4];
    let mut length = 0;
    for _ in 0..500 {
        let start = Instant::now();
        let written = dialect::parse(json).expect("valid");
        let parsed = Instant::now();
        let resolved = resolve(&written, &facts).expect("valid").expect("confined");
        let ready = Instant::now();
        let program = compile(&resolved).expect("fits");
        let end = Instant::now();
        length = program.instructions().len();
        for (list, time) in times.iter_mut().zip([parsed - start, ready - parsed, end - ready, end - start]) {
            list.push(time);
        }
    }
    for (name, mut list) in ["parse", "resolve", "compile", "all"].into_iter().zip(times) {
        let first = list[0];
        list.sort();
        println!("{name:8} first {:7.1}  median {:7.1}", micro(first), micro(list[list.len() / 2]));
    }
    println!("{length} instructions");
}

fn micro(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
