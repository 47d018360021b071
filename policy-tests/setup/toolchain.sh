#!/usr/bin/env bash
# Which Rust builds this project here: toolchain.sh [--packages]
#
# Prints the directory of a `cargo` that is at least as new as Cargo.toml's rust-version, to be put first on PATH.
# With --packages: prints the packages that would bring one, from what apt knows now. Status 1 when there is none.
#
# The order: what is on PATH; Ubuntu's versioned toolchains (/usr/lib/rust-1.NN); rustup's own place. Debian's
# `cargo` and `rustc` are as old as the release (1.63 in Debian 12, 1.85 in 13), but each stable release also carries
# a current compiler for its web browsers, as rustc-web and cargo-web.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/../../Cargo.toml")

# at_least VERSION: whether it is the wanted one or newer.
at_least() { [ "$(printf '%s\n' "$wanted" "$1" | sort -V | head -n 1)" = "$wanted" ]; }

# good DIRECTORY: whether cargo and rustc in it run and are new enough. Asked from /, where no rustup override applies.
good() {
	local version
	[ -x "$1/cargo" ] && [ -x "$1/rustc" ] || return 1
	version=$(cd / && "$1/rustc" --version 2>/dev/null) || return 1
	at_least "$(cut -d' ' -f2 <<<"$version")"
}

# candidate PACKAGE: the version that apt would install.
candidate() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \([0-9].*\)/\1/p'; }

if [ "${1:-}" = --packages ]; then
	version=$(candidate rustc-web)
	if [ -n "$version" ] && at_least "$version"; then
		echo rustc-web cargo-web rustfmt-web rust-web-clippy
		exit 0
	fi
	version=$(candidate rustc)
	if [ -n "$version" ] && at_least "$version"; then
		echo rustc cargo rustfmt rust-clippy
		exit 0
	fi
	# Ubuntu: rustc-1.NN, the newest one.
	version=$(apt-cache pkgnames rustc-1. 2>/dev/null | grep -E '^rustc-1\.[0-9]+$' | sed 's/rustc-//' | sort -V | tail -n 1)
	if [ -n "$version" ] && at_least "$version"; then
		packages=()
		for package in "rustc-$version" "cargo-$version" "rustfmt-$version" "rust-$version-clippy"; do
			if [ -n "$(candidate "$package")" ]; then packages+=("$package"); fi
		done
		echo "${packages[*]}"
		exit 0
	fi
	exit 1
fi

path=$(command -v cargo || true)
for directory in ${path:+"$(dirname "$path")"} $(printf '%s\n' /usr/lib/rust-*/bin | sort -rV) "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"; do
	if good "$directory"; then
		echo "$directory"
		exit 0
	fi
done
exit 1
