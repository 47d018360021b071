//! Command lines under the default policy and `pack:hardened`: what is not known never passes.

mod common;

use common::judged;
use plim_policy::declared::command_line::read_all;
use plim_policy::judge::Subject;
use plim_policy::lock::{self, Lock};
use plim_policy::{Outcome, Severity};

/// `pass`, `fail`, `unknown`, or `error` where the engine would refuse the line.
fn verdict(policy: &str, line: &str) -> &'static str {
    let Ok(lines) = read_all(line) else { return "error" };
    let open = !lines.not_judged.is_empty();
    let subjects: Vec<Subject> =
        lines.workloads.into_iter().map(|workload| Subject::of_workload(workload, None)).collect();
    let findings = judged(&[policy], vec![], &subjects);
    let any = |outcome| {
        findings
            .findings
            .iter()
            .any(|finding| finding.outcome == outcome && finding.severity >= Severity::Low)
    };
    if any(Outcome::Fail) {
        "fail"
    } else if any(Outcome::NotObservable) || open {
        "unknown"
    } else {
        "pass"
    }
}

#[test]
fn the_default_policy() {
    for (line, expected) in [
        ("docker run nginx", "pass"),
        ("docker run --privileged nginx", "fail"),
        ("docker run --privileged=false nginx", "pass"),
        ("docker run --privileged=F nginx", "pass"),
        ("docker run --privileged=yes nginx", "error"),
        ("docker run -d \\\r\n  --privileged \\\r\n  nginx", "fail"),
        ("docker run -d `\n --privileged `\n nginx", "fail"),
        ("docker run -d ^\n --privileged ^\n nginx", "fail"),
        ("docker run --rm alpine true && docker run --privileged nginx", "fail"),
        ("docker run a; x=$(docker run --privileged b)", "fail"),
        ("docker run a; ssh host docker run --privileged b", "unknown"),
        ("docker run a | docker exec -i b sh", "unknown"),
        ("podman run --security-opt unmask=ALL nginx", "fail"),
        ("podman run --security-opt unmask=/proc/acpi nginx", "fail"),
        ("podman run --security-opt systempaths=unconfined nginx", "fail"),
        ("docker run --security-opt unmask=ALL nginx", "error"),
        ("docker run --security-opt seccomp:unconfined nginx", "fail"),
        ("docker run --security-opt seccomp=$PROFILE nginx", "unknown"),
        ("docker run --security-opt $OPT nginx", "unknown"),
        ("docker run --security-opt nonewprivs nginx", "error"),
        ("docker run --security-opt no-new-privileges=maybe nginx", "error"),
        ("docker run --cap-add cap_net_admin nginx", "fail"),
        ("docker run --cap-add=SYS_ADMIN,NET_ADMIN nginx", "error"),
        ("podman run --cap-add=SYS_ADMIN,NET_ADMIN nginx", "fail"),
        ("docker run --cap-add CHOWN nginx", "pass"),
        ("docker run --cap-add SYS_ADMN nginx", "error"),
        ("docker run --cap-add CAP_ALL nginx", "error"),
        ("docker run --cap-add $CAP nginx", "unknown"),
        ("docker run --cap-drop $CAP nginx", "unknown"),
        ("docker run --pid=host nginx", "fail"),
        ("docker run --pid=hots nginx", "error"),
        ("docker run --pid=$MODE nginx", "unknown"),
        ("docker run --pid \"${MODE:-host}\" nginx", "unknown"),
        ("podman run --pid ns:/proc/1/ns/pid nginx", "unknown"),
        ("podman run --network ns:/proc/1/ns/net nginx", "unknown"),
        ("podman run --pod infra nginx", "unknown"),
        ("docker run --network $NET nginx", "unknown"),
        ("docker run --network name=host nginx", "fail"),
        ("docker run --device /dev/sda nginx", "fail"),
        ("docker run --device $DEV nginx", "unknown"),
        ("docker run -v /var/run/docker.sock:/s nginx", "fail"),
        ("docker run --mount type=bind,SRC=/run/docker.sock,dst=/s nginx", "fail"),
        ("docker run --use-api-socket nginx", "fail"),
        ("docker run -v $SOCK:/s nginx", "unknown"),
        ("docker run -v \"$SOCK:/s\" nginx", "unknown"),
        ("docker run --mount type=bind,src=$SOCK,dst=/s nginx", "unknown"),
        ("docker run --volumes-from=$OTHER nginx", "unknown"),
        ("docker run -v /srv:/s:$MODE nginx", "unknown"),
        ("docker run --mount type=bind,src=/srv,dst=/s,bind-propagation=$P nginx", "unknown"),
        ("docker run --mount type=volume,dst=/s,volume-opt=o=$O,volume-opt=device=/ nginx", "unknown"),
        ("docker run --volumes-from data nginx", "unknown"),
        ("nerdctl run --security-opt privileged-without-host-devices nginx", "pass"),
        ("docker run --security-opt privileged-without-host-devices nginx", "error"),
        // Nothing that this policy asks about.
        ("docker run -v \"$PWD:/src\" -w /src nginx", "pass"),
        ("docker run -v $(pwd):/src nginx", "pass"),
        ("docker run -v ~/x:/src:ro nginx", "pass"),
        ("docker run -u $(id -u):$(id -g) nginx", "pass"),
        ("docker run -p $PORT:80 -e A=$A --name $N --memory=$M -l x=$L --hostname $(hostname) nginx", "pass"),
        ("docker run --rm \"$IMAGE\"", "pass"),
        ("docker run nginx:$TAG $ARGS --privileged", "pass"),
        ("docker run --rm -- \"$IMAGE\" sh", "pass"),
        // Everything that it asks about.
        ("docker run $OPTS --privileged img", "unknown"),
        ("docker run $OPTS img", "unknown"),
        ("docker run \"$FLAG\" img", "unknown"),
        ("docker run \"$@\"", "unknown"),
        ("docker run --$X img", "unknown"),
        ("docker run --privileged=$P img", "unknown"),
        ("docker run -e X=$(date +%s) --privileged img", "fail"),
        ("docker compose run web", "error"),
        ("kubectl run x --image=y --privileged", "error"),
        ("npm run build", "error"),
        ("docker run --cap-drop ALL \"\"", "error"),
        ("docker run NGINX:latest", "error"),
        ("docker run -v x nginx", "error"),
        ("docker run --mount type=bind,src=/a nginx", "error"),
        ("docker run -m 1zz nginx", "error"),
    ] {
        assert_eq!(verdict("pack:docker-default", line), expected, "{line:?}");
    }
}

#[test]
fn the_hardened_pack() {
    const HARD: &str = "docker run --cap-drop=ALL --security-opt no-new-privileges -u 1000 --read-only -m 64m --pids-limit 64";
    for (more, expected) in [
        ("", "pass"),
        ("--security-opt no-new-privileges:0", "fail"),
        ("--security-opt=no-new-privileges=F", "fail"),
        ("-u $USER", "unknown"),
        ("-u +0", "fail"),
        ("-m $M", "unknown"),
        ("-m 1e9", "pass"),
        ("--pids-limit=$P", "unknown"),
        ("--read-only=$R", "unknown"),
        ("--read-only=0", "fail"),
        ("-v $DIR:/x", "unknown"),
        ("-p $PORT:80", "pass"),
    ] {
        let line = format!("{HARD} {more} nginx:1");
        // Whether what runs is what was written is for a container that runs.
        assert_eq!(verdict("pack:hardened", &line), expected, "{line}");
    }
}

#[test]
fn podman_has_podman_s_defaults() {
    let caps =
        |line: &str| read_all(line).unwrap().workloads.remove(0).containers.remove(0).capabilities.unwrap();
    assert_eq!(caps("podman run x").len(), 11);
    assert_eq!(caps("docker run x").len(), 14);
    assert!(!caps("podman run x").contains(&"CAP_NET_RAW".to_owned()));
}

#[test]
fn an_undecided_declaration_is_never_within_a_lock() {
    let subject = |line: &str| Subject::of_workload(read_all(line).unwrap().workloads.remove(0), None);
    let mut locked = Lock::default();
    locked.put(&subject("docker run --name web nginx"));
    for (line, outcome) in [
        ("docker run --name web nginx", Outcome::Pass),
        ("docker run --name web -v $X:/x nginx", Outcome::NotObservable),
        ("docker run --name web --cap-add $X nginx", Outcome::NotObservable),
        ("docker run --name web --pid=$X nginx", Outcome::NotObservable),
    ] {
        let findings = lock::check(&locked, "plim.lock", &[subject(line)]).findings;
        let worst = findings.iter().map(|finding| finding.outcome).find(|found| *found != Outcome::Pass);
        assert_eq!(worst.unwrap_or(Outcome::Pass), outcome, "{line}: {findings:?}");
    }
}
