#!/usr/bin/env bash
# Runs cargo so that one sees that it works: cargo.sh WHAT ARGUMENT…
#
# On a terminal with cargo's own progress. Elsewhere one line a minute on stderr (or on the descriptor PLIM_PROGRESS_FD): the
# time so far, how many of how many crates or test programs, and which; of cargo's own lines the warnings, errors and
# results. Its stdout is left alone. PLIM_PROGRESS_SECONDS: how often (60).
set -uo pipefail
shopt -s lastpipe # `follow` runs in this shell
what=${1:?usage: cargo.sh WHAT ARGUMENT…}
shift
if [ -t 2 ]; then exec cargo "$@"; fi

every=${PLIM_PROGRESS_SECONDS:-60} next=${PLIM_PROGRESS_SECONDS:-60}
programs=0 ran=0 at=starts
# A bar, `Building [==> ] 12/345: a, b`, which cargo draws anew after a carriage return; and what it says in passing.
bar='^[[:space:]]*[A-Z][a-z]+ \[[=> ]*\] ([0-9]+)/([0-9]+)(: (.*[^ ]))? *$'
passing='^[[:space:]]*(Compiling|Checking|Downloading|Downloaded|Updating|Locking|Fresh|Finished|Executable|Blocking)[[:space:]]'
running='^[[:space:]]*(Running|Doc-tests) (.*)$'

# follow: reads cargo's stderr.
follow() {
	local line='' part read
	while :; do
		part='' read=0
		IFS= read -r -t "$((next > SECONDS ? next - SECONDS : 1))" part || read=$?
		line+=$part
		if [ "$read" -gt 128 ]; then
			printf '%s: %d min %02d s: %s\n' "$what" $((SECONDS / 60)) $((SECONDS % 60)) "$at" >&"${PLIM_PROGRESS_FD:-2}"
			next=$((SECONDS + every))
			continue # a line that is not complete yet is kept
		fi
		line=${line//$'\e[K'/}
		if [[ $line =~ $bar ]]; then
			at="${BASH_REMATCH[1]} of ${BASH_REMATCH[2]}${BASH_REMATCH[4]:+, ${BASH_REMATCH[4]}}"
		elif [[ $line =~ $passing ]]; then
			[ "${BASH_REMATCH[1]}" != Executable ] || programs=$((programs + 1))
		elif [ -n "${line//[[:space:]]/}" ]; then
			if [[ $line =~ $running ]]; then
				[ "${BASH_REMATCH[1]}" = Doc-tests ] || ran=$((ran + 1))
				at="test program $ran of $programs, ${BASH_REMATCH[2]}"
			fi
			printf '%s\n' "$line" >&2
		fi
		line=
		[ "$read" = 0 ] || return 0
	done
}

run() {
	local status
	{
		cargo "$@" 2>&1 >&3 3>&- | stdbuf -oL tr '\r' '\n' | follow
		status=${PIPESTATUS[0]}
	} 3>&1
	return "$status"
}

export CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=100
# Tests are built first: that names the programs, whose number is the M of `N of M`.
if [ "$1" = test ] && [[ " $* " != *' --no-run '* ]]; then
	build=()
	for argument; do
		[ "$argument" != -- ] || break
		build+=("$argument")
	done
	run "${build[@]}" --no-run || exit
fi
run "$@"
