/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The filters that a task stands on: how many, whether one asks a supervisor, what they are, what they always allow. */
#ifndef PLIM_TRACE_FILTERS_H
#define PLIM_TRACE_FILTERS_H

#include "state.h"

/* More filters than a task stands on; with more it is treated as if one of them asked a supervisor. */
#define FILTERS 32
/* FNV-1a over words of 64 bits, one for each instruction, the newest filter first: event.rs does the same. */
#define DIGEST_BASIS 0xcbf29ce484222325ULL
#define DIGEST_PRIME 0x100000001b3ULL

/* Instructions that one round of the digest takes: they lie on the stack, where nobody else's program of this processor comes. */
#define PART 16

/* The task stands on other filters than before. A function of its own, as classify. */
__attribute__((noinline)) int look_at_filters(struct state *state)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct seccomp_filter *filter = look_up(task->seccomp.filter);

	if (!state)
		return 0;
	state->filters = task->seccomp.filter_count.counter;
	for (__u32 i = 0; i < FILTERS && filter; i++) {
		struct notification *notif = NULL;

		bpf_probe_read_kernel(&notif, sizeof(notif), &filter->notif);
		if (notif)
			every_exit = true;
		if (bpf_probe_read_kernel(&filter, sizeof(filter), &filter->prev))
			break;
	}
	if (filter)
		every_exit = true;
	return 0;
}

/* As many as PART instructions from an address on; 0 when they cannot be read. The verifier goes through it once, not for every part. */
__attribute__((noinline)) __u64 digest_part(__u64 from, __u32 count, __u64 digest)
{
	__u64 words[PART] = {};

	if (count > PART)
		count = PART;
	if (bpf_probe_read_kernel(words, count * sizeof(words[0]), (void *)from))
		return 0;
	for (__u32 i = 0; i < PART && i < count; i++)
		digest = (digest ^ words[i]) * DIGEST_PRIME;
	return digest;
}

/* One filter more in the digest; 0 when it cannot be read. A function of its own, as classify: it is verified once. */
__attribute__((noinline)) __u64 digest_filter(__u64 address, __u64 digest)
{
	struct seccomp_filter *filter = (struct seccomp_filter *)address;
	struct sock_fprog_kern *original = NULL;
	struct bpf_prog *program = NULL;
	__u64 from = 0;
	__u16 length = 0;

	bpf_probe_read_kernel(&program, sizeof(program), &filter->prog);
	bpf_probe_read_kernel(&original, sizeof(original), &program->orig_prog);
	bpf_probe_read_kernel(&length, sizeof(length), &original->len);
	bpf_probe_read_kernel(&from, sizeof(from), &original->filter);
	if (length == 0 || length > INSTRUCTIONS)
		return 0;
	for (__u32 i = 0; i < INSTRUCTIONS && i < length && digest; i += PART)
		digest = digest_part(from + i * sizeof(__u64), length - i, digest);
	return digest;
}

/* The digest of the current task's filters. They are never taken away, so that an address it stood on stays theirs. */
__attribute__((noinline)) int digest_filters(struct state *state)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct seccomp_filter *filter = task->seccomp.filter;
	__u64 digest = DIGEST_BASIS, address = 0;

	if (!state)
		return 0;
	state->digested = filter;
	/* As a number: functions that are verified once take no pointers of the kernel's. */
	bpf_probe_read_kernel(&address, sizeof(address), &task->seccomp.filter);
	for (__u32 i = 0; i < FILTERS && address; i++) {
		digest = digest_filter(address, digest);
		if (digest == 0)
			break;
		filter = (struct seccomp_filter *)address;
		if (bpf_probe_read_kernel(&address, sizeof(address), &filter->prev))
			break;
	}
	state->digest = address ? 0 : digest;
	return 0;
}

/* Whether the kernel's bitmap says that the task's filters allow the number whatever the arguments. */
static __always_inline __u32 bitmap_flags(struct task_struct *task, __s64 number, bool compat)
{
	struct seccomp_filter *filter = look_up(task->seccomp.filter);
	unsigned long word = 0;
	__u64 at;

	if (!filter || !plim_has_field(filter->cache))
		return 0;
	/* x32's numbers are not in it, and it ends with the table. */
	if (number < 0 || number >= 448)
		return FLAG_BITMAP;
	at = (__u64)number / 64 * sizeof(word);
	if (compat)
		bpf_probe_read_kernel(&word, sizeof(word), (char *)filter->cache.allow_compat + at);
	else
		bpf_probe_read_kernel(&word, sizeof(word), (char *)filter->cache.allow_native + at);
	return FLAG_BITMAP | ((word >> ((__u64)number & 63)) & 1 ? FLAG_ALWAYS_ALLOWED : 0);
}

#endif
