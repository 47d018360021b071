//! Quantities as Kubernetes writes them; Docker's numbers of CPUs are among them.

/// A quantity in bytes (`128Mi`, `1G`, `500m`); `None` where it is none.
pub(super) fn quantity(text: &str) -> Option<u64> {
    scaled(text, 1.0)
}

/// A quantity in thousandths.
pub(super) fn millis(text: &str) -> Option<u64> {
    scaled(text, 1000.0)
}

fn scaled(text: &str, by: f64) -> Option<u64> {
    const SUFFIXES: [(&str, f64); 13] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("m", 0.001),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let (digits, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)))
        .unwrap_or((text, 1.0));
    let value: f64 = digits.parse().ok()?;
    let value = (value * factor * by).ceil();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within u64 by the test before it"
    )]
    (0.0..1.8e19).contains(&value).then_some(value as u64)
}
