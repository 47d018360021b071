//! Programs that the kernel's checker takes, of every form: the diagram answers as the interpreter does.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::diagram(bytes));
