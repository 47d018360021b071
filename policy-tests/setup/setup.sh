#!/usr/bin/env bash
# Sets up what is missing on this machine: setup.sh build|demo|test
#
# As root on Debian or Ubuntu: installs it through apt; a package that apt refuses beside what is installed is unpacked into a
# private tree instead (private.sh). Elsewhere it installs nothing, says exactly what is missing and what will be skipped for it. Status 0: what is asked for can be done (maybe with parts skipped, which were
# named); 2: it cannot be. In CI (the variable CI is set) a missing package is never a skip: status 2.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
goal=${1:-}
case $goal in
build) goals='build' ;;
demo) goals='build demo' ;;
test) goals='build demo test' ;;
*)
	echo 'usage: setup.sh build|demo|test' >&2
	exit 2
	;;
esac
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"
say() { printf 'setup: %s\n' "$*" >&2; }

# lines: `package <tab> goal <tab> why` of every package of the goals that is not there.
lines() {
	local package of there why
	while IFS=$'\t' read -r package of there why; do
		case " $goals " in *" $of "*) present "$there" || printf '%s\t%s\t%s\n' "$package" "$of" "$why" ;; esac
	done < <(grep -v '^#' "$here/packages.tsv")
}

rust_wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/../../Cargo.toml")
rust_missing() { ! "$here/toolchain.sh" >/dev/null; }

missing=$(lines)
if [ -n "$missing" ] || rust_missing; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		export DEBIAN_FRONTEND=noninteractive
		log=$(mktemp)
		# Servers among the packages are started by tests alone: the answer of policy-rc.d(8) that no service may be.
		policy=/usr/sbin/policy-rc.d
		if [ -e "$policy" ]; then policy=; else
			printf '#!/bin/sh\nexit 101\n' >"$policy"
			chmod 755 "$policy"
		fi
		trap 'rm -f "$log" ${policy:+"$policy"}' EXIT
		apt-get -q update >"$log" 2>&1 || {
			tail -n 5 "$log" >&2
			say 'apt could not read its package lists; going on with the ones it has'
		}
		packages=()
		while IFS=$'\t' read -r package _; do if [ -n "$package" ]; then packages+=("$package"); fi; done <<<"$missing"
		if rust_missing && rust=$("$here/toolchain.sh" --packages); then
			read -ra rust <<<"$rust"
			packages+=("${rust[@]}")
		fi
		if [ ${#packages[@]} -gt 0 ]; then
			say "installing ${packages[*]}"
			# --no-remove: apt would else take away what is installed to make room.
			apt-get -q -y --no-remove --no-install-recommends install "${packages[@]}" >"$log" 2>&1 || {
				tail -n 20 "$log" >&2
				# One package that cannot be had must not keep the others away.
				say 'that did not work as a whole; trying one by one'
				for package in "${packages[@]}"; do
					apt-get -q -y --no-remove --no-install-recommends install "$package" >"$log" 2>&1 || {
						say "could not install $package:"
						grep -E '^(E:|dpkg: error| [^ ]+ : )' "$log" >&2 || tail -n 3 "$log" >&2
						say "unpacking $package into a private tree instead"
						"$here/private.sh" "$package" || true # what is still missing is named below
					}
				done
			}
			hash -r
		fi
	elif command -v apt-get >/dev/null; then
		say 'not root: nothing is installed'
	else
		say 'no apt here: nothing is installed (packages are named as Debian names them)'
	fi
fi

status=0
while IFS=$'\t' read -r package of why; do
	[ -n "$package" ] || continue
	say "missing: $package: $why"
	# What a build or a demo needs has no part that could be left out; in CI a test has none either.
	if [ "$of" != test ] || [ -n "${CI:-}" ]; then status=2; fi
done <<<"$(lines)"
if rust_missing; then
	say "missing: Rust $rust_wanted or newer, with cargo; found $(rustc --version 2>/dev/null || echo none)"
	if command -v rustup >/dev/null; then
		say "  rustup is here: rustup toolchain install stable && rustup default stable"
	else
		say "  install it with rustup (https://rustup.rs), then run this again; or take it from your distribution"
	fi
	status=2
fi
if [ "$goal" = test ] && [ "$(id -u)" != 0 ]; then
	say 'not root: tests that make containers with root, cgroup limits and kernel tests are skipped where they need it'
	if [ -n "${CI:-}" ]; then status=2; fi
fi
if [ "$goal" = demo ] && [ "$(id -u)" != 0 ]; then
	say 'not root: the demo captures packets, which takes root; run: sudo make demo'
	status=2
fi
exit $status
