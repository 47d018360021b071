"""Builds a filter with libseccomp from OCI's linux.seccomp, as runc does: python3 libseccomp.py PROFILE.json FILTER.bpf [tree [time]]

With `tree` it asks for libseccomp's binary tree (SCMP_FLTATR_CTL_OPTIMIZE 2), with
`time` it says on stderr how many microseconds libseccomp took. Prints, as a JSON object, the names for which this libseccomp has no number of their own on each architecture. Needs Debian's python3-seccomp.
"""

import json
import sys
from time import perf_counter

import seccomp

OPERATORS = {"NE": seccomp.NE, "LT": seccomp.LT, "LE": seccomp.LE, "EQ": seccomp.EQ, "GE": seccomp.GE,
             "GT": seccomp.GT, "MASKED_EQ": seccomp.MASKED_EQ}
ARCHES = {"SCMP_ARCH_X86_64": "x86_64", "SCMP_ARCH_X86": "x86", "SCMP_ARCH_X32": "x32"}


def action(name, number):
    return {
        "SCMP_ACT_ALLOW": lambda: seccomp.ALLOW,
        "SCMP_ACT_LOG": lambda: seccomp.LOG,
        "SCMP_ACT_NOTIFY": lambda: seccomp.NOTIFY,
        "SCMP_ACT_TRAP": lambda: seccomp.TRAP,
        "SCMP_ACT_KILL_THREAD": lambda: seccomp.KILL,
        "SCMP_ACT_KILL_PROCESS": lambda: seccomp.KILL_PROCESS,
        "SCMP_ACT_ERRNO": lambda: seccomp.ERRNO(number),
        "SCMP_ACT_TRACE": lambda: seccomp.TRACE(number),
    }[name]()


def main(source, target, shape="linear", time=None):
    profile = json.load(open(source))
    start = perf_counter()
    built = seccomp.SyscallFilter(action(profile["defaultAction"], profile.get("defaultErrnoRet")))
    if shape == "tree":
        built.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)
    for arch in profile["architectures"]:
        if not built.exist_arch(seccomp.Arch(ARCHES[arch])):
            built.add_arch(seccomp.Arch(ARCHES[arch]))
    unknown = {arch: set() for arch in ARCHES}
    for rule in profile["syscalls"]:
        conditions = [
            seccomp.Arg(arg["index"], OPERATORS[arg["op"].removeprefix("SCMP_CMP_")], arg["value"], arg.get("valueTwo", 0))
            for arg in rule.get("args", [])
        ]
        for name in rule["names"]:
            for arch, short in ARCHES.items():
                if seccomp.resolve_syscall(seccomp.Arch(short), name) < 0:
                    unknown[arch].add(name)
            if seccomp.resolve_syscall(seccomp.Arch(), name) == -1:
                continue
            built.add_rule(action(rule["action"], rule.get("errnoRet")), name, *conditions)
    with open(target, "wb") as file:
        built.export_bpf(file)
    if time:
        print(round((perf_counter() - start) * 1e6), file=sys.stderr)
    print(json.dumps({arch: sorted(names) for arch, names in unknown.items()}))


main(*sys.argv[1:])
