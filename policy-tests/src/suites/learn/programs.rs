//! Programs that people run, each with a test of what it is for.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{document, learn, rows};
use crate::{Ctx, same};

/// Set for the long form: each is shrunk as well, which takes minutes.
const SHRINK: &str = "PLIM_LEARN_SHRINK";

/// A program, how it is run, and what it is for.
struct Workload {
    name: &'static str,
    options: Vec<String>,
    command: Vec<String>,
    /// Tried until it passes; the container has no network but its own loopback.
    test: &'static str,
    /// Puts back what a server that was killed may have left behind.
    before: Option<String>,
}

const NGINX: &str = "error_log stderr;\npid /run/nginx.pid;\nevents {}\nhttp {\n  client_body_temp_path /run/body;\n  \
                     proxy_temp_path /run/proxy;\n  fastcgi_temp_path /run/fastcgi;\n  uwsgi_temp_path /run/uwsgi;\n  \
                     scgi_temp_path /run/scgi;\n  access_log /run/access.log;\n  server { listen 127.0.0.1:8080; root /w; }\n}\n";
const FLASK: &str = r#"
import sqlite3
from flask import Flask, request
app = Flask(__name__)
db = sqlite3.connect("/tmp/app.db", check_same_thread=False)
db.execute("create table if not exists t (v text)")
@app.route("/", methods=["GET", "POST"])
def index():
    if request.method == "POST":
        db.execute("insert into t values (?)", (request.form["v"],))
        db.commit()
    return ",".join(v for v, in db.execute("select v from t"))
app.run("127.0.0.1", 8080)
"#;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn workloads(dir: &Path) -> Result<Vec<Workload>> {
    std::fs::write(dir.join("nginx.conf"), NGINX)?;
    std::fs::write(dir.join("index.html"), "hello from nginx\n")?;
    std::fs::write(dir.join("app.py"), FLASK)?;
    let volume = format!("-v {}:/w:ro", dir.display());
    let mut nginx = words("nginx -c /w/nginx.conf -g");
    nginx.push("daemon off;".to_owned());
    let mut redis = words("redis-server --dir /tmp --bind 127.0.0.1 --save");
    redis.push(String::new());
    let (postgres, cluster) = postgres(dir)?;
    Ok(vec![
        Workload {
            name: "nginx",
            options: words(&volume),
            command: nginx,
            test: "curl -fsS --max-time 2 http://127.0.0.1:8080/ | grep -q 'hello from nginx'",
            before: None,
        },
        Workload {
            name: "redis-server",
            options: Vec::new(),
            command: redis,
            test: "redis-cli set k v | grep -q OK && test \"$(redis-cli get k)\" = v",
            before: None,
        },
        Workload {
            name: "flask",
            options: words(&volume),
            command: words("python3 /w/app.py"),
            test: "curl -fsS --max-time 2 -d v=42 http://127.0.0.1:8080/ | grep -q 42",
            before: None,
        },
        Workload {
            name: "postgres",
            options: words(&format!("--user postgres -v {cluster}:/cluster")),
            command: words(&format!("{postgres} -D /cluster -c unix_socket_directories=/tmp")),
            test: "test \"$(psql -qAt -h 127.0.0.1 -U postgres -c 'create table if not exists t (n int)' \
                   -c 'insert into t select generate_series(1, 1000)' -c 'select count(*) > 999 from t')\" = t",
            before: Some(format!("rm -rf {cluster} && cp -a {cluster}.new {cluster}")),
        },
    ])
}

/// The server's program, and a cluster that is its own.
fn postgres(dir: &Path) -> Result<(String, String)> {
    let initdb = super::postgres("initdb").context("initdb")?;
    let cluster = dir.join("cluster").display().to_string();
    let script = format!("{initdb} -D {cluster}.new -A trust --wal-segsize=1 >/dev/null");
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))?;
    let owner = Command::new("install")
        .args(["-d", "-o", "postgres", "-m", "700"])
        .arg(format!("{cluster}.new"))
        .output()?;
    ensure!(owner.status.success(), "{owner:?}");
    let made =
        Command::new("su").args(["postgres", "-s", "/bin/sh", "-c", &script]).current_dir("/").output()?;
    ensure!(made.status.success(), "initdb: {made:?}");
    Ok((initdb.replace("initdb", "postgres"), cluster))
}

pub(super) fn programs(ctx: &Ctx) -> Result<()> {
    let files = tempfile::Builder::new().prefix("plimtest-learn-").tempdir()?;
    for workload in workloads(files.path())? {
        one(ctx, &workload).with_context(|| workload.name)?;
    }
    Ok(())
}

fn one(ctx: &Ctx, workload: &Workload) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-learn-").tempdir()?;
    let place = dir.path().display().to_string();
    let inside = dir.path().join("test");
    std::fs::write(&inside, format!("exec >/dev/null 2>&1\n{}\n", workload.test))?;
    let test = format!(
        "for i in $(seq 200); do nsenter -n -t $PLIM_PID sh {} && exit 0; sleep 0.05; done; exit 1",
        inside.display()
    );
    let mut args = vec!["record", "-q", "-o", &place, "--test", &test];
    args.extend(workload.before.iter().flat_map(|before| ["--before", before]));
    args.push("--");
    args.extend(workload.options.iter().chain(&workload.command).map(String::as_str));
    learn(ctx, &args, 0)?;
    document(ctx, &dir.path().join("recording-001.json"))?;
    let verified: Value =
        serde_json::from_str(&learn(ctx, &["verify", "-q", "--format", "json", &place], 0)?)?;
    same("refusals", (verified["denials"].clone(), verified["unknown"].clone()), (json!([]), Value::Null))?;
    if std::env::var_os(SHRINK).is_none() {
        return Ok(());
    }
    let shrunk = dir.path().join("shrunk.json").display().to_string();
    let said = learn(ctx, &["shrink", "-q", "--format", "json", "--save", &shrunk, &place], 0)?;
    let said: Value = serde_json::from_str(&said)?;
    // A subset of docker-default, or a call that says why not.
    ensure!(
        said["subset_of_docker_default"] == true || said["witness"].is_string(),
        "neither a subset nor a witness: {said}"
    );
    ensure!(
        !rows(&said["proposal"], "calls")?.is_empty() && said["needed"].is_object(),
        "nothing is left: {said}"
    );
    learn(ctx, &["verify", "-q", &shrunk], 0).map(drop)
}
