//! Builds the empty BPF programs that the bench compares the tracer with.

fn main() {
    if let Err(error) = plim_bpf_build::compile("bpf/empty.bpf.c") {
        // Not a panic's quoted text: cargo shows what a build script prints on stderr.
        std::io::Write::write_all(&mut std::io::stderr(), format!("{error}\n").as_bytes()).ok();
        std::process::exit(1);
    }
}
