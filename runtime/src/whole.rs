//! Files of procfs, sysfs and cgroupfs, read as a whole.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The kernel makes such a text anew for each read(2), so it is read in one: `std::fs::read` begins with 32 bytes, because the size
/// of these files is 0.
const ENOUGH_BYTES: usize = 32 * 1024;

/// The bytes of a file.
pub(crate) fn bytes(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ENOUGH_BYTES);
    // `take`, because a File alone asks for its size first.
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file; other bytes than UTF-8 are an error.
pub(crate) fn text(path: impl AsRef<Path>) -> io::Result<String> {
    String::from_utf8(bytes(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
