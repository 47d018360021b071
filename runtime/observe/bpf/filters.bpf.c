// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * A task iterator that reads the seccomp filters of live tasks without stopping them (Linux 5.8).
 *
 * For each task in `wanted` it writes one `struct told` to the iterator's file, and, before it, one record per filter
 * to the ring: `struct head` and the instructions as they were handed to seccomp(2), which the kernel keeps in
 * prog->orig_prog where it is built with CONFIG_CHECKPOINT_RESTORE. Newest first, as the kernel chains them.
 *
 * A task that ends meanwhile gives its filters up and the memory may be used again; so what was read counts only if
 * the task still stands on the same newest filter afterwards and is not ending (then it held every filter of the chain
 * all the time).
 */
#include "plim_kernel.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Bytes of one (struct sock_filter). */
#define INSTRUCTION 8
/* More stacked filters than this are told as STATUS_MANY: the verifier walks each round of the loop. */
#define FILTERS 128
#define PF_EXITING 0x4

enum status {
	STATUS_READ = 0,
	/* The ring is full: ask again once it is drained. */
	STATUS_NO_ROOM = 1,
	/* It ends, or installed another filter meanwhile: ask again. */
	STATUS_CHANGED = 2,
	/* The kernel keeps no original program. */
	STATUS_NO_ORIGINAL = 3,
	STATUS_MANY = 4,
	STATUS_UNREADABLE = 5,
};

/* The iterator's context is part of the kernel's ABI: two pointers, the first to one that begins with the file. */
struct bpf_iter_meta {
	void *seq;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct told {
	__u32 tid;
	__u32 tgid;
	__u32 attempt;
	__u32 status;
	__u32 filters;
	__u32 zero;
	/* The address of the newest filter: names the stack as long as one task stands on it. */
	__u64 newest;
};
_Static_assert(sizeof(struct told) == 32, "told is read by filters/iterator.rs");

struct head {
	__u32 attempt;
	__u32 instructions;
	__u32 log;
	__u32 zero;
};
_Static_assert(sizeof(struct head) == 16, "head is read by filters/iterator.rs");

struct scratch {
	struct head head;
	__u8 instructions[INSTRUCTIONS * INSTRUCTION];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} wanted SEC(".maps");

/* One reader at a time: it holds the lock of its process. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

static __always_inline enum status copy(struct scratch *to, struct seccomp_filter *filter)
{
	struct sock_fprog_kern *original = filter->prog->orig_prog;
	__u32 instructions;

	if (!original)
		return STATUS_NO_ORIGINAL;
	instructions = original->len;
	if (instructions == 0 || instructions > INSTRUCTIONS)
		return STATUS_CHANGED;
	if (bpf_probe_read_kernel(to->instructions, instructions * INSTRUCTION, original->filter))
		return STATUS_UNREADABLE;
	to->head.instructions = instructions;
	to->head.log = filter->log;
	if (bpf_ringbuf_output(&ring, to, sizeof(struct head) + instructions * INSTRUCTION, 0))
		return STATUS_NO_ROOM;
	return STATUS_READ;
}

SEC("iter/task")
int filters(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct seccomp_filter *newest, *filter;
	struct scratch *to;
	struct told told = {};
	__u32 zero = 0, tid;

	if (!task)
		return 0;
	tid = task->pid;
	if (!bpf_map_lookup_elem(&wanted, &tid))
		return 0;
	to = bpf_map_lookup_elem(&scratch, &zero);
	if (!to)
		return 0;
	told.tid = tid;
	told.tgid = task->tgid;
	told.attempt = ++to->head.attempt;
	newest = task->seccomp.filter;
	told.newest = (__u64)newest;
	filter = newest;
	for (int i = 0; i < FILTERS && filter; i++) {
		told.status = copy(to, filter);
		if (told.status != STATUS_READ)
			break;
		told.filters++;
		filter = filter->prev;
	}
	if (filter && told.status == STATUS_READ)
		told.status = STATUS_MANY;
	if (task->seccomp.filter != newest || (task->flags & PF_EXITING))
		told.status = STATUS_CHANGED;
	bpf_seq_write(ctx->meta->seq, &told, sizeof(told));
	return 0;
}
