//! How long judging takes, reading included: 10,000 manifests by the default pack and by all, 1,000 snapshots by all.
//! `cargo bench -p plim-policy` prints the times and fails beyond 5 s and 2 s of processor time, which a busy machine does not stretch.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/load.rs"]
mod load;

use std::time::Duration;

use load::{all_packs, manifests, snapshots};

fn main() {
    let files = common::Files(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for policies in [vec!["pack:docker-default".to_owned()], all_packs()] {
        let took = manifests(10_000, &files, &policies, threads);
        assert!(took <= Duration::from_secs(5), "10,000 manifests by {policies:?} took {took:?}");
    }
    let took = snapshots(1_000, &files, threads);
    assert!(took <= Duration::from_secs(2), "1,000 snapshots took {took:?}");
}
