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

if command -v cargo-deny >/dev/null; then
	cargo deny --log-level error check bans licenses sources || failed cargo-deny
	# The list of known holes is fetched at run time, from where not every machine may.
	if advisories=$(cargo deny --log-level error check advisories 2>&1); then :; elif grep -q 'failed to fetch' <<<"$advisories"; then
		skipped 'advisories (the database could not be fetched)'
	else
		printf '%s\n' "$advisories" >&2
		failed 'cargo-deny (advisories)'
	fi
else skipped 'cargo-deny (not installed; licences and advisories were not looked at)'; fi
exit $status
