//! When something was refused, in words.

use nix::time::ClockId;

/// The kernel's clock of the events beside the one on the wall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) boot_ns: u64,
    pub(crate) wall_ns: u64,
}

impl Clock {
    pub(crate) fn now() -> Clock {
        let read = |clock| {
            nix::time::clock_gettime(clock).map_or(0, |time| {
                u64::try_from(std::time::Duration::from(time).as_nanos()).unwrap_or_default()
            })
        };
        Clock { boot_ns: read(ClockId::CLOCK_BOOTTIME), wall_ns: read(ClockId::CLOCK_REALTIME) }
    }

    pub(crate) fn elapsed_s(&self) -> u64 {
        (Clock::now().boot_ns - self.boot_ns) / 1_000_000_000
    }

    /// `13:37:00.123Z`.
    pub(crate) fn wall(&self, boot_ns: u64) -> String {
        let ms = (self.wall_ns + boot_ns).saturating_sub(self.boot_ns) / 1_000_000;
        let s = ms / 1000;
        format!("{:02}:{:02}:{:02}.{:03}Z", s / 3600 % 24, s / 60 % 60, s % 60, ms % 1000)
    }

    /// `+1.234s`.
    pub(crate) fn since(&self, boot_ns: u64) -> String {
        let ms = boot_ns.saturating_sub(self.boot_ns) / 1_000_000;
        format!("+{}.{:03}s", ms / 1000, ms % 1000)
    }
}
