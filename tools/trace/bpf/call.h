/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The call that a task is in, and what its end may mean. */
#ifndef PLIM_TRACE_CALL_H
#define PLIM_TRACE_CALL_H

#include "state.h"

#define EPERM 1
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EMFILE 24
#define EFBIG 27
#define ENOSPC 28
#define EROFS 30
/* The first number, of 32 bits, that is an error (MAX_ERRNO). */
#define FIRST_ERROR 0xfffff001

static __always_inline bool is_compat(struct task_struct *task)
{
	return task->thread_info.status & TS_COMPAT;
}

static __always_inline void keep_call(struct state *state, struct pt_regs *regs, __s64 number)
{
	state->number = number;
	state->words[0] = regs->ip;
	state->words[1] = regs->di;
	state->words[2] = regs->si;
	state->words[3] = regs->dx;
	state->words[4] = regs->r10;
	state->words[5] = regs->r8;
	state->words[6] = regs->r9;
	state->words[7] = regs->bx;
	state->words[8] = regs->cx;
	state->words[9] = regs->bp;
	state->in_call = true;
}

static __always_inline bool is_kept(struct state *state, struct pt_regs *regs)
{
	return state->in_call && state->number == (__s64)regs->orig_ax && state->words[0] == regs->ip &&
	       state->words[1] == regs->di && state->words[2] == regs->si && state->words[3] == regs->dx &&
	       state->words[4] == regs->r10 && state->words[5] == regs->r8 && state->words[6] == regs->r9 &&
	       state->words[7] == regs->bx && state->words[8] == regs->cx && state->words[9] == regs->bp;
}

/* That the same call was let through before says nothing: whoever decides may be another one since. */
static __always_inline bool is_doubtful(struct task_struct *task, struct state *state)
{
	return task->seccomp.mode >= 2 && !state->end_is_seen &&
	       (task->ptrace || (__u32)task->seccomp.filter_count.counter != state->filters);
}

/* fork, vfork, clone, clone3, unshare, execve, execveat; mlock, mlockall, mlock2; timer_create, rt_sigqueueinfo, rt_tgsigqueueinfo. */
static __always_inline bool may_meet_limit(__s64 number)
{
	switch (number) {
	case 56 ... 59:
	case 272:
	case 322:
	case 435:
	case 149:
	case 151:
	case 325:
	case 222:
	case 129:
	case 297:
		return true;
	}
	return false;
}

/* Which errors of a call that was entered may be a refusal; the reader judges. */
static __always_inline bool may_be_refusal(struct state *state, __s64 number, __s64 ret, bool compat)
{
	switch (ret) {
	case -EPERM:
	case -EACCES:
	case -EMFILE:
	case -EROFS:
		return true;
	case -EFBIG:
		return state->xfsz;
	case -EAGAIN:
	case -ENOMEM:
		if (state->asked_count)
			return true;
		/* fallthrough */
	case -ENOSPC:
		/* Callers ask again and again by design; the reader has no use for them but where a limit is met. */
		return compat || may_meet_limit(number);
	}
	return false;
}

/* What a call returned, of 32 bits under the i386 table. */
static __always_inline __s64 returned(__s64 ret, bool compat)
{
	return compat && (ret < 0 || ret > 0x7fffffff) ? (__s64)(__s32)ret : ret;
}

#endif
