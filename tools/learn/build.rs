//! Builds the programs that run in the kernel.

fn main() {
    if let Err(error) = plim_bpf_build::compile("bpf/record.bpf.c") {
        // Not a panic's quoted text: cargo shows what a build script prints on stderr.
        std::io::Write::write_all(&mut std::io::stderr(), format!("{error}\n").as_bytes()).ok();
        std::process::exit(1);
    }
}
