#!/usr/bin/env python3
"""Writes src/arguments/table.rs: the arguments of every system call, by name, width and set of constants.

The facts are the kernel's own definitions: the `SYSCALL_DEFINEn(name, type, argument, ...)` lines of its sources, found through
the architectures' syscall tables (`*.tbl`: which function serves a name). The kernel converts each register to the type that
stands there, so the type says how many bits of the register count. Debian packs the sources as `linux-source-X.Y`:

    apt-get download linux-source-7.3; dpkg-deb -x linux-source-7.3*.deb DIR; tar xJf DIR/usr/src/linux-source-7.3.tar.xz -C SOURCE
    profiles/seccomp/tables/arguments.py SOURCE > profiles/seccomp/src/arguments/table.rs
    profiles/seccomp/tables/arguments.py SOURCE --check-live

--check-live compares the result with /sys/kernel/tracing/events/syscalls of the running x86-64 kernel and prints differences.
Which constants an argument takes (`sets.tsv`) is written by hand from the manual pages; an entry that names no argument stops
the script.
"""

import argparse
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
# Syscall tables in order of preference: (file, ABIs of its second column, where that architecture defines its own calls).
TABLES = [
    ("arch/x86/entry/syscalls/syscall_64.tbl", {"common", "64"}, "arch/x86/kernel"),
    ("scripts/syscall.tbl", {"common", "64", "renameat", "rlimit", "memfd_secret", "time32", "stat64"}, "arch/arm64"),
    ("scripts/syscall.tbl", {"common", "64", "riscv"}, "arch/riscv"),
    ("arch/powerpc/kernel/syscalls/syscall.tbl", {"common", "nospu", "64"}, "arch/powerpc"),
    ("arch/s390/kernel/syscalls/syscall.tbl", {"common", "64"}, "arch/s390"),
    ("arch/mips/kernel/syscalls/syscall_n64.tbl", {"n64"}, "arch/mips"),
    ("arch/x86/entry/syscalls/syscall_32.tbl", {"i386"}, "arch/x86/kernel"),
    ("arch/arm/tools/syscall.tbl", {"common", "oabi", "eabi"}, "arch/arm/"),
    ("arch/powerpc/kernel/syscalls/syscall.tbl", {"32", "spu"}, "arch/powerpc"),
    ("arch/s390/kernel/syscalls/syscall.tbl", {"32"}, "arch/s390"),
    ("arch/mips/kernel/syscalls/syscall_o32.tbl", {"o32"}, "arch/mips"),
    ("arch/parisc/kernel/syscalls/syscall.tbl", {"common", "32", "64"}, "arch/parisc"),
    ("arch/m68k/kernel/syscalls/syscall.tbl", {"common"}, "arch/m68k"),
    ("arch/sh/kernel/syscalls/syscall.tbl", {"common"}, "arch/sh"),
]
I386 = "arch/x86/entry/syscalls/syscall_32.tbl"
NARROW = set("""int unsigned uint __s32 __u32 s32 u32 uint32_t clockid_t gid_t uid_t pid_t qid_t key_serial_t key_t mqd_t rwf_t
    timer_t compat_long_t compat_ulong_t compat_off_t compat_pid_t compat_size_t compat_ssize_t compat_aio_context_t
    compat_uptr_t""".split()) | {"unsigned int"}
HALF = {"umode_t", "old_gid_t", "old_uid_t", "compat_mode_t"}
WIDE = set("long size_t loff_t off_t __u64 u64 aio_context_t old_sigset_t uintptr_t".split()) | {"unsigned long"}
POINTERS = {"cap_user_data_t", "cap_user_header_t", "__sighandler_t"}
# Declared wider than it is read: the function behind the call takes only these bits.
READ_AS = {
    # kernel/fork.c: `lower_32_bits(clone_flags)`; clone() takes no flag above, clone3() is for those.
    ("clone", "clone_flags"): "W32",
}
# The manual pages' word where the kernel's carries the call's name in it.
RENAMED = {("clone", "clone_flags"): "flags", ("unshare", "unshare_flags"): "flags", ("clone", "newsp"): "stack",
           ("clone", "tls_val"): "tls"}
DEFINE = re.compile(r"^((?:COMPAT_|PPC32_)?SYSCALL(?:32)?_DEFINE)([0-6])\(", re.M)


def definitions(root):
    """(kind, function) -> [(file, [(type, name)])]"""
    found = {}
    for path in sorted(root.rglob("*.c")):
        file = str(path.relative_to(root))
        if file.startswith("tools/") or "/um/" in file:
            continue
        text = path.read_text(errors="replace")
        if "SYSCALL" not in text:
            continue
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        for match in DEFINE.finditer(text):
            depth, at = 1, match.end()
            while depth:
                depth += {"(": 1, ")": -1}.get(text[at], 0)
                at += 1
            inner = text[match.end():at - 1]
            kind = "compat" if match.group(1) != "SYSCALL_DEFINE" else "native"
            # Two 32-bit halves on 32-bit ABIs; one argument where a native 64-bit call is meant (fanotify_mark).
            halves = r"u32, \1_lo, u32, \1_hi" if kind == "compat" or "/sh/" in file else r"u64, \1"
            inner = re.sub(r"(?:compat_arg_u64_dual|SC_ARG64|arg_u32p)\((\w+)\)", halves, inner)
            parts = [" ".join(part.split()) for part in inner.split(",")]
            if len(parts) % 2 == 0:
                sys.exit(f"{file}: cannot read {inner!r}")
            arguments = list(zip(parts[1::2], parts[2::2]))
            found.setdefault((kind, parts[0]), []).append((file, arguments))
    return found


def width(kind):
    kind = kind.replace("const ", "").replace("__user", "").strip()
    if "*" in kind or kind in POINTERS:
        return "Pointer"
    if kind in NARROW or kind.startswith("enum "):
        return "W32"
    if kind in HALF:
        return "W16"
    if kind in WIDE:
        return "W64"
    sys.exit(f"unknown type {kind!r}")


def pick(candidates, folder):
    own = [c for c in candidates if c[0].startswith(folder)]
    shared = [c for c in candidates if not c[0].startswith("arch/")]
    chosen = (own or shared or candidates)
    # The last of several in one file is the one without an #ifdef before it (clone: x86-64's order of arguments).
    return chosen[-1] if chosen[0][1] != chosen[-1][1] else chosen[0]


def read_table(root, file, abis):
    for line in (root / file).read_text().splitlines():
        fields = line.split("#")[0].split()
        if len(fields) >= 4 and fields[1] in abis:
            yield fields[2], fields[3], fields[4] if len(fields) > 4 else "-"


def lookup(found, native, compat, folder):
    for kind, function in (("compat", compat), ("native", native)):
        name = re.sub(r"^(compat_)?(sys|ppc|ppc32|ppc64)_", "", function)
        if function != "-" and (kind, name) in found:
            return pick(found[kind, name], folder)[1]
    return None


def finish(call, arguments):
    rows = []
    for kind, name in arguments:
        rows.append((RENAMED.get((call, name), name.lstrip("_") or name), READ_AS.get((call, name)) or width(kind)))
    return rows


def sets():
    """call, argument -> constant set"""
    found = {}
    for line in (HERE / "sets.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            name, places = line.split("\t")
            for place in places.split():
                call, argument = place.split(".")
                if found.setdefault((call, argument), name) != name:
                    sys.exit(f"sets.tsv: {place} has two sets")
    return found


def check_live(table):
    base = pathlib.Path("/sys/kernel/tracing/events/syscalls")
    for path in sorted(base.glob("sys_enter_*/format")):
        call = path.parent.name.removeprefix("sys_enter_").removeprefix("new")
        fields = re.findall(r"field:(.*?)(\w+);\s*offset:\d+;\s*size:8", path.read_text())
        live = [(name, width(" ".join(kind.split()))) for kind, name in fields if name != "__syscall_nr"]
        mine = table.get(call)
        if mine is None:
            print(f"{call}: not in the table")
        elif [w for _, w in mine] != [w for _, w in live]:
            print(f"{call}: here {mine}, live {live}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path, metavar="SOURCE")
    parser.add_argument("--check-live", action="store_true")
    args = parser.parse_args()
    known = re.findall(r'^    \("(\w+)",\[', (HERE / "../src/syscalls/table.rs").read_text(), re.M)
    found = definitions(args.source)
    table = {}
    for file, abis, folder in TABLES:
        for call, native, _ in read_table(args.source, file, abis):
            arguments = lookup(found, native, "-", folder)
            if arguments is not None and call not in table:
                table[call] = finish(call, arguments)
    if args.check_live:
        return check_live(table)
    i386 = {}
    for call, native, compat in read_table(args.source, I386, {"i386"}):
        arguments = lookup(found, native, compat, "arch/x86")
        if arguments is None:
            continue
        rows = [(n, {"W64": "W32"}.get(w, w)) for n, w in finish(call, arguments)]
        if rows != [(n, {"W64": "W32"}.get(w, w)) for n, w in table.get(call, [])]:
            i386[call] = rows
    by_place = sets()
    used = set()

    def row(call, arguments):
        parts = []
        for name, wide in arguments:
            found_set = by_place.get((call, name))
            used.add((call, name))
            parts.append(f's("{name}",{wide},{found_set})' if found_set else f'a("{name}",{wide})')
        return f'    row("{call}",&[{",".join(parts)}]),'

    lines = [row(call, table[call]) for call in sorted(known) if table.get(call)]
    lines32 = [row(call, i386[call]) for call in sorted(i386) if call in known]
    unused = set(by_place) - used
    if unused:
        sys.exit("sets.tsv names no argument: " + " ".join(sorted(".".join(p) for p in unused)))
    print("// Written by tables/arguments.py; edit that, not this.")
    print("//! The arguments of system calls, from the kernel's definitions; rows are sorted by name.")
    print("#![cfg_attr(rustfmt, rustfmt_skip)]\n")
    print("use super::{Row, row};\nuse super::Width::{self, *};\nuse crate::constants::ConstantSet::{self, *};\n")
    print("const fn a(name: &str, width: Width) -> super::Argument {\n    super::Argument::new(name, width, None)\n}\n")
    print("const fn s(name: &str, width: Width, set: ConstantSet) -> super::Argument {\n"
          "    super::Argument::new(name, width, Some(set))\n}\n")
    print(f"/// As on 64-bit architectures (x86-64's where it has the call).\npub(super) static TABLE: [Row; {len(lines)}] = [")
    print("\n".join(lines) + "\n];\n")
    print(f"/// Where i386 differs in names, order or number of arguments.\npub(super) static I386: [Row; {len(lines32)}] = [")
    print("\n".join(lines32) + "\n];")


if __name__ == "__main__":
    main()
