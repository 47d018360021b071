/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What the programs of record.bpf.c tell: read by src/event.rs and src/recorder.rs, which check the same sizes. */
#ifndef PLIM_RECORD_H
#define PLIM_RECORD_H

#include "plim_bpf.h"

/* Components kept of a path, mounts that are crossed among them, and bytes of each, the NUL included. */
#define PARTS 32
#define PART 64
/* Bytes kept of a string that the process passed, the NUL included. */
#define TEXT 256

enum seen_flag {
	/* 32-bit: the number is one of i386 (TS_COMPAT). */
	SEEN_COMPAT = 1 << 0,
	/* Before the execve of the container's command: the runtime's own work, behind the filter already. */
	SEEN_RUNTIME = 1 << 1,
	/* A capability was held and given. */
	SEEN_GRANTED = 1 << 2,
	/* Asked with the task's own credentials, not those of somebody in whose place it acts. */
	SEEN_AS_ITSELF = 1 << 3,
	/* A path has more components, or longer ones, than are kept. */
	SEEN_CUT = 1 << 4,
	/* The call made the file. */
	SEEN_CREATED = 1 << 5,
	/* A file was opened for reading, for writing. */
	SEEN_READ = 1 << 6,
	SEEN_WRITE = 1 << 7,
};

/* Key of `calls`; the value counts. */
struct call {
	__u32 number;
	__u32 flags;
	/* The arguments that tell what the call is about; 0 where `telling` names none. */
	__u64 args[2];
};
_Static_assert(sizeof(struct call) == 24, "call is read by recorder.rs");

/* Key of `capabilities`; the value counts. */
struct asked {
	__s32 number;
	__u32 flags;
	/* The user namespace in which it was asked for: inode. */
	__u32 user_namespace;
	__u32 capability;
};
_Static_assert(sizeof(struct asked) == 16, "asked is read by recorder.rs");

/* Row of `telling`: of up to two arguments the index + 1, and the bits that count. */
struct telling {
	__u32 places[2];
	__u64 masks[2];
};
_Static_assert(sizeof(struct telling) == 24, "telling is written by recorder.rs");

enum what {
	WHAT_NOTHING = 0,
	/* The call came back with a descriptor. */
	WHAT_OPEN = 1,
	/* An argument is the path of a file that was made, changed or removed. */
	WHAT_PATH = 2,
	/* An argument is a descriptor of a file that was changed. */
	WHAT_FD = 3,
	/* The first argument is a socket that got an address; that listens. */
	WHAT_BIND = 4,
	WHAT_LISTEN = 5,
	/* A program was executed that gives privileges (set-user-ID, file capabilities). */
	WHAT_EXEC = 6,
};

/* Row of `changes`, by number: what a successful call did, and with which arguments (index + 1). */
struct change {
	__u8 what;
	__u8 path;
	__u8 base;
	__u8 second_path;
	__u8 second_base;
	__u8 zero[3];
};
_Static_assert(sizeof(struct change) == 8, "change is written by recorder.rs");

struct event {
	__u32 what;
	__u32 flags;
	__u32 number;
	__u32 pid;
	/* Of the file: st_mode, and of a device its number (12 and 20 bits, as the kernel keeps it). */
	__u32 mode;
	__u32 device;
	/* Of a socket. */
	__u16 family;
	__u16 type;
	__u16 protocol;
	__u16 port;
	__u8 address[16];
	char comm[16];
	/* How many of the parts are there, from the file up to the root. */
	__u32 parts;
	__u32 zero;
	char part[PARTS][PART];
	/* The path as the process passed it; the parts then are those of the directory that it begins at. */
	char text[TEXT];
};
_Static_assert(sizeof(struct event) == 72 + PARTS * PART + TEXT, "event is read by event.rs");

#endif
