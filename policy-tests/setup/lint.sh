#!/usr/bin/env bash
# Formatting, clippy, shellcheck, cargo-deny. Status 1 when one of them finds something; what is skipped is named.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2

# Each release of clippy knows more lints. With this one the tree is clean, so there a warning is an error; with
# another one it is shown and is no reason to fail on a user's machine.
clippy_of_the_project=0.1.95

status=0
failed() {
	echo "lint: $1 found something" >&2
	status=1
}
skipped() { echo "lint: skipped: $1" >&2; }

if cargo fmt --version >/dev/null 2>&1; then
	cargo fmt --all --check || failed 'cargo fmt'
else skipped 'cargo fmt (rustfmt is not installed)'; fi

if version=$(cargo clippy --version 2>/dev/null | cut -d' ' -f2) && [ -n "$version" ]; then
	if [ "$version" = "$clippy_of_the_project" ]; then flags='-D warnings'; else
		flags=
		echo "lint: clippy is $version, the project's is $clippy_of_the_project: warnings are shown, only errors count" >&2
	fi
	make clippy CLIPPY_FLAGS="$flags" || failed clippy
else skipped 'clippy (not installed)'; fi

if command -v shellcheck >/dev/null; then
	mapfile -t scripts < <(git ls-files --cached --others --exclude-standard 2>/dev/null | grep -vE '\.(rs|json|toml|md|lock|tsv)$' | xargs grep -lE '^#!.*(ba|da|busybox )?sh\b|^# shellcheck shell=' 2>/dev/null)
	[ ${#scripts[@]} -eq 0 ] || shellcheck --external-sources "${scripts[@]}" || failed shellcheck
else skipped 'shellcheck (not installed)'; fi

# setup.sh does not install cargo-deny: Debian has no package of it, and to build it takes longer than everything else here. Where
# it is (cargo install cargo-deny), licences, bans and sources are checked without a network, and advisories where their
# database can be fetched, or was fetched before. What was not checked is said in so many words, never passed over.
if command -v cargo-deny >/dev/null; then
	cargo deny --log-level error check bans licenses sources || failed cargo-deny
	if advisories=$(cargo deny --log-level error check advisories 2>&1); then
		:
	elif ! grep -qiE 'failed to (fetch|clone|load|open|acquire)' <<<"$advisories"; then
		printf '%s\n' "$advisories" >&2
		failed 'cargo-deny (advisories)'
	elif compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*" >/dev/null; then
		echo 'lint: the database of advisories could not be fetched; the copy of an earlier day is used' >&2
		cargo deny --log-level error check --disable-fetch advisories || failed 'cargo-deny (advisories)'
	else
		skipped 'advisories: NOT CHECKED, their database could not be fetched'
	fi
else skipped 'cargo-deny is not installed: licences, bans, sources and advisories were NOT CHECKED'; fi
exit $status
