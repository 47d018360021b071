#!/usr/bin/env bash
# Boots one kernel with one initramfs: boot.sh SERIES INITRAMFS DIRECTORY
#
# Leaves in DIRECTORY: `console` (what the guest said), `data` (what the job put into /tmp/result, then the line
# `status N`). Exit status: the job's, or 3 when the guest ended, or had to be ended, without giving one.
#
# A quiet machine runs the suite in one or two minutes; PLIM_VM_SECONDS is for a hanging guest on a busy one.
# Software emulation on one processor: a nested machine offers no usable KVM, and two processors have oopsed there.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

series=$1 initramfs=$2 directory=$3
seconds=${PLIM_VM_SECONDS:-1500}
missing=$(have qemu-system-x86_64 timeout) || die "needed to boot a kernel and not on PATH: $missing"

mkdir -p "$directory"
: >"$directory/data"
truncate -s 16M "$directory/disk"
timeout --kill-after=10 "$seconds" qemu-system-x86_64 \
	-machine q35 -cpu max -accel tcg -smp 1 -m "${PLIM_VM_MEGABYTES:-1024}" \
	-display none -no-reboot -nodefaults \
	-serial "file:$directory/console" -serial "file:$directory/data" \
	-drive "file=$directory/disk,format=raw,if=virtio" \
	-kernel "$cache/$series/vmlinuz" -initrd "$initramfs" \
	-append "console=ttyS0 panic=-1 quiet${PLIM_VM_APPEND:+ $PLIM_VM_APPEND}" \
	</dev/null >"$directory/qemu" 2>&1 || ended=$?

status=$(sed -n 's/^status \([0-9]*\)$/\1/p' "$directory/data" | tail -n 1)
if [ -n "$status" ]; then exit "$status"; fi
case ${ended:-0} in
124 | 137) say "kernels: $series: ended after $seconds s without a result" ;;
*) say "kernels: $series: the guest ended without a result (QEMU's status ${ended:-0})" ;;
esac
exit 3
