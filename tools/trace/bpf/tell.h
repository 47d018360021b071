/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Tells one refusal: an event of the ring. */
#ifndef PLIM_TRACE_TELL_H
#define PLIM_TRACE_TELL_H

#include "call.h"
#include "filters.h"
#include "target.h"

/*
 * The reader is woken at most this often by one processor: at once after a pause, so that it still finds the process, and
 * not for each event of a flood, as an interrupt costs many times an event. In this time a processor fills 1 MB of the ring
 * at most. It looks every some 20 ms by itself, too.
 */
#define PAUSE_NS 1000000

/*
 * Which arguments are strings: a byte for each of the first three, the argument's index + 1, or 0. By x86-64's numbers,
 * and by i386's from 1024 on.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2048);
	__type(key, __u32);
	__type(value, __u32);
} strings SEC(".maps");

/* When the reader was woken last (CLOCK_BOOTTIME), on each processor. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} woken SEC(".maps");

static __always_inline void fill(struct event *event, struct task_struct *task, struct state *state,
				 struct pt_regs *regs, const struct cred *cred, __s64 ret, __u32 flags)
{
	struct task_struct *parent = look_up(task->real_parent);

	event->boot_ns = bpf_ktime_get_boot_ns();
	event->ret = ret;
	event->number = (__s32)regs->orig_ax;
	if (flags & FLAG_COMPAT) {
		event->args[0] = (__u32)regs->bx;
		event->args[1] = (__u32)regs->cx;
		event->args[2] = (__u32)regs->dx;
		event->args[3] = (__u32)regs->si;
		event->args[4] = (__u32)regs->di;
		event->args[5] = (__u32)regs->bp;
	} else {
		event->args[0] = regs->di;
		event->args[1] = regs->si;
		event->args[2] = regs->dx;
		event->args[3] = regs->r10;
		event->args[4] = regs->r8;
		event->args[5] = regs->r9;
	}
	event->ip = regs->ip;
	event->digest = flags & FLAG_ENTERED ? 0 : state->digest;
	event->filters = task->seccomp.filter_count.counter;
	event->effective = 0;
	event->bounding = 0;
	bpf_probe_read_kernel(&event->effective, sizeof(event->effective), &cred->cap_effective);
	bpf_probe_read_kernel(&event->bounding, sizeof(event->bounding), &cred->cap_bset);
	event->flags = flags;
	event->target = state->target - 1;
	event->pid = task->tgid;
	event->tid = task->pid;
	event->parent = look_up(parent->tgid);
	event->module = flags & FLAG_ENTERED && ret == state->module_answer ? state->module : MODULE_NONE;
	event->user_namespace = cred->user_ns->ns.inum;
	event->fsuid = cred->fsuid.val;
	event->fsgid = cred->fsgid.val;
	event->asked_count = flags & FLAG_ENTERED ? state->asked_count : 0;
	__builtin_memcpy(event->asked, state->asked, sizeof(event->asked));
	bpf_get_current_comm(event->comm, sizeof(event->comm));
}

/*
 * A record of a target; NULL when there is no room for it, which is counted. A target may take as much room as is left free: one
 * that floods gets half of the ring, and of several that do each gets as much as stays free for those that do not. Records that the
 * reader has copied out of the ring and not dealt with yet take room, too, so that it holds no more than a ring's worth of them.
 */
static __always_inline void *record_of(struct target *target, __u32 slot, __u64 size)
{
	__u64 *own = bpf_map_lookup_elem(&taken, &slot), *all, with_header = size + RECORD_HEADER;
	__u32 everything = TARGETS;
	void *record = NULL;

	all = bpf_map_lookup_elem(&taken, &everything);
	if (own && all &&
	    (__s64)(target->told_bytes - *own + told_bytes - *all + with_header) <= RING_BYTES)
		record = bpf_ringbuf_reserve(&ring, size, 0);
	if (!record) {
		__sync_fetch_and_add(&target->lost, 1);
		return NULL;
	}
	__sync_fetch_and_add(&target->told_bytes, with_header);
	__sync_fetch_and_add(&told_bytes, with_header);
	return record;
}

static __always_inline __u64 wake_up(__u64 now)
{
	__u32 zero = 0;
	__u64 *last = bpf_map_lookup_elem(&woken, &zero);

	if (!last || now - *last <= PAUSE_NS)
		return BPF_RB_NO_WAKEUP;
	*last = now;
	return BPF_RB_FORCE_WAKEUP;
}

/* A function of its own, as classify: the flags have many values, and it is the same for each. */
__attribute__((noinline)) int tell(struct state *state, __s64 ret, __u32 flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	const struct cred *cred = task->cred;
	__u32 number = (__u32)regs->orig_ax, *places = NULL, slot;
	struct target *target;

	if (!state || state->outsider)
		return 0;
	slot = state->target - 1;
	target = bpf_map_lookup_elem(&targets, &slot);
	if (!target || !target->armed)
		return 0;
	if (!(flags & FLAG_ENTERED) && state->digested != task->seccomp.filter)
		digest_filters(state);
	if (task->ptrace)
		flags |= FLAG_PTRACED;
	/* PFA_NO_NEW_PRIVS is bit 0. */
	if (task->atomic_flags & 1)
		flags |= FLAG_NO_NEW_PRIVS;
	if (number < 1024) {
		__u32 row = number + (flags & FLAG_COMPAT ? 1024 : 0);

		places = bpf_map_lookup_elem(&strings, &row);
	}
	if (places && *places) {
		struct event_with_texts *with = record_of(target, slot, sizeof(*with));
		__u32 left = *places;

		if (!with)
			return 0;
		fill(&with->event, task, state, regs, cred, ret, flags | FLAG_TEXTS);
		for (__u32 i = 0; i < TEXTS; i++) {
			__u32 place = (left & 0xff) - 1;

			left >>= 8;
			if (place >= 6 ||
			    bpf_probe_read_user_str(with->texts[i], TEXT, (void *)with->event.args[place]) < 0)
				with->texts[i][0] = 0;
		}
		bpf_ringbuf_submit(with, wake_up(with->event.boot_ns));
	} else {
		struct event *event = record_of(target, slot, sizeof(*event));

		if (!event)
			return 0;
		fill(event, task, state, regs, cred, ret, flags);
		bpf_ringbuf_submit(event, wake_up(event->boot_ns));
	}
	return 0;
}

#endif
