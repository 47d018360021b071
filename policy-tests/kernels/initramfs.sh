#!/usr/bin/env bash
# Packs the guest's root: initramfs.sh SERIES JOB OUTPUT [PROGRAM…]
#
# JOB is the script that the guest's init runs; each PROGRAM is PATH or PATH=GUEST-PATH: an executable of this
# machine, which is copied with the shared libraries it needs (none for our static ones).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

series=$1 job=$2 output=$3
shift 3
missing=$(have cpio gzip busybox) || die "needed to pack a guest and not on PATH: $missing"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,lib,lib64,etc,root,home,tmp,var/tmp,proc,sys,dev,modules}
chmod 1777 "$root/tmp" "$root/var/tmp"

# add FILE [GUEST-PATH]: a file and, when it is a dynamic executable, its libraries. A wrapper of the private tree stands for
# its program, whose libraries are where the guest's loader looks.
add() {
	local file=$1 to=$root${2:-$1} path='' library
	if [ "$(dirname "$file")" = "$private/bin" ]; then
		file=$(find "$private"/root/{,usr/}{bin,sbin} -name "$(basename "$file")" -print -quit 2>/dev/null || true)
		path=$(private_libraries)
	fi
	mkdir -p "$(dirname "$to")"
	cp -L "$file" "$to"
	for library in $(LD_LIBRARY_PATH=$path ldd "$file" 2>/dev/null | grep -oE '/[^ ]+'); do
		to=$root${library#"$private/root"}
		[ -e "$to" ] || { mkdir -p "$(dirname "$to")" && cp -L "$library" "$to"; }
	done
}

busybox=$(command -v busybox)
add "$busybox" /bin/busybox
busybox=$root/bin/busybox
if ldd "$busybox" >/dev/null 2>&1; then die "$busybox is not static; Debian's package is busybox-static"; fi
ln -s busybox "$root/bin/sh"
install -m 755 "$here/guest/init" "$root/init"
install -m 755 "$job" "$root/job"
cp "$cache/$series"/modules/* "$root/modules/"
for program; do add "${program%%=*}" "${program#*=}"; done

# What name look-ups (`--user nobody`) and tools expect of any host.
printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1::/:/bin/false nobody:x:65534:65534::/:/bin/false \
	plim:x:1000:1000::/home:/bin/sh tcpdump:x:100:100::/:/bin/false >"$root/etc/passwd"
printf '%s\n' root:x:0: daemon:x:1: tty:x:5: nogroup:x:65534: plim:x:1000: tcpdump:x:100: >"$root/etc/group"
printf '%s\n' plim:100000:65536 | tee "$root/etc/subuid" >"$root/etc/subgid"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
echo "PRETTY_NAME=\"guest of policy-tests/kernels ($series)\"" >"$root/etc/os-release"

(cd "$root" && find . -print0 | sort -z | cpio --null --quiet --create --format=newc --owner=0:0) |
	gzip -1 >"$output"
