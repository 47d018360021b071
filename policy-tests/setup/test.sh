#!/usr/bin/env bash
# Every test, in the order of what is cheap to break: test.sh [STEP…]
# (lint unit plim runc prove kernel; default: these; and: calls, the seccomp proof at full length; work, ten minutes of
# ordinary programs under the tracer; shrink, programs learned until nothing more can go)
#
# A failing step does not keep the next ones from running. The last line is the total, `N passed, N failed,
# N skipped`: a lint counts as one test, a unit test as one, a test of the end-to-end suite as one per launcher and
# kernel. In CI (the variable CI is set) a skip that the suite did not expect is a failure of the suite.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
# shellcheck source-path=SCRIPTDIR source=lib.sh
. policy-tests/setup/lib.sh
steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(lint unit plim runc prove kernel)

# CI says which skips it expects; every other one is a failure there.
expect=${CI:+--expect policy-tests/expect/host}
passed=0 failed=0 skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

begin() {
	printf '\n== %s\n' "$1"
	began=$SECONDS
}
# count PASSED FAILED SKIPPED
count() {
	passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
	printf '== %d passed, %d failed, %d skipped, in %d s\n' "$1" "$2" "$3" $((SECONDS - began))
}

lint() {
	begin 'lint'
	if make lint; then count 1 0 0; else count 0 1 0; fi
}

unit() {
	begin 'unit and table tests'
	local status sums
	# The end-to-end suite has steps of its own. A test that finds that it cannot run says `skipped: WHY`.
	# Built where its progress is seen; what the tests say is kept, and how far they are goes past that.
	if make unit-programs; then
		PLIM_PROGRESS_FD=9 make unit UNIT_FLAGS='--skip every_promise --show-output' 9>&2 >"$work/unit" 2>&1
		status=$?
	else
		status=1
		: >"$work/unit"
	fi
	sums=$(sed -n -E 's/^test result: [a-zA-Z]+\. ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored.*/\1 \2 \3/p' "$work/unit" |
		awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }')
	read -r p f s <<<"$sums"
	if [ $status -ne 0 ]; then
		# What failed and what it said, wherever it stands; then the end.
		sed -n -e '/^failures:$/,/^test result:/p' -e '/^test .* FAILED$/p' -e '/panicked at/,+6p' "$work/unit" | head -n 200
		grep -vE '^test .* \.\.\. ok$|^running 0 tests|^$' "$work/unit" | tail -n 150
		# Tests that do not even build, or a runner that died, count as one failure.
		[ "$f" -gt 0 ] || f=1
	fi
	local quiet
	quiet=$(grep -c '^skipped: ' "$work/unit")
	grep '^skipped: ' "$work/unit" | sort | uniq -c
	count $((p - quiet)) "$f" $((s + quiet))
}

# suite NAME COMMAND…: runs the end-to-end suite with its total as the last line, and adds that up.
suite() {
	local name=$1 status total
	shift
	"$@" 2>&1 | tee "$work/suite"
	status=${PIPESTATUS[0]}
	total=$(sed -n -E 's/^(.*: )?([0-9]+) passed, ([0-9]+) failed(, ([0-9]+) skipped)?$/\2 \3 \5/p' "$work/suite" | tail -n 1)
	read -r p f s <<<"${total:-0 0 0}"
	if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
		echo "$name: ended with status $status" >&2
		f=1
	fi
	if [ -z "$total" ]; then
		echo "$name: ran no test" >&2
		[ "$f" -gt 0 ] || f=1
	fi
	count "$p" "$f" "${s:-0}"
}

programs() {
	[ -n "${built:-}" ] && return 0
	built=yes
	make release || return 1
	bin=$(realpath "$(make -s where)")
	export PATH=$bin:$PATH
}

plim() {
	begin 'end to end, on this kernel, under plim'
	# shellcheck disable=SC2086 # two words
	if programs; then suite plim plim-suite --launcher plim $expect; else count 0 1 0; fi
}

runc() {
	begin 'the same suite under runc: the tests are tested'
	if ! programs; then count 0 1 0; elif command -v runc >/dev/null; then
		# shellcheck disable=SC2086 # two words
		suite runc plim-suite --launcher runc $expect
	elif [ -n "${CI:-}" ]; then
		echo 'runc is not installed, and CI expects it'
		count 0 1 0
	else
		echo 'skipped: runc is not installed'
		count 0 0 1
	fi
}

prove() {
	begin 'each promise broken on purpose: the tests that keep it must go red'
	# shellcheck disable=SC2086 # two words
	if programs; then suite prove plim-suite --launcher both --prove $expect; else count 0 1 0; fi
}

calls() {
	begin 'rules, diagrams, compiled filters and this kernel agree on ten million calls'
	local status sums
	PLIM_PROVE_CALLS=${CALLS:-10000000} make live 2>&1 | tee "$work/calls"
	status=${PIPESTATUS[0]}
	sums=$(sed -n -E 's/^test result: [a-zA-Z]+\. ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored.*/\1 \2 \3/p' "$work/calls")
	read -r p f s <<<"${sums:-0 0 0}"
	if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
	if [ "$p" -eq 0 ] && [ "$f" -eq 0 ]; then
		echo 'calls: ran no test' >&2
		f=1
	fi
	count "$p" "$f" "$s"
}

work() {
	local seconds=${WORK_SECONDS:-600}
	begin "ordinary programs for $seconds seconds under the tracer: nothing is told that was not refused"
	# shellcheck disable=SC2086 # two words
	if programs; then
		PLIM_WORK_SECONDS=$seconds suite work plim-suite --launcher plim --filter trace/workloads $expect
	else count 0 1 0; fi
}

starts() {
	local starts=${RACE_STARTS:-500}
	begin "a command exchanged during each of $starts starts gives away no launcher"
	# shellcheck disable=SC2086 # two words
	if programs; then
		PLIM_RACE_STARTS=$starts suite starts plim-suite --launcher plim --filter hostile/command_becomes $expect
	else count 0 1 0; fi
}

shrink() {
	begin 'programs that people run are learned and shrunk until nothing more can go'
	# shellcheck disable=SC2086 # two words
	if programs; then
		PLIM_LEARN_SHRINK=yes suite shrink plim-suite --launcher plim --filter learn/programs $expect
	else count 0 1 0; fi
}

kernel() {
	begin 'end to end on Linux 6.1 in a virtual machine, pure cgroup v2'
	local limits
	limits=$(make -s limits-tests)
	if programs && [ -n "$limits" ]; then
		suite kernel policy-tests/kernels/run.sh --programs "$bin" --limits "$limits" 6.1
		suite selinux policy-tests/kernels/run.sh --programs "$bin" --security selinux --filter trace/selinux 6.1
		# A policy once loaded stays: another machine.
		suite selinux policy-tests/kernels/run.sh --programs "$bin" --security selinux --filter hostile/selinux 6.1
	else count 0 1 0; fi
}

for step in "${steps[@]}"; do
	case $step in
	lint | unit | plim | runc | prove | calls | work | starts | shrink | kernel) "$step" ;;
	*)
		echo "test.sh: unknown step \"$step\"; known: lint unit plim runc prove calls work starts shrink kernel" >&2
		exit 2
		;;
	esac
done
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
