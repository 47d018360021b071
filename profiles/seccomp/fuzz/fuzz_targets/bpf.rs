//! Raw dumps of filters: checked, run, disassembled, decided.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::bpf(bytes));
