#!/usr/bin/env bash
# Runs the end-to-end suite on kernels that users have: run.sh [--refresh] [--smoke | --bench] [--launcher plim|runc|both]
#   [--filter TESTS] [--security MODULE] --programs DIRECTORY [--limits FILE] [SERIES…]      (default: every series of kernels.tsv)
#
# --limits names the runtime's own test program (make limits-tests prints it): its live cgroup tests run there too, on
# pure v2. With runc on this machine, --launcher both runs the suite under it as well. --filter takes what plim-suite's does.
# --security boots with that security module instead of AppArmor: a kernel has one of those that label everything.
#
# Prints a table, promise by kernel, then what failed and what was skipped, then the total `N passed, N failed,
# N skipped`. Status 1 when a promise did not hold on a kernel; 2 when a kernel could not be had or booted at all;
# outside CI (the variable CI is not set) that is said loudly and counts as skipped instead.
# --smoke boots each kernel with a job that only looks whether the machine is what the suite counts on; --bench with one
# that measures what `plim trace --light` costs others there, which many a machine does not let be measured at home.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

refresh=() job=suite launcher=plim filter='' programs='' limits='' wanted=()
while [ $# -gt 0 ]; do
	case $1 in
	--refresh) refresh=(--refresh) ;;
	--smoke) job=smoke ;;
	--bench) job=bench ;;
	--launcher) launcher=${2:?--launcher needs a value} && shift ;;
	--filter) filter=${2:?--filter needs tests} && shift ;;
	--security) export PLIM_VM_APPEND="security=${2:?--security needs a module}" && shift ;;
	--limits) limits=${2:?--limits needs a file} && shift ;;
	--programs) programs=${2:?--programs needs a directory} && shift ;;
	-*) die "unknown option $1" ;;
	*) wanted+=("$1") ;;
	esac
	shift
done
[ ${#wanted[@]} -gt 0 ] || mapfile -t wanted < <(all_series)
for series in "${wanted[@]}"; do
	all_series | grep -qFx -- "$series" || die "unknown kernel \"$series\"; known: $(all_series | tr '\n' ' ')"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unable WHY: a kernel that could not be tried. Red in CI, where it is expected to work; loud elsewhere.
unable() {
	if [ -n "${CI:-}" ]; then
		echo "kernels: FAILED: $1" | tee -a "$work/details"
		failed=$((failed + 1)) unavailable=$((unavailable + 1))
	else
		echo "kernels: SKIPPED, NOT TESTED: $1" | tee -a "$work/details"
		skipped=$((skipped + 1))
	fi
}

passed=0 failed=0 skipped=0 unavailable=0
: >"$work/details"
extra=()
if [ "$job" != smoke ]; then
	[ -x "$programs/plim-suite" ] || die "no plim-suite in \"$programs\" (--programs): build it with make release"
	for program in "$programs"/plim*; do
		if [ -f "$program" ] && [ -x "$program" ]; then extra+=("$program=/usr/bin/$(basename "$program")"); fi
	done
	if [ "$launcher" != plim ] && ! command -v runc >/dev/null; then
		say 'kernels: runc is not installed: the suite runs under plim alone'
		launcher=plim
	fi
	printf '%s=%q\n' launcher "$launcher" filter "$filter" >"$work/job.conf"
	if [ -n "$limits" ]; then
		# Without its symbols: the guest's memory holds it twice.
		strip -o "$work/limits-tests" "$limits" 2>/dev/null || cp "$limits" "$work/limits-tests"
		extra+=("$work/limits-tests=/usr/bin/limits-tests")
	fi
	extra+=("$work/job.conf=/job.conf")
	if [ -e "$here/../expect/vm" ]; then extra+=("$here/../expect/vm=/expect"); fi
fi
# Programs of this machine that the suite uses, with their libraries.
for name in runc tcpdump apparmor_parser secilc; do
	program=$(PATH=$PATH:/usr/sbin:/sbin command -v "$name" || true)
	if [ -n "$program" ]; then extra+=("$program=/usr/bin/$name"); fi
done

# The AppArmor profile of Docker's that ours is compared with, out of its binary: a Go template between these lines, with what it
# includes and asks about AppArmor's version left out.
dockerd=$(PATH=$PATH:/usr/sbin:/sbin command -v dockerd || true)
if [ -n "$dockerd" ]; then
	{
		echo '@{PROC}=/proc/'
		LC_ALL=C grep -a -A60 '^profile {{.Name}} flags=' "$dockerd" | LC_ALL=C sed -E \
			-e '/^[[:space:]]*\{\{/d' -e 's/\{\{\.Name\}\}/docker-default/g' -e 's/\{\{\.DaemonProfile\}\}/unconfined/g' -e '/^\}$/q'
	} >"$work/docker-default"
	if grep -q '^}$' "$work/docker-default"; then extra+=("$work/docker-default=/docker-default"); fi
fi

booted=()
for series in "${wanted[@]}"; do
	if ! "$here/fetch.sh" "${refresh[@]}" "$series"; then
		unable "kernel $series could not be fetched"
		continue
	fi
	if ! "$here/initramfs.sh" "$series" "$here/guest/$job" "$work/initramfs" "${extra[@]}"; then
		unable "a guest for kernel $series could not be packed"
		continue
	fi
	say "kernels: $series ($(cat "$cache/$series/release")) runs the $job …"
	began=$SECONDS status=0
	"$here/boot.sh" "$series" "$work/initramfs" "$work/$series" || status=$?
	data=$work/$series/data
	if [ "$status" = 2 ] && [ ! -s "$data" ]; then
		unable "kernel $series could not be booted"
		continue
	fi
	booted+=("$series")
	say "kernels: $series took $((SECONDS - began)) s"
	if [ "$job" != suite ]; then
		cat "$work/$series/console"
		if [ "$status" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
		continue
	fi
	# Each summary, `promise passed failed skipped`, after a line that starts with these words.
	awk -v series="$series" '
		/^promise +passed/ { summary = 1; next }
		summary && NF == 4 && $2 $3 $4 ~ /^[0-9]+$/ { print series, $1, $2, $3, $4 }' "$data" >"$work/$series/summary"
	cat "$work/$series/summary" >>"$work/summary"
	read -r p f s < <(awk '{ p += $3; f += $4; s += $5 } END { print p + 0, f + 0, s + 0 }' "$work/$series/summary")
	if [ "$((p + f))" = 0 ] || { [ "$status" != 0 ] && [ "$f" = 0 ]; }; then
		f=$((f + 1))
		{
			echo "$series: the suite gave no result (status $status); the end of the guest's console:"
			tail -n 30 "$work/$series/console" | sed 's/^/    /'
		} >>"$work/details"
	fi
	# A guest that had to be ended delivered nothing; what it said until then still tells what failed.
	[ -s "$data" ] || tr -d '\r' <"$work/$series/console" >"$data"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	# The failures with what follows them, and the skips.
	awk -v series="$series" '/^(ok|promise) / { show = 0 } /^FAILED / { show = 1 } /^skip / { show = 0 }
		/^skip / && !/promise of plim alone/ { print series ": " $0 }
		/^$/ { show = 0 } show { print series ": " $0 }' "$data" >>"$work/details"
done

if [ -s "${work}/summary" ]; then
	echo
	awk -v kernels="${booted[*]}" '
		{ if (!($2 in seen)) { seen[$2] = 1; order[++rows] = $2 }
		  cell[$2, $1] = $4 ? "FAILED " $4 " of " ($3 + $4) : $5 ? $3 " ok, " $5 " skip" : $3 " ok" }
		END {
			columns = split(kernels, kernel, " ")
			printf "%-24s", "promise"; for (c = 1; c <= columns; c++) printf " %-16s", kernel[c]; print ""
			for (r = 1; r <= rows; r++) {
				printf "%-24s", order[r]
				for (c = 1; c <= columns; c++) printf " %-16s", ((order[r], kernel[c]) in cell) ? cell[order[r], kernel[c]] : "-"
				print ""
			}
		}' "$work/summary" | sed 's/ *$//'
fi
if [ -s "$work/details" ]; then
	echo
	cat "$work/details"
fi
if [ -n "${PLIM_KERNEL_LOGS:-}" ]; then
	mkdir -p "$PLIM_KERNEL_LOGS"
	for series in "${booted[@]}"; do cp "$work/$series/console" "$PLIM_KERNEL_LOGS/$series.console"; done
fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
if [ "$unavailable" -gt 0 ]; then exit 2; fi
[ "$failed" -eq 0 ]
