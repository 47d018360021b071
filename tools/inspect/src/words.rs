//! Values of the model in words for a person.

use std::fmt::Display;

use plim_model::capability::Capability;
use plim_model::rlimit::Limit;
use plim_model::{CapabilitySet, Observed};

/// The value by `show`, `absent` or `unknown: why`.
pub(crate) fn or_why<T>(observed: &Observed<T>, show: impl FnOnce(&T) -> String) -> String {
    match observed {
        Observed::Present(value) => show(value),
        Observed::Absent => "absent".to_owned(),
        Observed::Unknown(why) => format!("unknown: {why}"),
    }
}

/// The value as it displays itself.
pub(crate) fn plain<T: Display>(observed: &Observed<T>) -> String {
    or_why(observed, T::to_string)
}

/// `268435456 (256 MiB)`; the exact number first.
pub(crate) fn bytes(value: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = None;
    // In tenths of the unit, rounded down, so that a limit is never told larger than it is.
    let mut tenths = u128::from(value) * 10;
    for name in UNITS {
        if tenths < 10 * 1024 {
            break;
        }
        tenths /= 1024;
        unit = Some(name);
    }
    match (unit, tenths % 10) {
        (None, _) => value.to_string(),
        (Some(unit), 0) => format!("{value} ({} {unit})", tenths / 10),
        (Some(unit), tenth) => format!("{value} ({}.{tenth} {unit})", tenths / 10),
    }
}

/// A limit in bytes, or `no limit`.
pub(crate) fn byte_limit(limit: &Limit) -> String {
    match limit {
        Limit::Of(value) => bytes(*value),
        Limit::Max => "no limit".to_owned(),
    }
}

/// A limit in whatever counts, or `no limit`.
pub(crate) fn limit(limit: &Limit) -> String {
    limit.value().map_or_else(|| "no limit".to_owned(), |value| value.to_string())
}

/// `1.5 CPUs` from thousandths.
pub(crate) fn cpus(limit: &Limit) -> String {
    match limit {
        Limit::Max => "no limit".to_owned(),
        Limit::Of(thousandths) => {
            let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
            format!("{} CPUs", text.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

/// The set as names without `CAP_`, with a note when it is a well-known one.
pub(crate) fn capabilities(set: CapabilitySet) -> String {
    if set.is_empty() {
        return "none".to_owned();
    }
    let known: CapabilitySet = Capability::known().collect();
    let missing = known.difference(set);
    let default = CapabilitySet::DOCKER_DEFAULT;
    let short = |set: CapabilitySet| {
        set.names()
            .iter()
            .map(|name| name.trim_start_matches("CAP_").to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    if missing.is_empty() {
        return format!("all {}", set.iter().count());
    }
    // A set that lacks little is clearer by what it lacks.
    if missing.iter().count() <= 8 {
        return format!("all but {}", short(missing));
    }
    let (more, less) = (set.difference(default), default.difference(set));
    let note = match (more.is_empty(), less.is_empty()) {
        (true, true) => " (= docker's default 14)".to_owned(),
        (true, false) if less.iter().count() <= 4 => format!(" (docker's default less {})", short(less)),
        (false, true) => format!(" (docker's default and {})", short(more)),
        _ => String::new(),
    };
    format!("{}{note}", short(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_readable() {
        assert_eq!(bytes(0), "0");
        assert_eq!(bytes(1023), "1023");
        assert_eq!(bytes(1024), "1024 (1 KiB)");
        assert_eq!(bytes(268_435_456), "268435456 (256 MiB)");
        assert_eq!(bytes(1_610_612_735), "1610612735 (1.4 GiB)");
        assert_eq!(bytes(u64::MAX), "18446744073709551615 (15.9 EiB)");
        assert_eq!(byte_limit(&Limit::Max), "no limit");
        assert_eq!(cpus(&Limit::Of(1500)), "1.5 CPUs");
        assert_eq!(cpus(&Limit::Of(10)), "0.01 CPUs");
        assert_eq!(cpus(&Limit::Of(20_000)), "20 CPUs");
    }

    #[test]
    fn well_known_sets_are_named() {
        let set = |names: &[&str]| names.iter().filter_map(|name| Capability::from_name(name)).collect();
        let default = CapabilitySet::DOCKER_DEFAULT;
        assert!(capabilities(default).ends_with(" (= docker's default 14)"));
        let raw: CapabilitySet = set(&["NET_RAW"]);
        assert!(capabilities(default.difference(raw)).ends_with(" (docker's default less NET_RAW)"));
        assert!(capabilities(default.union(set(&["BPF"]))).ends_with(" (docker's default and BPF)"));
        let all: CapabilitySet = Capability::known().collect();
        assert_eq!(capabilities(all), "all 41");
        assert_eq!(capabilities(all.difference(set(&["SYS_RESOURCE"]))), "all but SYS_RESOURCE");
        assert_eq!(capabilities(raw), "NET_RAW");
        assert_eq!(capabilities(CapabilitySet::EMPTY), "none");
    }
}
