/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Who is a target: by the pid namespace it lives in, or by its cgroup. */
#ifndef PLIM_TRACE_TARGET_H
#define PLIM_TRACE_TARGET_H

#include "state.h"

/* Pid namespaces nest 32 deep (MAX_PID_NS_LEVEL). */
#define LEVELS 33
/* Deeper than engines nest cgroups. */
#define CGROUP_LEVELS 16

PLIM_KERNEL_TYPES
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
PLIM_KERNEL_TYPES_END

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

/* Slot + 1 of the target whose cgroup this is (its state's address). A function of its own, as classify. */
__attribute__((noinline)) __u32 cgroup_is(__u64 css)
{
	struct cgroup *cgroup = NULL;
	struct kernfs_node *node = NULL;
	__u64 id = 0;
	__u32 *slot;

	bpf_probe_read_kernel(&cgroup, sizeof(cgroup), &((struct cgroup_subsys_state *)css)->cgroup);
	bpf_probe_read_kernel(&node, sizeof(node), &cgroup->kn);
	bpf_probe_read_kernel(&id, sizeof(id), &node->id);
	slot = bpf_map_lookup_elem(&cgroups, &id);
	return slot ? *slot + 1 : 0;
}

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
		__u32 target = cgroup_is((__u64)css);

		if (target)
			return target;
		if (bpf_probe_read_kernel(&css, sizeof(css), &css->parent))
			break;
	}
	return 0;
}

/* Slot + 1 of the target whose pid namespace is that of the task (or its parent) at this level. A function of its own, as classify. */
__attribute__((noinline)) __u32 namespace_is(int parent, __u32 level)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *whose = parent ? look_up(task->real_parent) : task;
	__u32 inode = pid_namespace_at(look_up(whose->thread_pid), level);
	__u32 *slot = bpf_map_lookup_elem(&namespaces, &inode);

	return slot ? *slot + 1 : 0;
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

	for (__u32 i = 0; i < LEVELS; i++) {
		__u32 target;

		if (i > level)
			break;
		target = namespace_is(parent, level - i);
		if (target)
			return target;
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

#endif
