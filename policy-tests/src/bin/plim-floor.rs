//! `plim-floor ROOT PROGRAM`: the bare floor of starting a container, for `plim-bench`. See `sys::floor`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.as_slice() {
        [_, root, program] => match plim_policy_tests::sys::floor(root, program) {
            Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(255)),
            Err(_) => ExitCode::from(125),
        },
        _ => ExitCode::from(2),
    }
}
