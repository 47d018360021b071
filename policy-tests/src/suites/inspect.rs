//! `plim inspect` of a plim container: the published shape, and the values that were asked for.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Ctx, Need, Running, Suite, Test, Weakening as W, host, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "inspect",
    tests: &[
        Test {
            name: "shape",
            says: "the snapshot has every published field; what is unknown is null and listed",
            needs: &[Need::Plim, Need::Built("plim-inspect")],
            red_under: &[W::InspectForgets],
            run: shape,
        },
        Test {
            name: "values",
            says: "the snapshot tells the limits, capabilities, namespaces and filter that the container really has",
            needs: &[
                Need::Plim,
                Need::Built("plim-inspect"),
                Need::Controller("memory"),
                Need::Controller("pids"),
            ],
            red_under: &[W::SysAdmin, W::NoSeccomp, W::HostNet],
            run: values,
        },
        Test {
            name: "by_pid",
            says: "pid:N and plim:NAME tell the same of one container; self and host can be inspected",
            needs: &[Need::Plim, Need::Built("plim-inspect")],
            red_under: &[W::InspectElsewhere],
            run: by_pid,
        },
        Test {
            name: "not_found",
            says: "a target that is not there is one clear error, status 2 or 3",
            needs: &[Need::Plim, Need::Built("plim-inspect")],
            red_under: &[W::SilentFailure],
            run: not_found,
        },
    ],
};

/// A plim container that holds, ready to be looked at.
///
/// # Errors
/// When it does not start.
pub fn held(ctx: &Ctx, options: &[&str]) -> Result<Running> {
    let mut running = ctx.plim_start(options, &["hold", "30"])?;
    running.wait_for("ready")?;
    Ok(running)
}

/// The snapshot of a target.
///
/// # Errors
/// When the tool fails or prints no JSON.
pub fn snapshot(ctx: &Ctx, target: &str) -> Result<Value> {
    let outcome = ctx.tool("plim-inspect", &["--format", "json", target])?;
    let value: Value = serde_json::from_str(&outcome.stdout).with_context(|| format!("{outcome:?}"))?;
    let found = match value {
        Value::Array(mut all) if all.len() == 1 => all.remove(0),
        one => one,
    };
    let unknown = found["unknown"].as_array().is_some_and(|all| !all.is_empty());
    // 3 says that something could not be observed, and then it is listed.
    let said = if outcome.code == 3 && unknown { 0 } else { outcome.code };
    ensure!(said == 0, "plim inspect {target} ended with {}: {}", outcome.code, outcome.stderr);
    Ok(found)
}

/// Every field that the issue publishes.
///
/// # Errors
/// The first one that is missing.
pub fn check_shape(snapshot: &Value) -> Result<()> {
    let mut pointers: Vec<String> = [
        "/format",
        "/target/engine",
        "/target/id",
        "/target/name",
        "/target/pid",
        "/no_new_privs",
        "/seccomp/mode",
        "/seccomp/filters",
        "/cgroup/version",
        "/cgroup/memory",
        "/cgroup/cpu",
        "/cgroup/pids",
        "/cgroup/io",
        "/mounts",
        "/rlimits",
        "/lsm",
        "/unknown",
    ]
    .map(str::to_owned)
    .to_vec();
    for kind in ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time"] {
        pointers.push(format!("/namespaces/{kind}/inode"));
        pointers.push(format!("/namespaces/{kind}/shared_with_host"));
    }
    for set in ["effective", "permitted", "inheritable", "bounding", "ambient"] {
        pointers.push(format!("/capabilities/{set}"));
    }
    for pointer in &pointers {
        // What is unknown as a whole is null, and listed, in place of its parts.
        let listed = snapshot["unknown"].as_array().is_some_and(|all| {
            all.iter()
                .filter_map(|one| one["path"].as_str())
                .any(|path| pointer.starts_with(&format!("{path}/")))
        });
        ensure!(listed || snapshot.pointer(pointer).is_some(), "the snapshot has no {pointer}");
    }
    super::first_format(snapshot)?;
    for filter in snapshot["seccomp"]["filters"].as_array().into_iter().flatten() {
        ensure!(filter["length"].is_u64(), "a filter without its length: {filter}");
        ensure!(
            filter["sha256"].as_str().is_some_and(|text| text.len() == 64),
            "a filter without its digest"
        );
    }
    for unknown in snapshot["unknown"].as_array().into_iter().flatten() {
        let path = unknown["path"].as_str().context("an unknown without its path")?;
        ensure!(unknown["why"].is_string(), "{path} is unknown without a reason");
        same(&format!("the unknown value at {path}"), snapshot.pointer(path), Some(&Value::Null))?;
    }
    Ok(())
}

fn shape(ctx: &Ctx) -> Result<()> {
    let running = held(ctx, &[])?;
    let found = snapshot(ctx, &format!("plim:{}", running.case.tag))?;
    check_shape(&found)?;
    same("engine", found["target"]["engine"].clone(), json!("plim"))?;
    same("name", found["target"]["name"].clone(), json!(running.case.tag))?;
    same("pid", found["target"]["pid"].as_i64(), Some(i64::from(running.host_pid()?)))?;
    // Same input, same bytes out, but for what use changes.
    let again = snapshot(ctx, &format!("plim:{}", running.case.tag))?;
    for area in ["capabilities", "seccomp", "mounts", "rlimits", "lsm"] {
        same(&format!("{area}, read twice"), &again[area], &found[area])?;
    }
    Ok(())
}

fn values(ctx: &Ctx) -> Result<()> {
    let mut options = vec!["-m", "64m", "--pids-limit", "50", "--cap-drop", "ALL", "--cap-add", "NET_RAW"];
    options.extend(["--ulimit", "nofile=200:300"]);
    let running = held(ctx, &options)?;
    let found = snapshot(ctx, &format!("plim:{}", running.case.tag))?;
    for set in ["effective", "permitted", "bounding"] {
        same(set, &found["capabilities"][set], &json!(["CAP_NET_RAW"]))?;
    }
    for set in ["inheritable", "ambient"] {
        same(set, &found["capabilities"][set], &json!([]))?;
    }
    same("memory", &found["cgroup"]["memory"]["max_bytes"], &json!(64 << 20))?;
    same("pids", &found["cgroup"]["pids"]["max"], &json!(50))?;
    same("no_new_privs", &found["no_new_privs"], &json!(false))?;
    same("seccomp mode", &found["seccomp"]["mode"], &json!("filter"))?;
    same("filters", found["seccomp"]["filters"].as_array().map(Vec::len), Some(1))?;
    same("open files", &found["rlimits"]["RLIMIT_NOFILE"]["soft"], &json!(200))?;
    let pid = running.host_pid()?.to_string();
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"] {
        let link = host::namespace(&pid, kind)?;
        let shared = link == host::namespace("self", kind)?;
        let inode: u64 = link.trim_end_matches(']').rsplit('[').next().unwrap_or_default().parse()?;
        same(&format!("{kind} inode"), found["namespaces"][kind]["inode"].as_u64(), Some(inode))?;
        same(
            &format!("{kind} shared"),
            found["namespaces"][kind]["shared_with_host"].as_bool(),
            Some(shared),
        )?;
        same(&format!("{kind} shared as asked"), shared, kind == "user")?;
    }
    Ok(())
}

fn by_pid(ctx: &Ctx) -> Result<()> {
    let running = held(ctx, &[])?;
    let by_name = snapshot(ctx, &format!("plim:{}", running.case.tag))?;
    let pid = running.host_pid()?;
    let by_pid = snapshot(ctx, &format!("pid:{pid}"))?;
    same("pid", &by_pid["target"]["pid"], &json!(pid))?;
    for area in ["capabilities", "seccomp", "mounts", "rlimits", "no_new_privs"] {
        same(area, &by_pid[area], &by_name[area])?;
    }
    // Which other containers share a namespace is another matter: they come and go.
    for kind in plim_model::NamespaceKind::ALL {
        for fact in ["inode", "shared_with_host"] {
            let at = format!("/namespaces/{kind}/{fact}");
            same(&at, by_pid.pointer(&at), by_name.pointer(&at))?;
        }
    }
    for target in ["self", "host"] {
        check_shape(&snapshot(ctx, target)?).with_context(|| target.to_owned())?;
    }
    Ok(())
}

fn not_found(ctx: &Ctx) -> Result<()> {
    for target in ["plim:nobody-here", "pid:4194300", "nobody-here"] {
        let outcome = ctx.tool("plim-inspect", &[target])?;
        ensure!([2, 3].contains(&outcome.code), "{target}: status {}", outcome.code);
        ensure!(outcome.stdout.is_empty(), "{target}: something was printed all the same");
        ensure!(
            outcome.stderr.contains("nobody-here") || outcome.stderr.contains("4194300"),
            "{}",
            outcome.stderr
        );
    }
    Ok(())
}
