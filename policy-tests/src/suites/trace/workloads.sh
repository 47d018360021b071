#!/bin/sh
# Ordinary work of a container, for a tracer to watch: a package manager, a compiler, an interpreter, a web server under load.
# Nothing of it needs a network, and of the host's configuration nothing is used: hooks of the host's apt and dpkg are not this work.
# All of it is done again until SECONDS have passed, and once at least.
set -eu
seconds=${1:-0}
work=$(mktemp -d)
cd "$work"

packages() {
	mkdir -p /var/lib/dpkg/updates /var/lib/dpkg/info /var/lib/apt/lists/partial tree/DEBIAN tree/usr/share/plimtest lists etc
	: >>/var/lib/dpkg/status
	printf 'Package: plimtest\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a test\n' >tree/DEBIAN/control
	echo content >tree/usr/share/plimtest/file
	dpkg-deb --root-owner-group -b tree plimtest.deb
	{
		cat tree/DEBIAN/control
		echo "Filename: ./plimtest.deb"
		echo "Size: $(stat -c %s plimtest.deb)"
		echo "SHA256: $(sha256sum plimtest.deb | cut -d' ' -f1)"
	} >Packages
	echo "deb [trusted=yes] file:$work ./" >etc/sources.list
	chmod 755 "$work"
	# APT_CONFIG is read before the host's files, so it can keep them from being read; dpkg has no such word, and this / is a copy.
	cat >etc/apt.conf <<-A
		Dir::Etc { Main "/dev/null"; Parts "/dev/null"; Preferences "/dev/null"; PreferencesParts "/dev/null"; };
		Dir::Etc::SourceList "$work/etc/sources.list";
		Dir::Etc::SourceParts "/dev/null";
	A
	rm -rf /etc/dpkg/dpkg.cfg /etc/dpkg/dpkg.cfg.d
	export APT_CONFIG="$work/etc/apt.conf"
	apt-get -q update
	apt-get -q -y install plimtest
	test -e /usr/share/plimtest/file
	dpkg -s plimtest
	apt-get -q -y remove plimtest
}

compiler() {
	cat >program.c <<-'C'
		#include <stdio.h>
		#include <stdlib.h>
		#include <string.h>
		#include <unistd.h>
		#include <sys/wait.h>
		int main(void)
		{
			char *memory = malloc(1 << 20);
			memset(memory, 1, 1 << 20);
			FILE *file = tmpfile();
			fprintf(file, "%d\n", getpid());
			fclose(file);
			if (fork() == 0)
				_exit(0);
			wait(NULL);
			free(memory);
			return 0;
		}
	C
	gcc -O2 -o program program.c
	./program
	ar rc library.a program.c
	tar cf archive.tar program.c program library.a
	gzip -f archive.tar
	tar xzf archive.tar -C "$(mktemp -d)"
	find /usr/include -maxdepth 2 -name '*.h' | sort | head -n 300 | xargs sha256sum | md5sum
}

interpreter() {
	python3 - <<-'P'
		import hashlib, json, multiprocessing, os, socket, sqlite3, subprocess, tempfile, threading, time
		with tempfile.TemporaryDirectory() as directory:
		    database = sqlite3.connect(os.path.join(directory, "data"))
		    database.execute("create table t (k integer, v text)")
		    with database:
		        database.executemany("insert into t values (?, ?)", [(i, str(i)) for i in range(500)])
		    assert database.execute("select count(*) from t").fetchone() == (500,)
		    database.close()
		threads = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(8)]
		[thread.start() for thread in threads]
		[thread.join() for thread in threads]
		with multiprocessing.get_context("fork").Pool(2) as pool:
		    pool.map(abs, range(100))
		subprocess.run(["sh", "-c", "exit 0"], check=True)
		assert json.loads(json.dumps({"a": [1, 2]}))["a"] == [1, 2]
		hashlib.sha256(b"x" * 1000000).hexdigest()
	P
}

web_server() {
	python3 - <<-'P'
		import http.server, threading, urllib.request
		class Handler(http.server.BaseHTTPRequestHandler):
		    def do_GET(self):
		        body = b"hello" * 200
		        self.send_response(200)
		        self.send_header("Content-Length", str(len(body)))
		        self.end_headers()
		        self.wfile.write(body)
		    def log_message(self, *words):
		        pass
		server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
		threading.Thread(target=server.serve_forever, daemon=True).start()
		url = "http://127.0.0.1:%d/" % server.server_port
		def load():
		    for _ in range(150):
		        with urllib.request.urlopen(url) as answer:
		            assert len(answer.read()) == 1000
		clients = [threading.Thread(target=load) for _ in range(4)]
		[client.start() for client in clients]
		[client.join() for client in clients]
		server.shutdown()
	P
}

began=$(date +%s) rounds=0
while
	packages >packages.log 2>&1 || { cat packages.log; exit 1; }
	compiler >compiler.log 2>&1 || { cat compiler.log; exit 1; }
	interpreter
	web_server
	rounds=$((rounds + 1))
	[ $(($(date +%s) - began)) -lt "$seconds" ]
do :; done
rm -rf "$work"
echo "worked $rounds times"
