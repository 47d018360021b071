# shellcheck shell=bash
# What the scripts of this folder share. Sourced, not run.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # used by the scripts that source this file
repository=$(cd "$here/../.." && pwd)
# shellcheck source-path=SCRIPTDIR source=../setup/lib.sh
. "$here/../setup/lib.sh"

say() { printf '%s\n' "$*" >&2; }
die() {
	say "kernels: error: $*"
	exit 2
}

# table: the lines of kernels.tsv that are not comments.
table() { grep -v '^#' "$here/kernels.tsv"; }

# suite_of SERIES: the Debian suite that carries that series; empty when the table has no such line.
suite_of() { table | awk -F'\t' -v series="$1" '$1 == series { print $2 }'; }

# all_series: every series of the table, oldest first.
all_series() { table | cut -f1; }

# have COMMAND…: names the commands that are not on PATH; true when there is none.
have() {
	local command missing=0
	for command; do
		if ! command -v "$command" >/dev/null; then
			printf '%s ' "$command"
			missing=1
		fi
	done
	return "$missing"
}
