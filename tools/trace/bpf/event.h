/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What the programs of trace.bpf.c tell: read by src/event.rs, which checks the same sizes. */
#ifndef PLIM_TRACE_EVENT_H
#define PLIM_TRACE_EVENT_H

#include "plim_bpf.h"

/* Of one call: more refused capabilities than this are counted alone. */
#define ASKED 4
/* Arguments that are strings, and bytes kept of each, the NUL included. */
#define TEXTS 3
#define TEXT 256

enum event_flag {
	/* sys_enter was seen for this very call: no filter refused it. */
	FLAG_ENTERED = 1 << 0,
	/* 32-bit: the number is one of i386 (TS_COMPAT). */
	FLAG_COMPAT = 1 << 1,
	/* The kernel's bitmap says that the filter allows this number whatever the arguments. */
	FLAG_ALWAYS_ALLOWED = 1 << 2,
	/* The kernel has the bitmap. */
	FLAG_BITMAP = 1 << 3,
	/*
	 * The call that was entered last was the same, and it is not known whether it is this one: since then the task's filters
	 * changed, or somebody came to trace it.
	 */
	FLAG_STALE = 1 << 4,
	/* Somebody traces the task and may have changed the call. */
	FLAG_PTRACED = 1 << 5,
	/* The first exit seen of a task that is older than the tracer: its enter may lie before. */
	FLAG_OLDER = 1 << 6,
	/* SIGSYS was raised by a filter in this call (si_code SYS_SECCOMP). */
	FLAG_SIGSYS = 1 << 7,
	/* A filter killed the task (seccomp.mode is SECCOMP_MODE_DEAD). */
	FLAG_KILLED = 1 << 8,
	/* The event has texts. */
	FLAG_TEXTS = 1 << 9,
	/* More capabilities were refused than `asked` holds; the last ones are kept. */
	FLAG_ASKED_MORE = 1 << 10,
	FLAG_NO_NEW_PRIVS = 1 << 11,
	/* The kernel sent SIGXFSZ in this call. */
	FLAG_XFSZ = 1 << 12,
	/* No call: an engine's program became a command of the target. Its filters are new, and it may not live long. */
	FLAG_ARRIVED = 1 << 13,
};

enum asked_flag {
	/* With the task's own credentials, not those of somebody in whose place it acts (the mounter of an overlay). */
	ASKED_AS_ITSELF = 1 << 0,
	/* CAP_OPT_NOAUDIT: the kernel asks without meaning to refuse. Known where fexit is used. */
	ASKED_QUIETLY = 1 << 1,
};

/* Security modules whose refusals can be seen on some kernels. */
enum module {
	MODULE_NONE = 0,
	MODULE_LANDLOCK = 1,
	MODULE_APPARMOR = 2,
	MODULE_SELINUX = 3,
};

/* One capability that was asked for and not held. */
struct asked {
	__u8 capability;
	__u8 flags;
	__u16 zero;
	/* The user namespace in which it was asked for: inode. */
	__u32 user_namespace;
};
_Static_assert(sizeof(struct asked) == 8, "asked is read by event.rs");

struct event {
	__u64 boot_ns;
	__s64 ret;
	__u64 ip;
	__u64 args[6];
	/* Of the instructions of all filters of the task, for a call that was not entered; 0 where the kernel does not keep them. */
	__u64 digest;
	__u64 effective;
	__u64 bounding;
	__s32 number;
	__u32 flags;
	/* Slot of the target. */
	__u32 target;
	__u32 pid;
	__u32 tid;
	__u32 filters;
	/* The user namespace of the task's credentials: inode. */
	__u32 user_namespace;
	__u32 fsuid;
	__u32 fsgid;
	__u32 asked_count;
	struct asked asked[ASKED];
	char comm[16];
	/* Its parent process: it mostly stands on the same filters, and lives longer. */
	__u32 parent;
	/* The security module that refused, where that is seen: an enum module. */
	__u32 module;
};
_Static_assert(sizeof(struct event) == 192, "event is read by event.rs");

struct event_with_texts {
	struct event event;
	char texts[TEXTS][TEXT];
};
_Static_assert(sizeof(struct event_with_texts) == 960, "event is read by event.rs");

/* Targets at most. */
#define TARGETS 1024
#define RING_BYTES (16 << 20)
/* What the ring adds to each record. */
#define RECORD_HEADER 8

/* Of one target; the slot is its index. */
struct target {
	/* 0 until the first execve inside it: what comes before is the engine's own doing. */
	__u32 armed;
	__u32 zero;
	/* Bytes of all records so far; `taken` says how many of them the reader has dealt with. */
	__u64 told_bytes;
	/* Events for which there was no room. */
	__u64 lost;
	/* Operations that its tasks submitted to an io_uring. */
	__u64 ring_operations;
};
_Static_assert(sizeof(struct target) == 32, "target is read by tracer.rs");

/* Places in `settings`. */
enum setting {
	/* Grows whenever a target is added: what was judged before is judged anew. */
	SETTING_GENERATION = 0,
	/* Tasks of the first pid namespace may belong to a target. */
	SETTING_HOST = 1,
	/* Some target shares the host's pid namespace and is known by its cgroup: an enum hierarchy. */
	SETTING_CGROUPS = 2,
	/* The program `refused` tells what filters refuse, and nothing else is seen. */
	SETTING_FILTERS_ALONE = 3,
	/* When the tracer was about to be attached (CLOCK_BOOTTIME). */
	SETTING_ATTACHED_BOOT_NS = 4,
	SETTINGS = 5,
};

/* The hierarchy in which cgroups are looked for. */
enum hierarchy {
	HIERARCHY_NONE = 0,
	HIERARCHY_UNIFIED = 1,
	/* Of cgroup v1: that of the controller `pids`. */
	HIERARCHY_PIDS = 2,
};

#endif
