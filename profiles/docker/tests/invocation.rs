//! Which commands of a text run containers, and what they decide.

use plim_docker::invocation::{Statement, read};
use plim_docker::{Engine, What};

/// One letter a statement: `r` runs a container, `o` another command, `?` cannot be judged; `r*` where something is open.
fn shape(text: &str) -> String {
    let letter = |statement: &Statement| match statement {
        Statement::Run(run) if run.open.is_some() => "r*",
        Statement::Run(_) => "r",
        Statement::Other { .. } => "o",
        Statement::NotJudged { .. } => "?",
    };
    match read(text) {
        Ok(statements) => statements.iter().map(letter).collect(),
        Err(error) => match error.what {
            What::NoContainer { .. } => "none".to_owned(),
            _ => "refused".to_owned(),
        },
    }
}

#[test]
fn every_container_command_is_found() {
    for (text, expected) in [
        ("docker run nginx", "r"),
        ("docker container run nginx", "r"),
        ("docker create nginx", "r"),
        ("/usr/bin/docker run nginx", "r"),
        ("docker.exe run nginx", "r"),
        ("sudo docker run nginx", "r"),
        ("sudo -E -u root docker run nginx", "r"),
        ("A=1 B='x y' docker run nginx", "r"),
        ("env A=1 docker run nginx", "r"),
        ("time exec docker run nginx", "r"),
        ("docker --context prod -D --log-level=debug run nginx", "r"),
        ("docker -H tcp://1.2.3.4:2375 run nginx", "r"),
        ("docker -Htcp://1.2.3.4:2375 --tls run nginx", "r"),
        ("podman --root /x --log-level debug run nginx", "r"),
        ("nerdctl -n k8s.io run nginx", "r"),
        ("nerdctl run --snapshotter=stargz nginx", "r"),
        ("podman run --log-level debug nginx", "r"),
        ("plim run true", "r"),
        ("plim-run -- true", "r"),
        ("$ docker run nginx", "r"),
        ("cd /x && docker run a; docker run b | tee log", "orro"),
        ("if ! docker run a; then docker run b; fi", "rr"),
        ("for i in 1 2; do docker run a; done", "r"),
        ("bash -c 'docker run a && docker run b'", "rr"),
        ("sh -exc \"docker run a\"", "r"),
        ("eval docker run a", "r"),
        ("id=$(docker run -d a)", "r"),
        ("docker logs $(docker run -d a) `docker run b`", "rro"),
        ("echo docker run --privileged a", "none"),
        ("echo docker run --privileged a | sh", "o?"),
        ("alias d=docker", "?"),
        // Where the shell substitutes, too.
        ("docker run a > >(docker run b)", "rr"),
        ("docker run a < <(docker run b)", "rr"),
        ("docker run a 2> $(docker run b)", "rr"),
        ("docker run a <<< \"$(docker run b)\"", "rr"),
        ("docker run -i a <<X\n$(docker run b)\nX", "?r"),
        ("docker run -i a <<'X'\n$(docker run b)\nX", "r"),
        ("((x=1<<X))\ndocker run a\nX", "ro"),
        ("for ((i=1;i<<X;i++)); do docker run a; done", "r"),
        ("docker run a; function f { docker run b; }", "r?"),
        ("docker run a; echo $(case x in x) docker run b;; esac)", "r?"),
        ("docker run a; env -S 'docker run b'", "r?"),
        ("docker run a; podman unshare podman run b", "r?"),
        ("docker run a; echo run b | xargs docker", "ro?"),
        ("docker run a; echo x | xargs -I% sh -c %", "ro?"),
        ("docker run a; sudo -s <<X\ndocker run b\nX", "r?"),
        ("docker run a; ssh h <<X\ndocker run b\nX", "r?"),
        ("docker run a; source <(echo docker run b)", "ro?"),
        ("systemctl restart docker", "none"),
        ("d() { docker \"$@\"; }", "o?"),
        ("docker ps", "none"),
        ("docker pull nginx && docker run nginx", "or"),
        ("npm run build", "none"),
        ("", "none"),
        ("# docker run nginx", "none"),
        // Not enough is known.
        ("$DOCKER run nginx", "?"),
        ("docker $VERB nginx", "?"),
        ("docker compose run web", "?"),
        ("docker-compose up", "?"),
        ("kubectl run x --image=y --privileged", "?"),
        ("ssh host docker run nginx", "?"),
        ("xargs docker run", "?"),
        ("watch 'docker run nginx'", "?"),
        ("bash -c \"$SCRIPT\"", "?"),
        ("curl x | sh", "o?"),
        ("sh < script", "?"),
        ("make run", "none"),
        ("docker service create nginx", "?"),
        ("docker exec web sh", "?"),
        ("docker run a && docker exec a id", "r?"),
    ] {
        let got = shape(text);
        assert_eq!(got, expected, "{text:?}");
    }
}

#[test]
fn a_word_that_may_be_any_option_leaves_the_rest_open() {
    for (text, expected) in [
        ("docker run $OPTS nginx", "r*"),
        ("docker run $(opts) nginx", "r*"),
        ("docker run \"$@\"", "r*"),
        ("docker run \"${OPTS[@]}\" nginx", "r*"),
        ("docker run $IMAGE", "r*"),
        ("docker run \"$FLAG\" nginx", "r*"),
        ("docker run --$FLAG nginx", "r*"),
        ("docker run -$FLAG nginx", "r*"),
        ("docker run -it$FLAG nginx", "r*"),
        ("docker run {--privileged,nginx}", "r*"),
        ("docker run * nginx", "r*"),
        // One word that must be the image.
        ("docker run \"$IMAGE\"", "r"),
        ("docker run -- \"$IMAGE\" sh", "r"),
        ("docker run nginx $ARGS", "r"),
        ("docker run nginx:$TAG $ARGS", "r"),
        // Values.
        ("docker run -u $(id -u):$(id -g) nginx", "r"),
        ("docker run -p $PORT:80 nginx", "r"),
        ("docker run -v \"$PWD:/src\" nginx", "r"),
        ("docker run --memory=$M nginx", "r"),
        ("docker run -e $X nginx", "r"),
    ] {
        assert_eq!(shape(text), expected, "{text:?}");
    }
}

#[test]
fn what_the_engines_refuse_is_refused() {
    for text in [
        "docker run",
        "docker run --rm",
        "docker run -p",
        "docker run --priviledged nginx",
        "docker run --publish-al nginx",
        "docker run -z nginx",
        "docker run \"\"",
        "docker run NGINX:latest",
        "docker run nginx: sh",
        "docker run -d \\ \n --privileged nginx",
        "docker run -d \\\n # comment\n --privileged nginx",
        "docker --contxt x run nginx",
        "docker run --umask 0 nginx",
        "docker run --log-level debug nginx",
        "podman run --use-api-socket nginx",
        "docker run --cap-add",
        "docker run 'a",
    ] {
        assert_eq!(shape(text), "refused", "{text:?}");
    }
}

#[test]
fn options_are_those_of_their_engine() {
    let Statement::Run(run) =
        &read("podman run --cap-add=a,b -it --read-only=false --net x alpine sh -c --privileged").unwrap()[0]
    else {
        panic!()
    };
    let options: Vec<_> = run.options.iter().map(|(name, word)| (*name, word.source())).collect();
    let expected = [
        ("cap-add", "a"),
        ("cap-add", "b"),
        ("interactive", "true"),
        ("tty", "true"),
        ("read-only", "false"),
        ("network", "x"),
    ];
    assert_eq!(options, expected.map(|(name, text)| (name, text.to_owned())));
    assert_eq!((run.engine, run.image.as_ref().unwrap().source()), (Engine::Podman, "alpine".to_owned()));
    // Docker's lists are repeated, not split.
    let Statement::Run(run) = &read("docker run --cap-add=a,b x").unwrap()[0] else { panic!() };
    assert_eq!(run.options.len(), 1);
}
