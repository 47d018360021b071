"""libseccomp as it is installed here, asked through its C interface: one question a line, one answer a line.

A question is {"native": NAME, "arches": [NAME...], "default": N, "optimize": N, "rules": [[CALL, N, [[ARGUMENT, OPERATOR, A, B]...]]...]}:
names as libseccomp has them, actions as the kernel's return values, operators from 1 (!=) to 7 (masked ==). The answer is {"bpf": HEX},
little endian whatever the architecture, or {"errno": N, "rule": N}. A call that libseccomp does not know is passed over. The
first line says which release it is. PLIM_LIBSECCOMP names another library than the system's.
"""

import ctypes
import json
import os
import sys


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint)]


lib = ctypes.CDLL(os.environ.get("PLIM_LIBSECCOMP") or "libseccomp.so.2")
lib.seccomp_init.restype = ctypes.c_void_p
lib.seccomp_init.argtypes = [ctypes.c_uint32]
lib.seccomp_release.argtypes = [ctypes.c_void_p]
lib.seccomp_arch_resolve_name.restype = ctypes.c_uint32
lib.seccomp_arch_add.argtypes = lib.seccomp_arch_remove.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
lib.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
lib.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
lib.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
lib.seccomp_version.restype = ctypes.POINTER(Version)

NATIVE, CTL_OPTIMIZE, UNKNOWN = 0, 8, -1
BIG_ENDIAN = {"s390", "s390x", "ppc", "ppc64", "mips", "mips64", "mips64n32", "parisc", "parisc64", "m68k", "sheb"}


def swap(bpf):
    return b"".join(i[1::-1] + i[2:4] + i[7:3:-1] for i in (bpf[at:at + 8] for at in range(0, len(bpf), 8)))


def build(question):
    context = lib.seccomp_init(question["default"])
    try:
        tokens = {name: lib.seccomp_arch_resolve_name(name.encode()) for name in [question["native"], *question["arches"]]}
        if question["native"] != "x86_64":
            lib.seccomp_arch_remove(context, NATIVE)
            lib.seccomp_arch_add(context, tokens[question["native"]])
        for name in question["arches"]:
            lib.seccomp_arch_add(context, tokens[name])
        if lib.seccomp_attr_set(context, CTL_OPTIMIZE, question["optimize"]) < 0 and question["optimize"] != 1:
            return {"errno": 95, "rule": -1}
        for index, (name, action, conditions) in enumerate(question["rules"]):
            number = lib.seccomp_syscall_resolve_name(name.encode())
            if number == UNKNOWN:
                continue
            array = (Compare * max(len(conditions), 1))(*(Compare(*condition) for condition in conditions))
            error = lib.seccomp_rule_add_array(context, action, number, len(conditions), array)
            if error < 0:
                return {"errno": -error, "rule": index}
        file = os.memfd_create("filter")
        try:
            error = lib.seccomp_export_bpf(context, file)
            if error < 0:
                return {"errno": -error, "rule": -1}
            bpf = os.pread(file, 1 << 20, 0)
        finally:
            os.close(file)
        return {"bpf": (swap(bpf) if question["native"] in BIG_ENDIAN else bpf).hex()}
    finally:
        lib.seccomp_release(context)


version = lib.seccomp_version().contents
print(json.dumps([version.major, version.minor, version.micro]), flush=True)
for line in sys.stdin:
    print(json.dumps(build(json.loads(line))), flush=True)
