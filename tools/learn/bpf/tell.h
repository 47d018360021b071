/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* How one event is told, and what found no room is counted. */
#ifndef PLIM_RECORD_TELL_H
#define PLIM_RECORD_TELL_H

#include "plim_kernel.h"
#include "record.h"

#define READ(to, from) bpf_probe_read_kernel(&(to), sizeof(to), &(from))

/* What was seen and found no room: 0 in the maps, 1 in the ring. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} ring SEC(".maps");

static __always_inline void missed(__u32 where)
{
	__u64 *count = bpf_map_lookup_elem(&lost, &where);

	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline struct event *begin(struct task_struct *task, __u32 what, __u32 flags, __u32 number)
{
	struct event *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (!event) {
		missed(1);
		return NULL;
	}
	__builtin_memset(event, 0, __builtin_offsetof(struct event, part));
	event->what = what;
	event->flags = flags;
	event->number = number;
	event->pid = task->tgid;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	event->text[0] = 0;
	return event;
}

#endif
