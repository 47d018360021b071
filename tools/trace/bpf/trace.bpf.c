// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Every refused system call of the targets, at its exit.
 *
 * A filter refuses before sys_enter fires: an exit without an enter is a filter's doing. What can make an enter be
 * missed (a task that was in a call when the tracer came, a program run that was skipped) is told by a flag, and an exit
 * whose number the kernel's own bitmap always allows is never told as one.
 *
 * Only sys_enter reads what it is given as the kernel's types (tp_btf): up to Linux 6.19 the kernel searches all of its types
 * for each such program that is loaded, some 10 ms.
 *
 * Both tracepoints are passed by every call of every process, so their programs do little. The exit of a call that did
 * not fail is not looked at: sys_enter keeps all that a filter sees of a call, and a filter decides the same about the
 * same call. So a refused call is never mistaken for an earlier one that was let through, although that one's end was
 * not seen. Where somebody else decides (a tracer, a supervisor) every exit is looked at.
 *
 * From Linux 7.0 on what stands at a raw tracepoint can be preempted, and the kernel skips its program for whoever runs meanwhile on
 * that processor. Around perf's probes of the same tracepoints preemption is off: each program is there a second time, NAME_perf,
 * for kernels where the reader takes those. They cost more. The signal's is there once: interrupts are off around it; so are those of
 * security modules (module.h): where one is skipped the refusal is told all the same, and its reason is unknown.
 *
 * Attached in this order: cap_capable, signals, deaths, execs, sys_enter, sys_exit; detached in the opposite one.
 * Without the last two and without cap_capable, `refused` (or `not_permitted`) tells what filters refuse and nothing else:
 * calls of processes that have no filter cost nothing then.
 */
#include "call.h"
#include "capability.h"
#include "filters.h"
#include "module.h"
#include "rings.h"
#include "target.h"
#include "tell.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define SIGXFSZ 25
#define SIGSYS 31
#define SYS_SECCOMP 1
#define SECCOMP_MODE_DEAD 3

PLIM_KERNEL_TYPES
struct kernel_siginfo {
	int si_code;
};
PLIM_KERNEL_TYPES_END

/* `key` tells the task from others as long as it lives; `regs` are looked for where they are not given. */
static __always_inline int enter(__u64 key, struct pt_regs *regs, __s64 number)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct stranger *stranger = &strangers[cpu & (PROCESSORS - 1)];
	__u64 changes = tasks_ended + setting(SETTING_GENERATION);
	struct task_struct *task;
	struct state *state;

	/* Nearly every call of others ends here: the task itself is looked at once each time that it gets the processor. */
	if (stranger->key == key && stranger->changes == changes)
		return 0;
	task = bpf_get_current_task_btf();
	state = bpf_task_storage_get(&states, task, NULL, 0);
	if (!state) {
		if (!may_be_traced(task)) {
			if (cpu < PROCESSORS) {
				/* In this order: of two that interrupt each other none leaves its key with what the other saw. */
				stranger->key = key;
				asm volatile("" ::: "memory");
				stranger->changes = changes;
			}
			return 0;
		}
		state = bpf_task_storage_get(&states, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!state)
			return 0;
	}
	if (!belongs(task, state))
		return 0;
	keep_call(state, regs ? regs : (struct pt_regs *)bpf_task_pt_regs(task), number);
	state->xfsz = false;
	state->module = MODULE_NONE;
	state->asked_count = 0;
	if ((__u32)task->seccomp.filter_count.counter != state->filters)
		look_at_filters(state);
	if (task->ptrace)
		every_exit = true;
	state->end_is_seen = every_exit;
	return 0;
}

SEC("tp_btf/sys_enter")
int sys_enter(__u64 *ctx)
{
	return enter(ctx[0], (struct pt_regs *)ctx[0], (__s64)ctx[1]);
}

SEC("tp/raw_syscalls/sys_enter")
int sys_enter_perf(struct perf_sys_enter *entry)
{
	return enter(bpf_get_current_task(), NULL, entry->id);
}

/* The engine's work is over once its target executes a command. */
static __always_inline int execute(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct state *state;
	struct target *target;
	bool arrived;
	__u32 slot;

	/* Since it was judged it may have been moved into a target's cgroup. */
	if (setting(SETTING_CGROUPS)) {
		state = bpf_task_storage_get(&states, task, NULL, 0);
		if (state)
			state->generation = 0;
	}
	state = traced(task, false);
	if (!state)
		return 0;
	arrived = state->outsider;
	state->outsider = false;
	slot = state->target - 1;
	target = bpf_map_lookup_elem(&targets, &slot);
	if (target && !target->armed)
		target->armed = 1;
	if (arrived && task->seccomp.mode >= 2)
		tell(state, 0, FLAG_ARRIVED);
	return 0;
}

SEC("raw_tp/sched_process_exec")
int executed(void *ctx)
{
	return execute();
}

SEC("tp/sched/sched_process_exec")
int executed_perf(void *entry)
{
	return execute();
}

/* signal_generate(sig, info, task, group, result): a filter's SIGSYS is raised by the task itself. */
SEC("raw_tp/signal_generate")
int signal_generate(__u64 *ctx)
{
	struct kernel_siginfo *info;
	struct task_struct *task;
	struct pt_regs *regs;
	struct state *state;
	__u32 flags = FLAG_SIGSYS;
	int code = 0;

	if ((int)ctx[0] == SIGXFSZ) {
		state = traced(bpf_get_current_task_btf(), false);
		if (state)
			state->xfsz = state->in_call;
		return 0;
	}
	if ((int)ctx[0] != SIGSYS)
		return 0;
	/* 0 and 1 stand for signals without more to say; the verifier of 6.12 knows that and takes it for no pointer. */
	info = (struct kernel_siginfo *)ctx[1];
	bpf_probe_read_kernel(&code, sizeof(code), &info->si_code);
	if (code != SYS_SECCOMP)
		return 0;
	task = bpf_get_current_task_btf();
	state = traced(task, true);
	if (!state)
		return 0;
	if (setting(SETTING_FILTERS_ALONE)) {
		state->sigsys = true;
		return 0;
	}
	/* In a call that was entered it is the task's own doing: rt_sigqueueinfo(2) sends any code to oneself. */
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	if (is_kept(state, regs)) {
		if (!is_doubtful(task, state))
			return 0;
		flags |= FLAG_STALE;
	}
	if (task->seccomp.mode == SECCOMP_MODE_DEAD) {
		flags |= FLAG_KILLED;
		state->told_death = true;
	}
	tell(state, (__s64)regs->orig_ax, flags | (is_compat(task) ? FLAG_COMPAT : 0));
	return 0;
}

static __always_inline int leave(__s64 ret)
{
	bool first, entered, doubtful;
	struct task_struct *task;
	struct pt_regs *regs;
	struct state *state;
	__u32 flags = 0;
	__s64 number;

	/* Nearly every call ends here. The return of fork in the new task does, too: it is 0. */
	if ((__u32)ret < FIRST_ERROR && !every_exit)
		return 0;
	task = bpf_get_current_task_btf();
	state = traced(task, true);
	if (!state)
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	number = (__s64)regs->orig_ax;
	first = !state->seen && !state->in_call;
	entered = is_kept(state, regs);
	doubtful = entered && is_doubtful(task, state);
	state->seen = true;
	state->in_call = false;
	if (number < 0)
		return 0; /* rt_sigreturn, and calls that a tracer took back */
	if (is_compat(task))
		flags |= FLAG_COMPAT;
	ret = returned(ret, flags & FLAG_COMPAT);
	if (ret >= 0)
		return 0;
	if (entered && !doubtful) {
		if (!may_be_refusal(state, number, ret, flags & FLAG_COMPAT))
			return 0;
		tell(state, ret, flags | FLAG_ENTERED | (state->xfsz ? FLAG_XFSZ : 0));
		return 0;
	}
	/* No enter: a filter, if the task has one. */
	if (task->seccomp.mode < 2)
		return 0;
	if ((__u32)task->seccomp.filter_count.counter != state->filters)
		look_at_filters(state);
	if (task->ptrace)
		every_exit = true;
	if (doubtful)
		flags |= FLAG_STALE;
	if (first && task->start_boottime < setting(SETTING_ATTACHED_BOOT_NS))
		flags |= FLAG_OLDER;
	flags |= bitmap_flags(task, number, flags & FLAG_COMPAT);
	if (flags & FLAG_ALWAYS_ALLOWED)
		return 0;
	tell(state, ret, flags);
	return 0;
}

SEC("raw_tp/sys_exit")
int sys_exit(__u64 *ctx)
{
	return leave((__s64)ctx[1]);
}

SEC("tp/raw_syscalls/sys_exit")
int sys_exit_perf(struct perf_sys_exit *entry)
{
	return leave(entry->ret);
}

/*
 * A filter did not let a call through, seen without the tracepoints of calls. What the call returns, or the signal, was
 * decided by then.
 */
static int not_let_through(void)
{
	struct task_struct *task;
	struct pt_regs *regs;
	struct state *state;
	__u32 flags = 0;
	bool sigsys;
	__s64 ret;

	task = bpf_get_current_task_btf();
	state = traced(task, true);
	if (!state)
		return 0;
	sigsys = state->sigsys;
	state->sigsys = false;
	regs = (struct pt_regs *)bpf_task_pt_regs(task);
	if ((__s64)regs->orig_ax < 0)
		return 0; /* a tracer took the call back */
	if (is_compat(task))
		flags |= FLAG_COMPAT;
	ret = returned((__s64)regs->ax, flags & FLAG_COMPAT);
	if (task->seccomp.mode == SECCOMP_MODE_DEAD) {
		flags |= FLAG_KILLED | FLAG_SIGSYS;
		state->told_death = true;
	} else if (ret >= 0) {
		/* Of a call that traps the number is put back. */
		if (!sigsys || ret != (__s64)regs->orig_ax)
			return 0;
		flags |= FLAG_SIGSYS;
	}
	tell(state, ret, flags | bitmap_flags(task, (__s64)regs->orig_ax, flags & FLAG_COMPAT));
	return 0;
}

/* int: 0, or -1 for a call that is not made. */
SEC("fexit/__secure_computing")
int refused(__u64 *ctx)
{
	__u64 verdict = 0;

	bpf_get_func_ret(ctx, &verdict);
	return (__s32)verdict == -1 ? not_let_through() : 0;
}

/* What it has become in Linux 7: bool, of which the ABI leaves all but the lowest byte undefined. */
SEC("fexit/__seccomp_permit_syscall")
int not_permitted(__u64 *ctx)
{
	__u64 verdict = 1;

	bpf_get_func_ret(ctx, &verdict);
	return (__u8)verdict ? 0 : not_let_through();
}

/* Every end; and KILL_THREAD beside other threads: no signal and no exit of the call, only the end. */
static __always_inline int end(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct state *state;

	__sync_fetch_and_add(&tasks_ended, 1);
	if (task->seccomp.mode != SECCOMP_MODE_DEAD)
		return 0;
	state = traced(task, true);
	if (!state || state->told_death)
		return 0;
	state->told_death = true;
	tell(state, 0, FLAG_KILLED | (is_compat(task) ? FLAG_COMPAT : 0));
	return 0;
}

SEC("raw_tp/sched_process_exit")
int ended(void *ctx)
{
	return end();
}

SEC("tp/sched/sched_process_exit")
int ended_perf(void *entry)
{
	return end();
}
