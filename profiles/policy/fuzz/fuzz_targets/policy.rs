//! Policy and lock files: read, and their rules judged.
#![no_main]

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::policy(bytes));
