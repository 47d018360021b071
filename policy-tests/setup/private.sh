#!/usr/bin/env bash
# Unpacks packages that apt cannot install beside what is installed: private.sh PACKAGE…
#
# Each package and its dependencies go into a private tree (lib.sh), and each command in it gets a wrapper that finds its
# libraries. Nothing that is installed is removed, replaced or configured: apt resolves as on a machine without any package
# and only downloads, `dpkg-deb -x` unpacks. Packages that are installed in the same version are not downloaded. The C
# library is always the machine's own, because the dynamic loader is. Needs no root. Status 1 when a package is not to be
# had, or when a program in it lacks a library.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$here/lib.sh"
: "${1:?usage: private.sh PACKAGE…}"
say() { printf 'private: %s\n' "$*" >&2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# closure PACKAGE…: `NAME VERSION` of each package that an empty machine would install for them.
closure() {
	: >"$work/status"
	LC_ALL=C apt-get -q --simulate --no-install-recommends \
		-o Dir::State::status="$work/status" -o Dir::State::extended_states="$work/extended" install "$@" >"$work/plan" 2>"$work/log" || {
		grep -hE '^(E:| [a-z0-9.+-]+ : )' "$work/plan" "$work/log" >&2 || tail -n 5 "$work/log" >&2
		return 1
	}
	sed -n -E 's/^Inst ([^ ]+) \(([^ ]+) .*/\1 \2/p' "$work/plan"
}

# wanted PACKAGE…: of such lines, NAME=VERSION of these packages and of what is not installed in that version.
wanted() {
	local name version status
	while read -r name version; do
		case " $* " in *" $name "*) echo "$name=$version" && continue ;; esac
		case $name in libc6 | libc-bin | libcrypt1 | libgcc-s1 | gcc-*-base) continue ;; esac
		# shellcheck disable=SC2016 # dpkg's own notation
		status=$(dpkg-query -W -f '${db:Status-Status} ${Version}' "$name" 2>/dev/null || true)
		[ "$status" = "installed $version" ] || echo "$name=$version"
	done
}

closure "$@" >"$work/closure" || {
	say "apt has no set of packages for $*"
	exit 1
}
mapfile -t packages < <(wanted "$@" <"$work/closure")
(cd "$work" && apt-get -q -o APT::Sandbox::User="$(id -un)" download "${packages[@]}" >"$work/log" 2>&1) || {
	tail -n 5 "$work/log" >&2
	say "could not download ${packages[*]}"
	exit 1
}
mkdir -p "$private/root" "$private/bin"
for package in "$work"/*.deb; do dpkg-deb -x "$package" "$private/root"; done

libraries=$(private_libraries)
status=0
for program in "$private"/root/{,usr/}{bin,sbin}/*; do
	if [ ! -f "$program" ] || [ ! -x "$program" ]; then continue; fi
	if LD_LIBRARY_PATH=$libraries ldd "$program" 2>&1 | grep 'not found' >"$work/log"; then
		say "$(basename "$program") is left out: $(head -n 1 "$work/log" | xargs)"
		status=1
		continue
	fi
	# Written beside and renamed: a wrapper that is there works.
	printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$libraries" "$program" >"$work/wrapper"
	chmod 755 "$work/wrapper"
	mv "$work/wrapper" "$private/bin/$(basename "$program")"
done
say "$* and ${#packages[@]} packages in all are in $private; nothing on the system was changed"
exit $status
