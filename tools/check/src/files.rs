//! Policy files and profiles on disk, and the day.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use plim_policy::rules::{Date, Source};

/// The largest policy or profile that is read, in bytes.
const MAX_BYTES: u64 = 8 << 20;

/// Files by path, relative ones from the directory of the file that names them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Source for Disk {
    fn text(&self, name: &str, from: Option<&str>) -> Result<(String, String), String> {
        let beside =
            from.and_then(|from| Path::new(from).parent()).filter(|_| !Path::new(name).is_absolute());
        let path: PathBuf = beside.map_or_else(|| PathBuf::from(name), |directory| directory.join(name));
        let file = std::fs::File::open(&path).map_err(|error| format!("open {}: {error}", path.display()))?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("read {}: {error}", path.display()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(format!("read {}: larger than {} MiB", path.display(), MAX_BYTES >> 20));
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("read {}: not UTF-8", path.display()))?;
        Ok((text, path.display().to_string()))
    }
}

/// The day in UTC.
pub fn today() -> Date {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Date::of_unix_seconds(since.as_secs())
}

/// Reads a day for a command line.
pub(crate) fn parse_day(word: &str) -> Result<Date, String> {
    Date::parse(word).ok_or_else(|| "expected a day as 2026-12-31".to_owned())
}
