#!/usr/bin/env python3
"""Writes src/syscalls/table.rs: every system call name and its number on every architecture.

The facts come from the kernel's own user-space headers (asm/unistd*.h), as Debian packs them in `linux-libc-dev`.
Since Linux 6.11 that one package holds the headers of all architectures. Several releases may be given, oldest first:
a name that a newer kernel dropped from its headers (s390's 31-bit table went in 7.x) is kept, and a name whose number
differs between two releases stops the script, because the kernel never does that.

    profiles/seccomp/tables/generate.py --fetch DIR --mirror URL   downloads the packages into DIR (apt, private configuration)
    profiles/seccomp/tables/generate.py DIR... > src/syscalls/table.rs

Each DIR is an unpacked package (`dpkg-deb -x`). With --against FILE the result is compared with libseccomp's
src/syscalls.csv and every difference is printed.

    profiles/seccomp/tables/generate.py --raw-sys DIR > tests/data/linux-raw-sys.tsv

writes what a second generator (bindgen) made of the kernel's headers: the numbers in the crate linux-raw-sys, unpacked in DIR.
"""

import argparse
import csv
import pathlib
import re
import subprocess
import sys

# column -> (folder under usr/lib/linux/uapi, headers that hold the names, values of the macros they lean on)
COLUMNS = {
    "X86": ("x86", ["unistd_32.h"], {}),
    "X86_64": ("x86", ["unistd_64.h"], {}),
    "X32": ("x86", ["unistd_x32.h"], {"__X32_SYSCALL_BIT": 0x40000000}),
    "Arm": ("arm", ["unistd-eabi.h", "unistd.h"], {"__NR_SYSCALL_BASE": 0, "__NR_OABI_SYSCALL_BASE": 0x900000}),
    "Aarch64": ("arm64", ["unistd_64.h"], {}),
    "Loongarch64": ("loongarch", ["unistd_64.h"], {}),
    "M68k": ("m68k", ["unistd_32.h"], {}),
    "MipsO32": ("mips", ["unistd_o32.h"], {"__NR_Linux": 4000}),
    "MipsN64": ("mips", ["unistd_n64.h"], {"__NR_Linux": 5000}),
    "MipsN32": ("mips", ["unistd_n32.h"], {"__NR_Linux": 6000}),
    "Parisc": ("parisc", ["unistd_32.h"], {}),
    "Parisc64": ("parisc", ["unistd_64.h"], {}),
    "Ppc": ("powerpc", ["unistd_32.h"], {}),
    "Ppc64": ("powerpc", ["unistd_64.h"], {}),
    "Riscv64": ("riscv", ["unistd_64.h"], {}),
    "S390": ("s390", ["unistd_32.h"], {}),
    "S390x": ("s390", ["unistd_64.h"], {}),
    "Sh": ("sh", ["unistd_32.h"], {}),
}
# Names of the headers that are not calls.
NOT_CALLS = {"Linux", "Linux_syscalls", "syscalls", "SYSCALL_BASE", "SYSCALL_MASK", "OABI_SYSCALL_BASE",
             "O32_Linux", "64_Linux", "N32_Linux", "O32_Linux_syscalls", "64_Linux_syscalls", "N32_Linux_syscalls",
             "arch_specific_syscall", "BASE"}
# The newest release whose package has one folder per architecture; older ones have one package per architecture.
PACKAGES = [("trixie", "linux-libc-dev"), ("trixie-backports", "linux-libc-dev")]
DEFINE = re.compile(r"^#define\s+__(ARM_)?NR_(\w+)\s+(.+?)\s*(?:/\*.*)?$")


def evaluate(text, known):
    """A sum of numbers and known macros, nothing more."""
    total = 0
    for term in text.strip("() ").split("+"):
        term = term.strip()
        if re.fullmatch(r"0x[0-9a-fA-F]+|\d+", term):
            total += int(term, 0)
        elif term in known:
            total += known[term]
        else:
            raise ValueError(f"cannot read {text!r}")
    return total


def read(root, folder, headers, macros):
    base = pathlib.Path(root, "usr/lib/linux/uapi", folder, "asm")
    table, known = {}, dict(macros)
    for header in headers:
        path = base / header
        if not path.exists():
            return {}
        for line in path.read_text().splitlines():
            match = DEFINE.match(line)
            if not match:
                continue
            arm, name, value = match.groups()
            macro = f"__{arm or ''}NR_{name}"
            if macro in macros:
                continue
            number = evaluate(value, known)
            known[macro] = number
            if name not in NOT_CALLS and not re.fullmatch(r"(unused|reserved)\d+", name):
                table[name] = number
    return table


def merge(roots):
    columns = {column: {} for column in COLUMNS}
    for root in roots:
        for column, (folder, headers, macros) in COLUMNS.items():
            for name, number in read(root, folder, headers, macros).items():
                before = columns[column].setdefault(name, number)
                if before != number:
                    sys.exit(f"{column}: {name} is {before} and, in {root}, {number}")
    for column, table in columns.items():
        if not table:
            sys.exit(f"{column}: no header found under {roots}")
    return columns


def write(columns, roots, out):
    names = sorted(set().union(*columns.values()))
    order = list(COLUMNS)
    print("// Written by tables/generate.py; edit that, not this.", file=out)
    print("//! System call numbers by name and architecture, from the kernel's uapi headers.", file=out)
    print("//!", file=out)
    print("//! Rows are sorted by name; a column is `Column as usize`; `NONE` is a call that the architecture lacks.", file=out)
    print("#![cfg_attr(rustfmt, rustfmt_skip)]\n", file=out)
    print("use super::{Row, rows};\n", file=out)
    print("/// No such call on this architecture.", file=out)
    print("pub(super) const NONE: u32 = u32::MAX;\nconst N: u32 = NONE;\n", file=out)
    print("/// The tables there are; architectures that differ only in byte order share one.", file=out)
    print("#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub(crate) enum Column {", file=out)
    for column in order:
        print(f"    {column},", file=out)
    print("}\n", file=out)
    print(f"pub(super) static TABLE: [Row<{len(order)}>; {len(names)}] = rows([", file=out)
    for name in names:
        row = ",".join(str(columns[c][name]) if name in columns[c] else "N" for c in order)
        print(f'    ("{name}",[{row}]),', file=out)
    print("]);", file=out)


def compare(columns, path):
    libseccomp = {"x86": "X86", "x86_64": "X86_64", "x32": "X32", "arm": "Arm", "aarch64": "Aarch64",
                  "loongarch64": "Loongarch64", "m68k": "M68k", "mips": "MipsO32", "mips64": "MipsN64",
                  "mips64n32": "MipsN32", "parisc": "Parisc", "parisc64": "Parisc64", "ppc": "Ppc", "ppc64": "Ppc64",
                  "riscv64": "Riscv64", "s390": "S390", "s390x": "S390x", "sh": "Sh"}
    offsets = {"X32": 0x40000000, "MipsO32": 4000, "MipsN64": 5000, "MipsN32": 6000}
    rows = list(csv.reader(open(path)))
    head = rows[0]
    for theirs, ours in libseccomp.items():
        at, table = head.index(theirs), columns[ours]
        numbers = {r[0]: r[at] for r in rows[1:]}
        for name in sorted(set(numbers) | set(table)):
            said = numbers.get(name, "PNR")
            mine = table.get(name)
            mine = "PNR" if mine is None else str(mine - offsets.get(ours, 0))
            if mine != said:
                print(f"{ours}: {name}: headers {mine}, libseccomp {said}")


# The architectures of linux-raw-sys that libseccomp has too, with their names here.
RAW_SYS = {"x86_64": "x86_64", "x86": "i386", "x32": "x32", "aarch64": "aarch64", "arm": "arm", "riscv64": "riscv64",
           "loongarch64": "loongarch64", "s390x": "s390x", "powerpc64": "ppc64", "powerpc": "ppc", "mips64": "mips64",
           "mips": "mips", "m68k": "m68k"}


def raw_sys(crate):
    numbers = {}
    for folder, arch in RAW_SYS.items():
        text = (pathlib.Path(crate) / "src" / folder / "general.rs").read_text()
        # Names with a capital are bases and masks.
        for name, number in re.findall(r"^pub const __NR_([a-z_]\w*): u32 = (\d+);", text, re.M):
            if not re.fullmatch(r"(reserved|unused)\d+", name):
                numbers.setdefault(name, {})[arch] = number
    print("\t".join(["name", *RAW_SYS.values()]))
    for name, row in sorted(numbers.items()):
        print("\t".join([name, *(row.get(arch, ".") for arch in RAW_SYS.values())]))


def fetch(folder, mirror):
    folder = pathlib.Path(folder).resolve()
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / "apt" / part).mkdir(parents=True, exist_ok=True)
    sources = folder / "apt/sources.list"
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources.write_text("".join(f"deb [signed-by={key}] {mirror} {suite} main\n"
                               for suite, _ in PACKAGES))
    options = ["-o", f"Dir::State::lists={folder}/apt/lists", "-o", f"Dir::Cache={folder}/apt/cache",
               "-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-"]
    subprocess.run(["apt-get", *options, "update"], check=True, stdout=sys.stderr)
    for suite, package in PACKAGES:
        target = folder / suite
        target.mkdir(exist_ok=True)
        subprocess.run(["apt-get", *options, "download", f"{package}/{suite}"], check=True, cwd=target, stdout=sys.stderr)
        for deb in target.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, target], check=True)
        print(target)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roots", nargs="*", metavar="DIR")
    parser.add_argument("--fetch", metavar="DIR")
    parser.add_argument("--mirror", metavar="URL", help="the Debian mirror that this machine uses")
    parser.add_argument("--against", metavar="FILE")
    parser.add_argument("--raw-sys", metavar="DIR")
    args = parser.parse_args()
    if args.fetch:
        return fetch(args.fetch, args.mirror) if args.mirror else parser.error("--fetch needs --mirror")
    if args.raw_sys:
        return raw_sys(args.raw_sys)
    if not args.roots:
        parser.error("no unpacked package given")
    columns = merge(args.roots)
    if args.against:
        return compare(columns, args.against)
    write(columns, args.roots, sys.stdout)


if __name__ == "__main__":
    main()
