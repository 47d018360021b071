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
 * Attached in this order: cap_capable, signals, deaths, execs, sys_enter, sys_exit; detached in the opposite one.
 * Without the last two and without cap_capable, `refused` tells what filters refuse and nothing else: calls of processes
 * that have no filter cost nothing then.
 */
#include "event.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define SIGXFSZ 25
#define SIGSYS 31
#define SYS_SECCOMP 1
#define TS_COMPAT 2
#define SECCOMP_MODE_DEAD 3
#define CAP_OPT_NOAUDIT 2
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
/* What a filter sees of a call: the instruction pointer and the registers that carry arguments, of both tables. */
#define CALL_WORDS 10
/* Pid namespaces nest 32 deep (MAX_PID_NS_LEVEL). */
#define LEVELS 33
/* Deeper than engines nest cgroups. */
#define CGROUP_LEVELS 16
/* More filters than a task stands on; with more it is treated as if one of them asked a supervisor. */
#define FILTERS 64
/* Those beyond look at the task each time. */
#define PROCESSORS 512
/* The longest filter: BPF_MAXINSNS. */
#define INSTRUCTIONS 4096
/* FNV-1a over words of 64 bits, one for each instruction, the newest filter first: event.rs does the same. */
#define DIGEST_BASIS 0xcbf29ce484222325ULL
#define DIGEST_PRIME 0x100000001b3ULL
/* struct upid: a number and a pointer. */
#define UPID_SIZE 16
/*
 * The reader is woken at most this often by one processor: at once after a pause, so that it still finds the process, and
 * not for each event of a flood, as an interrupt costs many times an event. In this time a processor fills 1 MB of the ring
 * at most. It looks every some 20 ms by itself, too.
 */
#define PAUSE_NS 1000000

PLIM_KERNEL_TYPES
struct ns_common {
	unsigned int inum;
};
struct user_namespace {
	struct ns_common ns;
};
struct pid_namespace {
	struct ns_common ns;
};
struct upid {
	int nr;
	struct pid_namespace *ns;
};
struct pid {
	unsigned int level;
	struct upid numbers[1];
};
typedef struct {
	__u32 val;
} kuid_t;
typedef struct {
	__u32 val;
} kgid_t;
/* Two words of 32 bits before Linux 6.3, one of 64 since: read as 8 bytes. */
typedef struct {
	__u64 val;
} kernel_cap_t;
struct cred {
	kuid_t fsuid;
	kgid_t fsgid;
	kernel_cap_t cap_effective;
	kernel_cap_t cap_bset;
	struct user_namespace *user_ns;
};
struct action_cache {
	unsigned long allow_native[1];
	unsigned long allow_compat[1];
};
struct notification;
struct sock_fprog_kern {
	__u16 len;
	void *filter;
};
struct bpf_prog {
	struct sock_fprog_kern *orig_prog;
};
struct seccomp_filter {
	struct action_cache cache;
	struct notification *notif;
	struct seccomp_filter *prev;
	struct bpf_prog *prog;
};
typedef struct {
	int counter;
} atomic_t;
struct seccomp {
	int mode;
	atomic_t filter_count;
	struct seccomp_filter *filter;
};
struct thread_info {
	__u32 status;
};
struct kernfs_node {
	__u64 id;
};
struct cgroup;
struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};
struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};
struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp;
};
/* Which one it is depends on the kernel's configuration. */
enum cgroup_subsys_id {
	pids_cgrp_id,
};
struct task_struct {
	struct thread_info thread_info;
	unsigned int ptrace;
	unsigned long atomic_flags;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct pid *thread_pid;
	__u64 start_boottime;
	const struct cred *real_cred;
	const struct cred *cred;
	struct css_set *cgroups;
	struct seccomp seccomp;
};
struct pt_regs {
	unsigned long bp;
	unsigned long bx;
	unsigned long r10;
	unsigned long r9;
	unsigned long r8;
	unsigned long ax;
	unsigned long cx;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
	unsigned long ip;
};
struct kernel_siginfo {
	int si_code;
};
PLIM_KERNEL_TYPES_END

/* By enum setting; written by the reader alone. */
volatile __u64 settings[SETTINGS] SEC(".data") = {};

/*
 * What each processor found last to be no target's: the registers on the task's kernel stack, and how many tasks had ended
 * and targets had been added by then. A stack is used again only after a task has ended, and both numbers only grow.
 */
struct stranger {
	__u64 regs;
	__u64 changes;
	/* A cache line for each processor. */
	__u64 zero[6];
};
struct stranger strangers[PROCESSORS] = {};
volatile __u64 tasks_ended = 0;

/*
 * Some task of a target is traced, or asks a supervisor: the same call may be let through once and be refused the next
 * time, so that exits that did not fail are looked at too.
 */
volatile bool every_exit = false;

struct instructions {
	__u64 words[INSTRUCTIONS];
};

struct state {
	__u32 generation;
	/* Slot + 1, 0 for none. */
	__u32 target;
	/* The call that was entered last. */
	__s64 number;
	__u64 words[CALL_WORDS];
	/* How many filters the task stood on when they were looked at last: a stack only grows. */
	__u32 filters;
	/* The filters of which `digest` was made. */
	struct seccomp_filter *digested;
	__u64 digest;
	/* That call was not seen to end. */
	bool in_call;
	/* Its end is looked at, whatever it returns. */
	bool end_is_seen;
	/* One exit of the task was seen. */
	bool seen;
	bool sigsys;
	bool xfsz;
	bool told_death;
	/* Sent in by an engine, as by docker exec, and still the engine's own program: until its execve. */
	bool outsider;
	/* An enum module: it refused, and no capability was asked for since. */
	__u8 module;
	__u32 asked_count;
	struct asked asked[ASKED];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct state);
} states SEC(".maps");

/* Inode of a pid namespace to slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} namespaces SEC(".maps");

/* Id of a cgroup to slot: for targets that share the host's pid namespace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u32);
} cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct target);
} targets SEC(".maps");

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

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

/* When the reader was woken last (CLOCK_BOOTTIME), on each processor. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} woken SEC(".maps");

/* A filter's instructions while its digest is made. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct instructions);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 << 20);
} ring SEC(".maps");

static __always_inline __u64 setting(enum setting key)
{
	return settings[key];
}

/*
 * A field that is seldom needed. For each pointer that a program itself loads out of a task the verifier of Linux 6.18 searches
 * all types of the kernel some three times, some ms each: a program with a dozen of them takes long to load.
 */
#define look_up(field)                                                                                                 \
	({                                                                                                             \
		typeof(field) value = 0;                                                                               \
		bpf_probe_read_kernel(&value, sizeof(value), &(field));                                                \
		value;                                                                                                 \
	})

/* Slot + 1 of the target in whose cgroup, or in one below it, a task is. */
static __always_inline __u32 by_cgroup(struct task_struct *task, __u32 hierarchy)
{
	struct css_set *set = look_up(task->cgroups);
	struct cgroup_subsys_state *css = NULL;

	if (hierarchy == HIERARCHY_UNIFIED) {
		struct cgroup *leaf = look_up(set->dfl_cgrp);

		css = (struct cgroup_subsys_state *)((char *)leaf + plim_offset_of(leaf->self));
	} else if (plim_has_value(enum cgroup_subsys_id, pids_cgrp_id)) {
		char *first = (char *)set + plim_offset_of(set->subsys);

		bpf_probe_read_kernel(&css, sizeof(css),
				      first + plim_value(enum cgroup_subsys_id, pids_cgrp_id) * sizeof(css));
	}
	for (__u32 i = 0; i < CGROUP_LEVELS && css; i++) {
		struct cgroup *cgroup = NULL;
		struct kernfs_node *node = NULL;
		__u64 id = 0;
		__u32 *slot;

		bpf_probe_read_kernel(&cgroup, sizeof(cgroup), &css->cgroup);
		bpf_probe_read_kernel(&node, sizeof(node), &cgroup->kn);
		bpf_probe_read_kernel(&id, sizeof(id), &node->id);
		slot = bpf_map_lookup_elem(&cgroups, &id);
		if (slot)
			return *slot + 1;
		if (bpf_probe_read_kernel(&css, sizeof(css), &css->parent))
			break;
	}
	return 0;
}

/*
 * Slot + 1 of the target in whose pid namespace, or in one below it, the current task lives, or its parent. It never moves
 * there; into the cgroup of a target it is moved by an engine, which executes the command after that.
 * A function of its own: the verifier walks its loop once and not once for every way that leads here.
 */
__attribute__((noinline)) __u32 classify(int parent)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *whose = parent ? look_up(task->real_parent) : task;
	struct pid *pid = look_up(whose->thread_pid);
	__u32 level = look_up(pid->level), hierarchy;
	char *numbers = (char *)pid + plim_offset_of(pid->numbers);

	for (__u32 i = 0; i < LEVELS; i++) {
		struct pid_namespace *ns = NULL;
		struct upid *upid = NULL;
		__u32 inode = 0, *slot;

		if (i > level)
			break;
		bpf_probe_read_kernel(&ns, sizeof(ns), numbers + (level - i) * UPID_SIZE + plim_offset_of(upid->ns));
		bpf_probe_read_kernel(&inode, sizeof(inode), &ns->ns.inum);
		slot = bpf_map_lookup_elem(&namespaces, &inode);
		if (slot)
			return *slot + 1;
	}
	hierarchy = (__u32)setting(SETTING_CGROUPS);
	return hierarchy == HIERARCHY_NONE ? 0 : by_cgroup(whose, hierarchy);
}

/* Targets have pid namespaces of their own, or else every task may be one's. */
static __always_inline bool may_be_traced(struct task_struct *task)
{
	struct pid *pid = look_up(task->thread_pid);

	return look_up(pid->level) != 0 || setting(SETTING_HOST);
}

/* Whether the task belongs to a target; told by the target alone from then on. */
static __always_inline bool belongs(struct task_struct *task, struct state *state)
{
	__u32 generation = (__u32)setting(SETTING_GENERATION);

	if (state->generation != generation) {
		state->target = classify(0);
		state->outsider = state->target && task->start_boottime >= setting(SETTING_ATTACHED_BOOT_NS) &&
				  classify(1) != state->target;
		state->generation = generation;
	}
	return state->target;
}

/* The state of a task that belongs to a target; NULL for every other one. */
static __always_inline struct state *traced(struct task_struct *task, bool make)
{
	struct state *state = bpf_task_storage_get(&states, task, NULL, 0);

	if (!state && make && may_be_traced(task))
		state = bpf_task_storage_get(&states, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	return state && belongs(task, state) ? state : NULL;
}

static __always_inline bool is_compat(struct task_struct *task)
{
	return task->thread_info.status & TS_COMPAT;
}

/* The task stands on other filters than before. A function of its own, as classify. */
__attribute__((noinline)) int look_at_filters(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct state *state = bpf_task_storage_get(&states, task, NULL, 0);
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

/* One filter more in the digest; 0 when it cannot be read. A function of its own, as classify: it is verified once. */
__attribute__((noinline)) __u64 digest_filter(__u64 address, __u64 digest)
{
	struct seccomp_filter *filter = (struct seccomp_filter *)address;
	struct sock_fprog_kern *original = NULL;
	struct instructions *all;
	struct bpf_prog *program = NULL;
	void *from = NULL;
	__u32 zero = 0;
	__u16 length = 0;

	all = bpf_map_lookup_elem(&scratch, &zero);
	bpf_probe_read_kernel(&program, sizeof(program), &filter->prog);
	bpf_probe_read_kernel(&original, sizeof(original), &program->orig_prog);
	bpf_probe_read_kernel(&length, sizeof(length), &original->len);
	bpf_probe_read_kernel(&from, sizeof(from), &original->filter);
	if (!all || length == 0 || length > INSTRUCTIONS ||
	    bpf_probe_read_kernel(all, length * sizeof(all->words[0]), from))
		return 0;
	for (__u32 i = 0; i < INSTRUCTIONS; i++) {
		if (i >= length)
			break;
		digest = (digest ^ all->words[i]) * DIGEST_PRIME;
	}
	return digest;
}

/* The digest of the current task's filters. They are never taken away, so that an address it stood on stays theirs. */
__attribute__((noinline)) __u64 digest_filters(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct state *state = bpf_task_storage_get(&states, task, NULL, 0);
	struct seccomp_filter *filter = task->seccomp.filter;
	__u64 digest = DIGEST_BASIS, address = 0;

	if (!state)
		return 0;
	if (filter == state->digested)
		return state->digest;
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
	return state->digest;
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

SEC("tp_btf/sys_enter")
int sys_enter(__u64 *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct stranger *stranger = &strangers[cpu & (PROCESSORS - 1)];
	__u64 changes = tasks_ended + setting(SETTING_GENERATION);
	struct task_struct *task;
	struct state *state;

	/* Nearly every call of others ends here: the task itself is looked at once each time that it gets the processor. */
	if (stranger->regs == ctx[0] && stranger->changes == changes)
		return 0;
	task = bpf_get_current_task_btf();
	state = bpf_task_storage_get(&states, task, NULL, 0);
	if (!state) {
		if (!may_be_traced(task)) {
			if (cpu < PROCESSORS) {
				stranger->changes = changes;
				stranger->regs = ctx[0];
			}
			return 0;
		}
		state = bpf_task_storage_get(&states, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!state)
			return 0;
	}
	if (!belongs(task, state))
		return 0;
	keep_call(state, (struct pt_regs *)ctx[0], (__s64)ctx[1]);
	state->xfsz = false;
	state->module = MODULE_NONE;
	state->asked_count = 0;
	if ((__u32)task->seccomp.filter_count.counter != state->filters)
		look_at_filters();
	if (task->ptrace)
		every_exit = true;
	state->end_is_seen = every_exit;
	return 0;
}

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

/* Before: int cap_capable(cred, targ_ns, cap, opts). */
SEC("fexit/cap_capable")
int capable_exit(__u64 *ctx)
{
	if ((int)ctx[4] != 0)
		remember(bpf_get_current_task_btf(), (const struct cred *)ctx[0], (struct user_namespace *)ctx[1],
			 (int)ctx[2], (__u32)ctx[3] & CAP_OPT_NOAUDIT);
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
	event->module = flags & FLAG_ENTERED ? state->module : MODULE_NONE;
	event->user_namespace = cred->user_ns->ns.inum;
	event->fsuid = cred->fsuid.val;
	event->fsgid = cred->fsgid.val;
	event->asked_count = flags & FLAG_ENTERED ? state->asked_count : 0;
	__builtin_memcpy(event->asked, state->asked, sizeof(event->asked));
	bpf_get_current_comm(event->comm, sizeof(event->comm));
}

static __always_inline void missed(void)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&lost, &zero);

	if (count)
		(*count)++;
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
__attribute__((noinline)) int tell(__s64 ret, __u32 flags)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	struct state *state = bpf_task_storage_get(&states, task, NULL, 0);
	const struct cred *cred = task->cred;
	__u32 number = (__u32)regs->orig_ax, *places = NULL, slot;
	struct target *target;

	if (!state || state->outsider)
		return 0;
	slot = state->target - 1;
	target = bpf_map_lookup_elem(&targets, &slot);
	if (!target || !target->armed)
		return 0;
	if (!(flags & FLAG_ENTERED))
		digest_filters();
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
		struct event_with_texts *with = bpf_ringbuf_reserve(&ring, sizeof(*with), 0);
		__u32 left = *places;

		if (!with) {
			missed();
			return 0;
		}
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
		struct event *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

		if (!event) {
			missed();
			return 0;
		}
		fill(event, task, state, regs, cred, ret, flags);
		bpf_ringbuf_submit(event, wake_up(event->boot_ns));
	}
	return 0;
}

/* The engine's work is over once its target executes a command. */
SEC("raw_tp/sched_process_exec")
int executed(__u64 *ctx)
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
		tell(0, FLAG_ARRIVED);
	return 0;
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
	tell((__s64)regs->orig_ax, flags | (is_compat(task) ? FLAG_COMPAT : 0));
	return 0;
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

SEC("raw_tp/sys_exit")
int sys_exit(__u64 *ctx)
{
	__s64 ret = (__s64)ctx[1];
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
		tell(ret, flags | FLAG_ENTERED | (state->xfsz ? FLAG_XFSZ : 0));
		return 0;
	}
	/* No enter: a filter, if the task has one. */
	if (task->seccomp.mode < 2)
		return 0;
	if ((__u32)task->seccomp.filter_count.counter != state->filters)
		look_at_filters();
	if (task->ptrace)
		every_exit = true;
	if (doubtful)
		flags |= FLAG_STALE;
	if (first && task->start_boottime < setting(SETTING_ATTACHED_BOOT_NS))
		flags |= FLAG_OLDER;
	flags |= bitmap_flags(task, number, flags & FLAG_COMPAT);
	if (flags & FLAG_ALWAYS_ALLOWED)
		return 0;
	tell(ret, flags);
	return 0;
}

/*
 * Whether a filter lets a call through, without the tracepoints of calls: -1 for one that is not made. What it returns, or
 * the signal, was decided by then.
 */
SEC("fexit/__secure_computing")
int refused(__u64 *ctx)
{
	struct task_struct *task;
	struct pt_regs *regs;
	struct state *state;
	__u64 verdict = 0;
	__u32 flags = 0;
	bool sigsys;
	__s64 ret;

	bpf_get_func_ret(ctx, &verdict);
	if ((__s32)verdict != -1)
		return 0;
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
	tell(ret, flags | bitmap_flags(task, (__s64)regs->orig_ax, flags & FLAG_COMPAT));
	return 0;
}

/* Every end; and KILL_THREAD beside other threads: no signal and no exit of the call, only the end. */
SEC("raw_tp/sched_process_exit")
int ended(__u64 *ctx)
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
	tell(0, FLAG_KILLED | (is_compat(task) ? FLAG_COMPAT : 0));
	return 0;
}
