#!/usr/bin/env bash
# The class exercise, played for real: how much of the kernel does a container need to run tcpdump, and what
# refuses it when it gets less? Every step shows the command, the part of its output that matters, and one line on
# what was seen. What is claimed is checked; the script ends with status 1 when something was not seen.
#
# Needs root, tcpdump, and `plim` on PATH (`make demo` sees to all of it). Leaves nothing behind.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
	bold='' dim='' green='' red='' plain=''
fi
lines=${PLIM_DEMO_LINES:-24} # of a command's output that are shown

claims=0 broken=0
work=$(mktemp -d)
names=()

# The containers that the demo leaves running are its own to end, however it ends.
finish() {
	local name pid
	for name in "${names[@]}"; do
		pid=$(pid_of "$name")
		[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
	done
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# pid_of NAME: the container's first process, as the host counts.
pid_of() { plim inspect --format json "plim:$1" 2>/dev/null | tr -d ' \n' | sed -n -E 's/.*"target":\{[^}]*"pid":([0-9]+).*/\1/p'; }

title() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
words() { printf '%s\n' "$@"; }

# shown WORD…: the command line as a person would type it.
shown() {
	local word text=''
	for word; do
		case $word in
		*[!a-zA-Z0-9_./:=,@%+-]*) text+=" '${word//\'/\'\\\'\'}'" ;;
		*) text+=" $word" ;;
		esac
	done
	printf '%s$%s%s\n' "$green" "$plain$bold" "${text}$plain"
}

# play COMMAND…: shows it, runs it, shows its output trimmed. Leaves output and status for `saw`.
play() {
	local count
	printf '\n'
	shown "$@"
	"$@" >"$work/out" 2>&1 </dev/null
	status=$?
	count=$(wc -l <"$work/out")
	if [ "$count" -gt "$lines" ]; then
		head -n "$((lines - 1))" "$work/out" | sed 's/^/  /'
		printf '  %s… %d more lines%s\n' "$dim" $((count - lines + 1)) "$plain"
	else
		sed 's/^/  /' "$work/out"
	fi
	[ "$status" = 0 ] || printf '  %s(exit status %d)%s\n' "$dim" "$status" "$plain"
}

# saw STATUS PATTERN WORDS: the one line on what was seen; true when the last command ended with STATUS and each line
# of PATTERN (extended regular expressions) fits a line of its output.
saw() {
	local want=$1 pattern=$2 words=$3 line ok=yes why=''
	claims=$((claims + 1))
	if [ "$want" = refused ]; then
		[ "$status" != 0 ] || { ok=no why="it ended with status 0"; }
	elif [ "$status" != "$want" ]; then
		ok=no why="expected exit status $want, found $status"
	fi
	while IFS= read -r line; do
		if [ -n "$line" ] && ! grep -qE -e "$line" "$work/out"; then
			ok=no why+="${why:+; }nothing in the output fits /$line/"
		fi
	done <<<"$pattern"
	if [ $ok = yes ]; then
		printf '%s=> %s%s\n' "$green" "$words" "$plain"
	else
		broken=$((broken + 1))
		printf '%s=> NOT SEEN: %s (%s)%s\n' "$red" "$words" "$why" "$plain"
		cp "$work/out" "${TMPDIR:-/tmp}/plim-demo-failed.$broken" 2>/dev/null &&
			printf '   the whole output: %s\n' "${TMPDIR:-/tmp}/plim-demo-failed.$broken"
	fi
}

for program in plim tcpdump; do
	command -v "$program" >/dev/null || {
		echo "demo: $program is not on PATH; make demo sets up what is missing" >&2
		exit 2
	}
done
[ "$(id -u)" = 0 ] || {
	echo 'demo: capturing packets takes root; run: sudo make demo' >&2
	exit 2
}

capture=(-v "$here/capture:/capture:ro")

title '1. tcpdump in a container with the usual confinement'
words "The container gets what Docker would give it: 14 capabilities, the default seccomp profile, namespaces and a
cgroup of its own. Its root is this machine's, read-only below a throw-away layer, so nothing is downloaded.
/capture starts tcpdump on the container's loopback and sends itself a datagram."
play plim run "${capture[@]}" -- /capture
saw 0 $'ahoy from inside\n1 packet captured' 'it works: one packet captured, by tcpdump, inside the container'

title '2. The same with a profile that lets no program call socket(2)'
play plim run --security-opt seccomp=preset:tcpdump "${capture[@]}" -- /capture
saw refused 'Operation not permitted' 'refused with EPERM. By what? The words do not tell'

title '3. The same with the default profile, less the capability CAP_NET_RAW'
play plim run --cap-drop NET_RAW "${capture[@]}" -- /capture
saw refused 'Operation not permitted' 'refused with the same words, for another reason'

title '4. Why? The same two again, with every refused call and its reason'
words "Nothing changes in the container, and its profile logs nothing: the kernel is watched from outside."
play plim run --trace --security-opt seccomp=preset:tcpdump "${capture[@]}" -- /capture
saw refused 'socket\(AF_.*EPERM +seccomp /defaultAction' 'the second run: seccomp, by the default action of the profile, for socket'
play plim run --trace --cap-drop NET_RAW "${capture[@]}" -- /capture
saw refused 'socket\(AF_PACKET, SOCK_RAW.*EPERM +capability CAP_NET_RAW' 'the third: the capability CAP_NET_RAW, asked for and not held'

title '5. Three containers at once, looked at from outside'
start() {
	local name=$1
	shift
	names+=("$name")
	play plim run -d --name "$name" "$@" -- sleep 120
	saw 0 '' "$name runs"
}
start demo-usual
start demo-profile --security-opt seccomp=preset:tcpdump
start demo-capability --cap-drop NET_RAW
lines=42 play plim inspect plim:demo-usual
saw 0 $'^effective .*NET_RAW\n^filter 1 .* instructions' 'what the kernel says about it, not what was asked for: capabilities, filters, namespaces, limits'

title '6. What differs from the container that works?'
play plim diff --only capabilities,seccomp plim:demo-usual plim:demo-capability
saw 1 'CAP_NET_RAW' 'the third run was refused for want of CAP_NET_RAW; its filter is the same'
play plim diff --only capabilities,seccomp plim:demo-usual plim:demo-profile
saw 1 'seccomp' 'the second one holds every capability; its seccomp filter differs'

title '7. And what differs between the two profiles?'
play plim diff preset:docker-default preset:tcpdump
saw 1 'socket' 'socket(2) is gone on each architecture: that refused the second run'
play plim seccomp lint preset:tcpdump
saw 1 '^PLIM-S[0-9]+ high: socketcall on i386' 'and socketcall is not: a 32-bit program still opens sockets through it. A text diff hides that'

title '8. Checks for CI'
play plim diff --require subset preset:tcpdump preset:docker-default
saw 0 '' 'the tightened profile reaches nothing more than the usual one. Status 0: the check passes'
play plim diff --require subset preset:docker-default preset:tcpdump
saw 1 'socket' 'the other way round it does, and the call is named. Status 1: this fails a build'
play plim check --policy pack:docker-default plim:demo-usual
saw 0 '' 'a policy judged on what the kernel says of the running container: no more than Docker gives'
start demo-more --cap-add SYS_ADMIN
play plim check --policy pack:docker-default plim:demo-more
saw 1 'CAP_SYS_ADMIN' 'one capability more, and the check fails and names it'

printf '\n'
if [ "$broken" = 0 ]; then
	printf '%s%d of %d things seen as told.%s\n' "$bold" "$claims" "$claims" "$plain"
else
	printf '%s%d of %d things were not seen as told.%s\n' "$red" "$broken" "$claims" "$plain"
	exit 1
fi
