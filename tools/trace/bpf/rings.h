/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Operations of io_uring: they pass neither the tracepoints of calls nor filters, and what they are refused is not seen. So they are
 * counted, each in the task that submits it, which is the kernel's own thread of the target's process where that polls
 * (IORING_SETUP_SQPOLL): rings that were made before the tracer came, and those of others, count as well.
 *
 * An entry either becomes a request, at io_uring_submit_req (io_uring_submit_sqe before Linux 6.4), or fails before that, at
 * io_uring_req_failed: the reader attaches the program to those of them that the kernel has.
 */
#ifndef PLIM_TRACE_RINGS_H
#define PLIM_TRACE_RINGS_H

#include "target.h"

static __always_inline int submitted(void)
{
	struct state *state = traced(bpf_get_current_task_btf(), true);
	struct target *target;
	__u32 slot;

	if (!state || state->outsider)
		return 0;
	slot = state->target - 1;
	target = bpf_map_lookup_elem(&targets, &slot);
	if (target && target->armed)
		__sync_fetch_and_add(&target->ring_operations, 1);
	return 0;
}

SEC("raw_tp/io_uring_submit_req")
int rings(void *ctx)
{
	return submitted();
}

SEC("tp/io_uring/io_uring_submit_req")
int rings_perf(void *entry)
{
	return submitted();
}

#endif
