/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What security modules answer in a call, behind functions of theirs: where the kernel allows fexit. A module has a function for
 * each thing that it may refuse, and each program takes its time to load; so this is not all of them.
 */
#ifndef PLIM_TRACE_MODULE_H
#define PLIM_TRACE_MODULE_H

#include "target.h"

static __always_inline void answered(__s32 answer, enum module module)
{
	struct state *state;

	if (answer == 0)
		return;
	state = traced(bpf_get_current_task_btf(), false);
	if (!state || !state->in_call)
		return;
	state->module = module;
	state->module_answer = answer;
}

/* security/landlock/fs.c: int hook_file_open(struct file *file). */
SEC("fexit/hook_file_open")
int landlock_file_open(__u64 *ctx)
{
	answered((__s32)ctx[1], MODULE_LANDLOCK);
	return 0;
}

#endif
