//! The profiles that are shipped: `profiles/library/seccomp/*.json`.

/// Name and JSON, by name. The class exercise's default is Docker's.
static PRESETS: [(&str, &str); 8] = [
    ("class-default", include_str!("../../library/seccomp/docker-default.json")),
    ("containerd-default", include_str!("../../library/seccomp/containerd-default.json")),
    ("docker-default", include_str!("../../library/seccomp/docker-default.json")),
    ("docker-default@v0.1.0", include_str!("../../library/seccomp/docker-default@v0.1.0.json")),
    ("docker-default@v0.2.0", include_str!("../../library/seccomp/docker-default@v0.2.0.json")),
    ("docker-default@v0.2.2", include_str!("../../library/seccomp/docker-default@v0.2.2.json")),
    ("podman-default", include_str!("../../library/seccomp/podman-default.json")),
    ("tcpdump", include_str!("../../library/seccomp/tcpdump.json")),
];

/// The names, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    PRESETS.iter().map(|(name, _)| *name)
}

/// The JSON text of a preset, for [`crate::dialect::parse`].
///
/// ```
/// assert!(plim_seccomp::presets::get("docker-default").is_some());
/// ```
pub fn get(name: &str) -> Option<&'static str> {
    PRESETS.iter().find(|(known, _)| *known == name).map(|(_, json)| *json)
}

/// The preset that a misspelt name was most likely meant to be.
pub fn nearest(name: &str) -> Option<&'static str> {
    crate::spelling::nearest(name, names())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect;

    #[test]
    fn every_preset_is_a_profile_whose_rules_have_reasons() {
        assert!(names().is_sorted());
        for name in names() {
            let written = dialect::parse(get(name).unwrap().as_bytes()).unwrap();
            let podman = name == "podman-default";
            let expected = if podman { dialect::Dialect::Podman } else { dialect::Dialect::Docker };
            assert_eq!(written.dialect, expected, "{name}");
            for rule in &written.rules {
                assert!(
                    rule.comment.as_deref().is_some_and(|why| why.ends_with('.')),
                    "{name} {}",
                    rule.pointer
                );
                assert!(rule.names.is_sorted(), "{name} {}", rule.pointer);
            }
        }
        assert_eq!(get("docker"), None);
        assert_eq!(nearest("docker-defualt"), Some("docker-default"));
    }

    #[test]
    fn every_file_of_the_library_is_a_preset() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../library/seccomp");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter_map(|file| file.strip_suffix(".json").map(str::to_owned))
            .collect();
        files.sort();
        assert_eq!(files, names().filter(|name| *name != "class-default").collect::<Vec<_>>());
    }
}
