//! A snapshot as tables, one for each area.

use plim_model::cgroup::Level;
use plim_model::{Observed, Snapshot};
use plim_tools_common::output::{Style, Tone};
use plim_tools_common::table::{Cell, Table};

use crate::words;

/// What is in one row: the fact and its value.
struct Rows {
    table: Table,
}

impl Rows {
    fn new(style: Style, area: &str) -> Rows {
        Rows { table: Table::new(style, [area, ""]) }
    }

    fn add(&mut self, fact: &str, value: impl Into<Cell>) {
        self.table.row([Cell::new(fact), value.into()]);
    }

    /// A value in words, coloured when it is not known.
    fn text(&mut self, fact: &str, value: String) {
        let tone = if value.starts_with("unknown: ") { Tone::Warn } else { Tone::Plain };
        self.add(fact, Cell::new(value).tone(tone));
    }

    /// Something that adds reach when it is there.
    fn noted(&mut self, fact: &str, value: String, tone: Tone) {
        self.add(fact, Cell::new(value).tone(tone));
    }

    fn list<T>(&mut self, fact: &str, observed: &Observed<Vec<T>>, show: impl Fn(&T) -> String) {
        match observed {
            Observed::Present(list) if !list.is_empty() => self.add(fact, Cell::lines(list.iter().map(show))),
            Observed::Present(_) => self.text(fact, "none".to_owned()),
            other => self.text(fact, words::or_why(other, |_| String::new())),
        }
    }
}

/// The whole snapshot.
pub(crate) fn snapshot(snapshot: &Snapshot, style: Style) -> String {
    let areas = [
        target(snapshot, style),
        namespaces(snapshot, style),
        capabilities(snapshot, style),
        seccomp(snapshot, style),
        cgroup(snapshot, style),
        files(snapshot, style),
        mounts(snapshot, style),
        limits(snapshot, style),
        processes(snapshot, style),
    ];
    areas.join("\n")
}

fn target(snapshot: &Snapshot, style: Style) -> String {
    let mut rows = Rows::new(style, "TARGET");
    let target = &snapshot.target;
    rows.text("engine", target.engine.clone());
    if let Some(name) = &target.name {
        rows.text("name", name.clone());
    }
    rows.text("id", target.id.clone());
    rows.text("pid", target.pid.to_string());
    if let Some(image) = &target.image {
        rows.text("image", image.clone());
    }
    rows.text("command", target.command.join(" "));
    rows.text(
        "user",
        words::or_why(&snapshot.user, |user| {
            let four = |ids: &[u32; 4]| match ids.iter().all(|id| *id == ids[0]) {
                true => ids[0].to_string(),
                false => format!("real {}, effective {}, saved {}, fs {}", ids[0], ids[1], ids[2], ids[3]),
            };
            let groups: Vec<String> = user.groups.iter().map(u32::to_string).collect();
            let groups = if groups.is_empty() { "none".to_owned() } else { groups.join(" ") };
            format!("uid {}; gid {}; groups {groups}", four(&user.uid), four(&user.gid))
        }),
    );
    rows.table.render()
}

fn namespaces(snapshot: &Snapshot, style: Style) -> String {
    let mut table = Table::new(style, ["NAMESPACE", "INODE", "HOST'S", "SHARED WITH"]);
    for (kind, namespace) in &snapshot.namespaces {
        match namespace {
            Observed::Present(namespace) => {
                let (host, tone) = match &namespace.shared_with_host {
                    Observed::Present(true) => ("shared".to_owned(), Tone::Bad),
                    Observed::Present(false) => ("own".to_owned(), Tone::Good),
                    other => (words::plain(other), Tone::Warn),
                };
                table.row([
                    Cell::new(kind.as_str()),
                    Cell::new(namespace.inode.to_string()),
                    Cell::new(host).tone(tone),
                    Cell::lines(&namespace.shared_with),
                ]);
            }
            other => {
                table.row([
                    Cell::new(kind.as_str()),
                    Cell::new(""),
                    Cell::new(words::or_why(other, |_| String::new())).tone(Tone::Warn),
                    Cell::new(""),
                ]);
            }
        }
    }
    let mut rows = Rows::new(style, "ID MAP");
    match &snapshot.id_maps {
        Observed::Present(maps) => {
            for (fact, map) in [("uid", &maps.uid), ("gid", &maps.gid)] {
                let lines = map.iter().map(|map| {
                    format!("{} inside is {} outside, {} ids", map.inside, map.outside, map.count)
                });
                rows.add(fact, Cell::lines(lines));
            }
        }
        other => rows.text("uid, gid", words::or_why(other, |_| String::new())),
    }
    format!("{}\n{}", table.render(), rows.table.render())
}

fn capabilities(snapshot: &Snapshot, style: Style) -> String {
    let mut rows = Rows::new(style, "CAPABILITIES");
    match &snapshot.capabilities {
        Observed::Present(sets) => {
            for (fact, set) in [
                ("effective", sets.effective),
                ("permitted", sets.permitted),
                ("inheritable", sets.inheritable),
                ("bounding", sets.bounding),
                ("ambient", sets.ambient),
            ] {
                let text = words::capabilities(set);
                let tone = if text.starts_with("all") { Tone::Bad } else { Tone::Plain };
                rows.noted(fact, text, tone);
            }
        }
        other => rows.text("all five sets", words::or_why(other, |_| String::new())),
    }
    match &snapshot.no_new_privs {
        Observed::Present(true) => rows.noted("no_new_privs", "set".to_owned(), Tone::Good),
        Observed::Present(false) => rows.text("no_new_privs", "not set".to_owned()),
        other => rows.text("no_new_privs", words::plain(other)),
    }
    rows.table.render()
}

fn seccomp(snapshot: &Snapshot, style: Style) -> String {
    use plim_model::seccomp::SeccompMode;
    let mut rows = Rows::new(style, "SECCOMP");
    let seccomp = &snapshot.seccomp;
    match &seccomp.mode {
        Observed::Present(SeccompMode::Disabled) => {
            rows.noted("mode", "disabled: every system call is reachable".to_owned(), Tone::Bad);
        }
        Observed::Present(SeccompMode::Strict) => rows.noted("mode", "strict".to_owned(), Tone::Good),
        Observed::Present(SeccompMode::Filter) => rows.noted("mode", "filter".to_owned(), Tone::Good),
        Observed::Present(SeccompMode::Other(mode)) => rows.noted("mode", mode.to_string(), Tone::Warn),
        other => rows.text("mode", words::or_why(other, |_| String::new())),
    }
    rows.text("filters", words::plain(&seccomp.filter_count));
    match &seccomp.filters {
        Observed::Present(filters) => {
            for (index, filter) in filters.iter().enumerate() {
                let mut lines = vec![
                    format!("{} instructions, sha256 {}", filter.length, filter.sha256),
                    words::or_why(&filter.log, |log| match log {
                        true => "flag LOG".to_owned(),
                        false => "no flag LOG".to_owned(),
                    }),
                ];
                lines.extend(filter.summary.iter().map(|arch| {
                    format!(
                        "{}: {} calls allowed, {} refused, {} by their arguments",
                        arch.arch, arch.allowed, arch.refused, arch.conditional
                    )
                }));
                let age = if index == 0 && filters.len() > 1 { " (oldest)" } else { "" };
                rows.add(&format!("filter {}{age}", index + 1), Cell::lines(lines));
            }
        }
        other => rows.text("installed", words::or_why(other, |_| String::new())),
    }
    let lsm = &snapshot.lsm;
    rows.text("LSMs active", words::or_why(&lsm.active, |list| list.join(" ")));
    rows.text("apparmor", words::plain(&lsm.apparmor));
    rows.text("selinux", words::plain(&lsm.selinux));
    rows.text("smack", words::plain(&lsm.smack));
    rows.table.render()
}

fn levels(levels: &[Level], show: impl Fn(&plim_model::rlimit::Limit) -> String) -> Cell {
    Cell::lines(levels.iter().map(|level| format!("{}: {}", level.path, words::or_why(&level.max, &show))))
}

fn cgroup(snapshot: &Snapshot, style: Style) -> String {
    use plim_model::cgroup::CgroupVersion;
    let mut rows = Rows::new(style, "CGROUP");
    let cgroup = &snapshot.cgroup;
    rows.text(
        "version",
        words::or_why(&cgroup.version, |version| {
            match version {
                CgroupVersion::V1 => "v1",
                CgroupVersion::Hybrid => "v1 and v2 (hybrid)",
                CgroupVersion::V2 => "v2",
            }
            .to_owned()
        }),
    );
    rows.add("paths", Cell::lines(cgroup.paths.iter().map(|(key, path)| format!("{key}: {path}"))));
    match &cgroup.memory {
        Observed::Present(memory) => {
            rows.text("memory in effect", words::or_why(&memory.effective_max_bytes, words::byte_limit));
            rows.add("  per level", levels(&memory.levels, words::byte_limit));
            rows.text("  in use", words::or_why(&memory.current_bytes, |value| words::bytes(*value)));
            rows.text("swap in effect", words::or_why(&memory.effective_swap_max_bytes, words::byte_limit));
            rows.text("  own", words::or_why(&memory.swap_max_bytes, words::byte_limit));
        }
        other => rows.text("memory", words::or_why(other, |_| String::new())),
    }
    match &cgroup.cpu {
        Observed::Present(cpu) => {
            rows.text("CPU in effect", words::or_why(&cpu.effective_millicpus, words::cpus));
            rows.text(
                "  own",
                format!(
                    "quota {} us per {} us",
                    words::or_why(&cpu.quota_us, words::limit),
                    words::plain(&cpu.period_us)
                ),
            );
            rows.text("  shares (v1)", words::plain(&cpu.shares));
            rows.text("  weight (v2)", words::plain(&cpu.weight));
            rows.text("CPUs in effect", words::plain(&cpu.effective_cpuset_cpus));
            rows.text("  own", words::plain(&cpu.cpuset_cpus));
            rows.text("memory nodes", words::plain(&cpu.cpuset_mems));
        }
        other => rows.text("CPU", words::or_why(other, |_| String::new())),
    }
    match &cgroup.pids {
        Observed::Present(pids) => {
            rows.text("tasks in effect", words::or_why(&pids.effective_max, words::limit));
            rows.add("  per level", levels(&pids.levels, words::limit));
            rows.text("  now", words::plain(&pids.current));
        }
        other => rows.text("tasks", words::or_why(other, |_| String::new())),
    }
    match &cgroup.io {
        Observed::Present(io) => {
            rows.text("I/O weight", words::plain(&io.weight));
            let devices = io.devices.iter().map(|(device, limits)| {
                format!(
                    "{device}: read {} B/s, write {} B/s, read {} op/s, write {} op/s",
                    words::limit(&limits.read_bytes_per_second),
                    words::limit(&limits.write_bytes_per_second),
                    words::limit(&limits.read_operations_per_second),
                    words::limit(&limits.write_operations_per_second)
                )
            });
            let devices: Vec<String> = devices.collect();
            rows.list("I/O throttles", &Observed::Present(devices), String::clone);
        }
        other => rows.text("I/O", words::or_why(other, |_| String::new())),
    }
    rows.table.render()
}

fn files(snapshot: &Snapshot, style: Style) -> String {
    let mut rows = Rows::new(style, "FILES");
    rows.list("masked", &snapshot.masked_paths, String::clone);
    rows.list("read-only", &snapshot.read_only_paths, String::clone);
    rows.list("device nodes", &snapshot.devices.nodes, |device| {
        format!("{} {} {}:{}", device.path, device.kind, device.major, device.minor)
    });
    rows.list("device rules", &snapshot.devices.cgroup_rules, String::clone);
    match &snapshot.engine_sockets {
        Observed::Present(sockets) if !sockets.is_empty() => {
            let lines = sockets.iter().map(|socket| format!("{} ({})", socket.path, socket.engine));
            rows.add("engine sockets", Cell::lines(lines).tone(Tone::Bad));
        }
        other => rows.list("engine sockets", other, |socket| socket.path.clone()),
    }
    rows.table.render()
}

fn mounts(snapshot: &Snapshot, style: Style) -> String {
    let mounts = match &snapshot.mounts {
        Observed::Present(mounts) => mounts,
        other => {
            let mut rows = Rows::new(style, "MOUNTS");
            rows.text("all", words::or_why(other, |_| String::new()));
            return rows.table.render();
        }
    };
    let mut table = Table::new(style, ["MOUNT", "TYPE", "SOURCE", "OPTIONS", "PROPAGATION"]);
    for mount in mounts {
        use plim_model::mount::Propagation;
        let source = match mount.root.as_str() {
            "/" => mount.source.clone(),
            root => format!("{}[{root}]", mount.source),
        };
        let (propagation, tone) = match mount.propagation {
            Propagation::Private => ("private", Tone::Plain),
            Propagation::Shared => ("shared", Tone::Warn),
            Propagation::Slave => ("slave", Tone::Plain),
            Propagation::SharedSlave => ("shared, slave", Tone::Warn),
            Propagation::Unbindable => ("unbindable", Tone::Plain),
        };
        table.row([
            Cell::new(&mount.target),
            Cell::new(&mount.fs_type),
            Cell::new(source),
            Cell::new(mount.options.join(",")),
            Cell::new(propagation).tone(tone),
        ]);
    }
    table.render()
}

fn limits(snapshot: &Snapshot, style: Style) -> String {
    let mut table = Table::new(style, ["RESOURCE LIMIT", "SOFT", "HARD"]);
    match &snapshot.rlimits {
        Observed::Present(limits) => {
            for (name, value) in limits {
                table.row([name.clone(), words::limit(&value.soft), words::limit(&value.hard)]);
            }
        }
        other => {
            table.row(["all".to_owned(), words::or_why(other, |_| String::new()), String::new()]);
        }
    }
    let mut rows = Rows::new(style, "SYSCTL");
    for (name, value) in &snapshot.sysctls {
        rows.text(name, words::plain(value));
    }
    format!("{}\n{}", table.render(), rows.table.render())
}

fn processes(snapshot: &Snapshot, style: Style) -> String {
    let mut rows = Rows::new(style, "PROCESSES");
    rows.text("count", words::plain(&snapshot.process_count));
    match &snapshot.odd_processes {
        Observed::Present(odd) if !odd.is_empty() => {
            for process in odd {
                let fact = format!("{} {}", process.pid, process.comm);
                rows.add(&fact, Cell::lines(&process.differs).tone(Tone::Warn));
            }
        }
        Observed::Present(_) => {
            rows.text("confined differently", "none".to_owned());
        }
        other => rows.text("confined differently", words::or_why(other, |_| String::new())),
    }
    rows.table.render()
}
