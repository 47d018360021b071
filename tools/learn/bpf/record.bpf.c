// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What one container uses: its system calls with the arguments that tell what they are about, the capabilities that the kernel
 * asked for, the files that it made or changed, the devices that it opened, the sockets that it bound.
 *
 * sys_enter fires behind seccomp, so a call that is counted was made. Calls are counted in the kernel: what a container does
 * a million times costs one entry.
 *
 * Each program at a tracepoint is there twice, as in `plim trace`: NAME_perf is not skipped where the kernel preempts the other one.
 */
#include "files.h"
#include "sockets.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Forked and not yet executed anything (include/linux/sched.h). */
#define PF_FORKNOEXEC 0x40
#define X32_BIT 0x40000000
#define ROWS 1024

/* The pid namespace of the container: its inode, and how deep it lies. */
const volatile __u32 target_inode = 0;
const volatile __u32 target_level = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct call);
	__type(value, __u64);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct asked);
	__type(value, __u64);
} capabilities SEC(".maps");

/* By x86-64's numbers, and by i386's from ROWS on. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * ROWS);
	__type(key, __u32);
	__type(value, struct telling);
} telling SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * ROWS);
	__type(key, __u32);
	__type(value, struct change);
} changes SEC(".maps");

static __always_inline void count(void *map, const void *key)
{
	__u64 *count = bpf_map_lookup_elem(map, key), one = 1;

	if (!count && bpf_map_update_elem(map, key, &one, BPF_NOEXIST) == 0)
		return;
	/* Another processor put it there meanwhile, or there is no room. */
	if (!count)
		count = bpf_map_lookup_elem(map, key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		missed(0);
}

/* Whether a process is one of the container: its namespaces, outermost first, go through the container's. */
static __always_inline bool inside(struct pid *pid)
{
	return pid->level >= target_level && pid_namespace_at(pid, target_level) == target_inode;
}

/*
 * Flags of what the current task does. A child of somebody outside that has not executed anything yet is the runtime's own (also
 * under docker exec); it is no business of the container before the filter is there.
 */
static __always_inline bool seen(struct task_struct *task, __u32 *flags)
{
	if (!inside(task->thread_pid))
		return false;
	*flags = task->thread_info.status & TS_COMPAT ? SEEN_COMPAT : 0;
	if ((task->flags & PF_FORKNOEXEC) && !inside(task->real_parent->thread_pid)) {
		if (task->seccomp.mode < 2)
			return false;
		*flags |= SEEN_RUNTIME;
	}
	return true;
}

static __always_inline __u32 row_of(__u32 number, __u32 flags)
{
	number &= ~X32_BIT;
	if (number >= ROWS)
		return 2 * ROWS;
	return flags & SEEN_COMPAT ? number + ROWS : number;
}

static __always_inline __u64 argument(struct pt_regs *regs, __u32 flags, __u32 index)
{
	if (flags & SEEN_COMPAT) {
		switch (index) {
		case 0:
			return (__u32)regs->bx;
		case 1:
			return (__u32)regs->cx;
		case 2:
			return (__u32)regs->dx;
		case 3:
			return (__u32)regs->si;
		case 4:
			return (__u32)regs->di;
		}
		return (__u32)regs->bp;
	}
	switch (index) {
	case 0:
		return regs->di;
	case 1:
		return regs->si;
	case 2:
		return regs->dx;
	case 3:
		return regs->r10;
	case 4:
		return regs->r8;
	}
	return regs->r9;
}

static __always_inline int enter(struct pt_regs *regs, __u32 number)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct telling *tells;
	struct call call = {};
	__u32 row;

	if (!seen(task, &call.flags))
		return 0;
	call.number = number;
	row = row_of(call.number, call.flags);
	tells = bpf_map_lookup_elem(&telling, &row);
	if (tells && tells->places[0]) {
		call.args[0] = argument(regs, call.flags, tells->places[0] - 1) & tells->masks[0];
		if (tells->places[1])
			call.args[1] = argument(regs, call.flags, tells->places[1] - 1) & tells->masks[1];
	}
	count(&calls, &call);
	return 0;
}

SEC("tp_btf/sys_enter")
int sys_enter(__u64 *ctx)
{
	return enter((struct pt_regs *)ctx[0], (__u32)ctx[1]);
}

SEC("tp/raw_syscalls/sys_enter")
int sys_enter_perf(struct perf_sys_enter *entry)
{
	return enter((struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf()), (__u32)entry->id);
}

static __always_inline void capability(const struct cred *cred, __u32 user_namespace, int number, bool granted)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct asked asked = {};

	if (!seen(task, &asked.flags) || asked.flags & SEEN_RUNTIME)
		return;
	asked.number = (__s32)((struct pt_regs *)bpf_task_pt_regs(task))->orig_ax;
	asked.flags |= (granted ? SEEN_GRANTED : 0) | (cred == task->real_cred ? SEEN_AS_ITSELF : 0);
	asked.user_namespace = user_namespace;
	asked.capability = number;
	count(&capabilities, &asked);
}

/* Linux 6.18: cap_capable(cred, target_ns, capable_ns, cap, ret). */
SEC("tp_btf/cap_capable")
int capable(__u64 *ctx)
{
	capability((const struct cred *)ctx[0], ((struct user_namespace *)ctx[1])->ns.inum, (int)ctx[3], (int)ctx[4] == 0);
	return 0;
}

SEC("tp/capability/cap_capable")
int capable_perf(struct perf_cap_capable *entry)
{
	__u32 user_namespace = 0;

	READ(user_namespace, ((struct user_namespace *)entry->target_ns)->ns.inum);
	capability((const struct cred *)entry->cred, user_namespace, entry->cap, entry->ret == 0);
	return 0;
}

/* Before: int cap_capable(cred, targ_ns, cap, opts). */
SEC("fexit/cap_capable")
int capable_exit(__u64 *ctx)
{
	capability((const struct cred *)ctx[0], ((struct user_namespace *)ctx[1])->ns.inum, (int)ctx[2], (int)ctx[4] == 0);
	return 0;
}

static __always_inline int leave(struct pt_regs *regs, __s64 ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 flags, number, row;
	struct change *change;

	if (ret < 0 || !seen(task, &flags) || flags & SEEN_RUNTIME)
		return 0;
	number = (__u32)regs->orig_ax;
	row = row_of(number, flags);
	change = bpf_map_lookup_elem(&changes, &row);
	if (!change)
		return 0;
	switch (change->what) {
	case WHAT_OPEN:
		opened(task, WHAT_OPEN, flags, number, (__u32)ret);
		break;
	case WHAT_FD:
		opened(task, WHAT_FD, flags, number, (__u32)argument(regs, flags, change->path - 1));
		break;
	case WHAT_PATH:
		named(task, flags, number, argument(regs, flags, change->path - 1), change->base != 0,
		      (__u32)argument(regs, flags, change->base - 1));
		if (change->second_path)
			named(task, flags | SEEN_CREATED, number, argument(regs, flags, change->second_path - 1),
			      change->second_base != 0, (__u32)argument(regs, flags, change->second_base - 1));
		break;
	case WHAT_BIND:
	case WHAT_LISTEN:
		socket(task, change->what, flags, number, (__u32)argument(regs, flags, 0), argument(regs, flags, 1));
		break;
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int sys_exit(__u64 *ctx)
{
	return leave((struct pt_regs *)ctx[0], (__s64)ctx[1]);
}

SEC("tp/raw_syscalls/sys_exit")
int sys_exit_perf(struct perf_sys_exit *entry)
{
	return leave((struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf()), entry->ret);
}

/* A program that gives its caller more than it had: no_new_privs would take that away. */
static __always_inline int execute(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct cred *cred = task->cred;
	__u64 permitted = 0, ambient = 0;
	struct event *event;

	if (!inside(task->thread_pid))
		return 0;
	READ(permitted, cred->cap_permitted);
	READ(ambient, cred->cap_ambient);
	if (cred->euid.val == cred->uid.val && (cred->euid.val == 0 || !(permitted & ~ambient)))
		return 0;
	event = begin(task, WHAT_EXEC, 0, 0);
	if (event)
		bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int executed(void *ctx)
{
	return execute();
}

SEC("tp/sched/sched_process_exec")
int executed_perf(void *entry)
{
	return execute();
}
