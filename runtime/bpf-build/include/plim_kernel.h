/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The kernel's structures that more than one of our programs reads, each with all the fields that any of them reads: the loader
 * looks up those alone that a program uses. And what is done with them in the same way everywhere.
 */
#ifndef PLIM_KERNEL_H
#define PLIM_KERNEL_H

#include "plim_bpf.h"

/* task_struct.thread_info.status of a 32-bit call (arch/x86/include/asm/thread_info.h). */
#define TS_COMPAT 2
/* The longest filter: BPF_MAXINSNS (include/uapi/linux/bpf_common.h). */
#define INSTRUCTIONS 4096
/* struct upid: a number and a pointer. */
#define UPID_SIZE 16

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
	kuid_t uid;
	kuid_t euid;
	kuid_t fsuid;
	kgid_t fsgid;
	kernel_cap_t cap_permitted;
	kernel_cap_t cap_effective;
	kernel_cap_t cap_bset;
	kernel_cap_t cap_ambient;
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
	bool log;
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
struct css_set;
struct files_struct;
struct fs_struct;
struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	unsigned int ptrace;
	unsigned long atomic_flags;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct pid *thread_pid;
	__u64 start_boottime;
	const struct cred *real_cred;
	const struct cred *cred;
	struct fs_struct *fs;
	struct files_struct *files;
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
PLIM_KERNEL_TYPES_END

/* What perf's probes of tracepoints hand out: the fields of events/SYSTEM/NAME/format in tracefs, behind those of every event. */
struct perf_sys_enter {
	__u64 common;
	__s64 id;
	__u64 args[6];
};
struct perf_sys_exit {
	__u64 common;
	__s64 id;
	__s64 ret;
};
struct perf_cap_capable {
	__u64 common;
	__u64 cred;
	__u64 target_ns;
	__u64 capable_ns;
	__s32 cap;
	__s32 ret;
};

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

/*
 * The pid namespace of a task at a level, 0 being the host's: its inode; 0 when it cannot be read. A task's namespaces are one
 * in each level down to its own (pid->level).
 */
static __always_inline __u32 pid_namespace_at(struct pid *pid, __u32 level)
{
	char *numbers = (char *)pid + plim_offset_of(pid->numbers);
	struct pid_namespace *ns = NULL;
	struct upid *upid = NULL;
	__u32 inode = 0;

	bpf_probe_read_kernel(&ns, sizeof(ns), numbers + level * UPID_SIZE + plim_offset_of(upid->ns));
	bpf_probe_read_kernel(&inode, sizeof(inode), &ns->ns.inum);
	return inode;
}

#endif
