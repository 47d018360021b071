/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Capabilities that were asked for in a call and refused: by the tracepoint of Linux 6.18, or behind the function before. */
#ifndef PLIM_TRACE_CAPABILITY_H
#define PLIM_TRACE_CAPABILITY_H

#include "target.h"

#define CAP_OPT_NOAUDIT 2

static __always_inline void remember(struct task_struct *task, const struct cred *cred,
				     struct user_namespace *user_ns, int capability, bool quietly)
{
	struct state *state = traced(task, false);
	struct asked *asked;
	__u32 at, inode = 0;

	if (!state || !state->in_call)
		return;
	bpf_probe_read_kernel(&inode, sizeof(inode), &user_ns->ns.inum);
	state->module = MODULE_NONE;
	at = state->asked_count;
	/* Asked again right away (for each of many files) counts once. */
	if (at > 0 && state->asked[(at - 1) & (ASKED - 1)].capability == (__u8)capability &&
	    state->asked[(at - 1) & (ASKED - 1)].user_namespace == inode)
		return;
	asked = &state->asked[at & (ASKED - 1)];
	asked->capability = capability;
	asked->flags = (cred == look_up(task->real_cred) ? ASKED_AS_ITSELF : 0) | (quietly ? ASKED_QUIETLY : 0);
	asked->user_namespace = inode;
	state->asked_count = at + 1;
}

/* Linux 6.18: cap_capable(cred, target_ns, capable_ns, cap, ret). */
SEC("raw_tp/cap_capable")
int capable(__u64 *ctx)
{
	if ((int)ctx[4] != 0)
		remember(bpf_get_current_task_btf(), (const struct cred *)ctx[0], (struct user_namespace *)ctx[1],
			 (int)ctx[3], false);
	return 0;
}

SEC("tp/capability/cap_capable")
int capable_perf(struct perf_cap_capable *entry)
{
	if (entry->ret != 0)
		remember(bpf_get_current_task_btf(), (const struct cred *)entry->cred,
			 (struct user_namespace *)entry->target_ns, entry->cap, false);
	return 0;
}

/* Before: int cap_capable(cred, targ_ns, cap, opts). */
SEC("fexit/cap_capable")
int capable_exit(__u64 *ctx)
{
	if ((int)ctx[4] != 0)
		remember(bpf_get_current_task_btf(), (const struct cred *)ctx[0], (struct user_namespace *)ctx[1],
			 (int)ctx[2], (__u32)ctx[3] & CAP_OPT_NOAUDIT);
	return 0;
}

#endif
