//! The policies that are shipped: `profiles/library/policies/*.yaml`.

/// Name and text, by name.
static PACKS: [(&str, &str); 7] = [
    ("ci-runner", include_str!("../../library/policies/ci-runner.yaml")),
    ("cis-docker-5", include_str!("../../library/policies/cis-docker-5.yaml")),
    ("docker-default", include_str!("../../library/policies/docker-default.yaml")),
    ("hardened", include_str!("../../library/policies/hardened.yaml")),
    ("nsa-cisa", include_str!("../../library/policies/nsa-cisa.yaml")),
    ("pss-baseline", include_str!("../../library/policies/pss-baseline.yaml")),
    ("pss-restricted", include_str!("../../library/policies/pss-restricted.yaml")),
];

/// The names, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    PACKS.iter().map(|(name, _)| *name)
}

/// The text of a pack.
pub fn get(name: &str) -> Option<&'static str> {
    PACKS.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
