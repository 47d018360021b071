#!/usr/bin/env python3
"""Writes src/installed/known/table.rs: which release of libseccomp knows which system call.

    profiles/seccomp/tables/libseccomp.py REPOSITORY > src/installed/known/table.rs

REPOSITORY is a git directory of libseccomp (github.com/seccomp/libseccomp) with its release tags. Two facts are read of each release:
whether it has a name at all, and the name's number on each architecture: since 2.5.0 from src/syscalls.csv, before from the tables in
src/arch-*-syscalls.c. The numbers are the kernel's own, which src/syscalls/table.rs has; so a row says only in which release each of
them appeared, and what does not fit that form is listed as an exception.
"""

import csv
import io
import pathlib
import re
import subprocess
import sys

RELEASES = ["2.3.0", "2.3.1", "2.3.2", "2.3.3", "2.4.0", "2.4.1", "2.4.2", "2.4.3", "2.4.4", "2.5.0", "2.5.1", "2.5.2",
            "2.5.3", "2.5.4", "2.5.5", "2.5.6", "2.6.0", "2.6.1"]
# libseccomp's word -> (our column, what its numbers lack)
COLUMNS = {"x86": ("X86", 0), "x86_64": ("X86_64", 0), "x32": ("X32", 0x40000000), "arm": ("Arm", 0), "aarch64": ("Aarch64", 0),
           "loongarch64": ("Loongarch64", 0), "m68k": ("M68k", 0), "mips": ("MipsO32", 4000), "mips64": ("MipsN64", 5000),
           "mips64n32": ("MipsN32", 6000), "parisc": ("Parisc", 0), "parisc64": ("Parisc64", 0), "ppc": ("Ppc", 0),
           "ppc64": ("Ppc64", 0), "riscv64": ("Riscv64", 0), "s390": ("S390", 0), "s390x": ("S390x", 0), "sh": ("Sh", 0)}
# Until 2.4.4 parisc64 had parisc's table.
SHARED = {"parisc64": "parisc"}
KERNEL = pathlib.Path(__file__).parent.parent / "src/syscalls/table.rs"


def kernel():
    text = KERNEL.read_text()
    order = re.search(r"enum Column \{(.*?)\}", text, re.S)[1].replace(",", " ").split()
    rows = re.findall(r'\("(\w+)",\[(.*?)\]\)', text)
    return order, {name: dict(zip(order, [None if n == "N" else int(n) for n in row.split(",")])) for name, row in rows}


def git(repository, *args):
    return subprocess.run(["git", "--git-dir", repository, *args], check=True, capture_output=True, text=True).stdout


def number(text):
    """The number of an entry; macros in it are bases, which COLUMNS holds, but for ARM's private calls."""
    if "PNR" in text:
        return None
    text = text.replace("__SCMP_ARM_NR_BASE", "0xf0000")
    return sum(int(n, 0) for n in re.findall(r"\b(?:0x[0-9a-fA-F]+|\d+)\b", text))


def tables(repository, tag):
    """By libseccomp's word for the architecture: name -> number or None."""
    files = git(repository, "ls-tree", "-r", "--name-only", tag, "src").split()
    found = {}
    if "src/syscalls.csv" in files:
        head, *rows = list(csv.reader(io.StringIO(git(repository, "show", f"{tag}:src/syscalls.csv"))))
        for at, word in enumerate(head):
            if word in COLUMNS:
                found[word] = {row[0]: number(row[at]) for row in rows if row}
        return found
    for file in files:
        match = re.fullmatch(r"src/arch-(\w+)-syscalls\.c", file)
        if match:
            text = git(repository, "show", f"{tag}:{file}")
            found[match[1]] = {name: number(value) for name, value in re.findall(r'\{\s*"(\w+)",\s*(.+?)\s*\}', text)}
    for word, source in SHARED.items():
        if f"src/arch-{word}.c" in files:
            found[word] = found[source]
    return found


def main():
    order, numbers = kernel()
    releases = [tables(sys.argv[1], f"v{release}") for release in RELEASES]
    word_of = {column: word for word, (column, _) in COLUMNS.items()}
    names = sorted(set().union(*(table for release in releases for table in release.values())))
    letter = "abcdefghijklmnopqr"
    rows, exceptions, gone = [], [], []
    for name in names:
        has = [any(name in table for table in release.values()) for release in releases]
        since = has.index(True)
        if not all(has[since:]):
            gone.append((name, since, len(has) - has[::-1].index(True)))
        pattern = ""
        for column in order:
            word, base = word_of[column], COLUMNS[word_of[column]][1]
            said = [release.get(word, {}).get(name) for release in releases]
            said = [None if n is None else n + base for n in said]
            true = numbers.get(name, {}).get(column)
            first = next((i for i, n in enumerate(said) if n is not None and n == true), None)
            pattern += "." if first is None else letter[first]
            regular = [true if first is not None and i >= first else None for i in range(len(said))]
            start = 0
            while start < len(said):
                end = start + 1
                while end < len(said) and said[end] == said[start] and (regular[end] == said[end]) == (regular[start] == said[start]):
                    end += 1
                if said[start] != regular[start]:
                    exceptions.append((name, column, start, end, said[start]))
                start = end
        rows.append((name, letter[since], pattern))
    out = sys.stdout
    print("// Written by tables/libseccomp.py; edit that, not this.", file=out)
    print("//! Which release of libseccomp knows which system call, from its own tables.", file=out)
    print("#![cfg_attr(rustfmt, rustfmt_skip)]\n", file=out)
    print("use crate::syscalls::Column;\n", file=out)
    print("/// The releases; letters below stand for places in this list, `a` for the first.", file=out)
    print(f"pub(in crate::installed) static RELEASES: [(u8, u8, u8); {len(RELEASES)}] = [", file=out)
    print("    " + ", ".join("(" + release.replace(".", ", ") + ")" for release in RELEASES) + ",\n];\n", file=out)
    supported = {column: next(i for i, r in enumerate(releases) if word_of[column] in r) for column in order}
    print("/// Per column, the first release that has the architecture.", file=out)
    print(f"pub(super) static ARCHES: &str = \"{''.join(letter[supported[c]] for c in order)}\";\n", file=out)
    print("/// Name; the first release that has it; per column the first release that has the kernel's number for it, `.` for none.", file=out)
    print(f"pub(super) static NAMES: [(&str, char, &str); {len(rows)}] = [", file=out)
    for name, since, pattern in rows:
        print(f"    (\"{name}\",'{since}',\"{pattern}\"),", file=out)
    print("];\n", file=out)
    print("/// Name, column, first release and release after the last, and the number or `None` where a row above says something else.", file=out)
    print(f"pub(super) static EXCEPTIONS: [(&str, Column, u8, u8, Option<u32>); {len(exceptions)}] = [", file=out)
    for name, column, start, end, value in exceptions:
        print(f"    (\"{name}\",Column::{column},{start},{end},{f'Some({value})' if value is not None else 'None'}),", file=out)
    print("];\n", file=out)
    print("/// Names that a later release lost, with the first release that lacks them.", file=out)
    print(f"pub(super) static LOST: [(&str, u8); {len(gone)}] = [", file=out)
    for name, _, end in gone:
        print(f"    (\"{name}\",{end}),", file=out)
    print("];", file=out)


if __name__ == "__main__":
    main()
