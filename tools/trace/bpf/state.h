/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What is kept of the targets, of their tasks and of each processor, and what the programs tell through. */
#ifndef PLIM_TRACE_STATE_H
#define PLIM_TRACE_STATE_H

#include "event.h"
#include "plim_kernel.h"

/* What a filter sees of a call: the instruction pointer and the registers that carry arguments, of both tables. */
#define CALL_WORDS 10
/* Those beyond look at the task each time. */
#define PROCESSORS 512

/* By enum setting; written by the reader alone. */
volatile __u64 settings[SETTINGS] SEC(".data") = {};

/*
 * What each processor found last to be no target's: an address of the task's own (of the registers on its kernel stack, or its
 * own), and how many tasks had ended and targets had been added by then. An address is used again only after a task has ended, and
 * both numbers only grow.
 */
struct stranger {
	__u64 key;
	__u64 changes;
	/* A cache line for each processor. */
	__u64 zero[6];
};
struct stranger strangers[PROCESSORS] = {};
volatile __u64 tasks_ended = 0;

/*
 * Some task of a target is traced, or asks a supervisor: the same call may be let through once and be refused the next
 * time, so that exits that did not fail are looked at too.
 */
volatile bool every_exit = false;

struct state {
	__u32 generation;
	/* Slot + 1, 0 for none. */
	__u32 target;
	/* The call that was entered last. */
	__s64 number;
	__u64 words[CALL_WORDS];
	/* How many filters the task stood on when they were looked at last: a stack only grows. */
	__u32 filters;
	/* The filters of which `digest` was made. */
	struct seccomp_filter *digested;
	__u64 digest;
	/* That call was not seen to end. */
	bool in_call;
	/* Its end is looked at, whatever it returns. */
	bool end_is_seen;
	/* One exit of the task was seen. */
	bool seen;
	bool sigsys;
	bool xfsz;
	bool told_death;
	/* Sent in by an engine, as by docker exec, and still the engine's own program: until its execve. */
	bool outsider;
	/* An enum module: it refused with this error, and no capability was asked for since. */
	__u8 module;
	__s32 module_answer;
	__u32 asked_count;
	struct asked asked[ASKED];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct state);
} states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TARGETS);
	__type(key, __u32);
	__type(value, struct target);
} targets SEC(".maps");

/* By slot, and at TARGETS for all together: bytes of records that the reader has dealt with. Written by the reader alone. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TARGETS + 1);
	__type(key, __u32);
	__type(value, __u64);
} taken SEC(".maps");

/* Bytes of the records of all targets so far. */
volatile __u64 told_bytes = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RING_BYTES);
} ring SEC(".maps");

static __always_inline __u64 setting(enum setting key)
{
	return settings[key];
}

#endif
