// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * What one container uses: its system calls with the arguments that tell what they are about, the capabilities that the kernel
 * asked for, the files that it made or changed, the devices that it opened, the sockets that it bound.
 *
 * sys_enter fires behind seccomp, so a call that is counted was made. Calls are counted in the kernel: what a container does
 * a million times costs one entry.
 */
#include "record.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define TS_COMPAT 2
/* Forked and not yet executed anything (include/linux/sched.h). */
#define PF_FORKNOEXEC 0x40
#define UPID_SIZE 16
#define FMODE_READ 0x1
#define FMODE_WRITE 0x2
#define FMODE_CREATED 0x100000
#define AT_FDCWD (-100)
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFCHR 0020000
#define S_IFBLK 0060000
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define X32_BIT 0x40000000
#define ROWS 1024

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
/* Two words of 32 bits before Linux 6.3, one of 64 since: read as 8 bytes. */
typedef struct {
	__u64 val;
} kernel_cap_t;
struct cred {
	kuid_t uid;
	kuid_t euid;
	kernel_cap_t cap_permitted;
	kernel_cap_t cap_ambient;
};
struct seccomp {
	int mode;
};
struct thread_info {
	__u32 status;
};
struct qstr {
	const unsigned char *name;
};
struct inode {
	unsigned short i_mode;
	__u32 i_rdev;
};
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};
struct vfsmount {
	struct dentry *mnt_root;
};
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};
struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};
struct file {
	unsigned int f_mode;
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct fs_struct {
	struct path root;
	struct path pwd;
};
struct in6_addr {
	__u8 bytes[16];
};
struct sock_common {
	__u32 skc_rcv_saddr;
	__u16 skc_num;
	__u16 skc_family;
	struct in6_addr skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
};
struct socket {
	short type;
	struct sock *sk;
};
struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int tgid;
	struct task_struct *real_parent;
	struct pid *thread_pid;
	const struct cred *real_cred;
	const struct cred *cred;
	struct fs_struct *fs;
	struct files_struct *files;
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

#define READ(to, from) bpf_probe_read_kernel(&(to), sizeof(to), &(from))

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
		(*count)++;
}

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
	char *numbers = (char *)pid + plim_offset_of(pid->numbers);
	struct pid_namespace *ns = NULL;
	struct upid *upid = NULL;
	__u32 inode = 0;

	if (pid->level < target_level)
		return false;
	bpf_probe_read_kernel(&ns, sizeof(ns), numbers + target_level * UPID_SIZE + plim_offset_of(upid->ns));
	READ(inode, ns->ns.inum);
	return inode == target_inode;
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

SEC("tp_btf/sys_enter")
int sys_enter(__u64 *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	struct task_struct *task = bpf_get_current_task_btf();
	struct telling *tells;
	struct call call = {};
	__u32 row;

	if (!seen(task, &call.flags))
		return 0;
	call.number = (__u32)ctx[1];
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

static __always_inline void capability(const struct cred *cred, struct user_namespace *user_ns, int number, bool granted)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct asked asked = {};

	if (!seen(task, &asked.flags) || asked.flags & SEEN_RUNTIME)
		return;
	asked.number = (__s32)((struct pt_regs *)bpf_task_pt_regs(task))->orig_ax;
	asked.flags |= (granted ? SEEN_GRANTED : 0) | (cred == task->real_cred ? SEEN_AS_ITSELF : 0);
	asked.user_namespace = user_ns->ns.inum;
	asked.capability = number;
	count(&capabilities, &asked);
}

/* Linux 6.18: cap_capable(cred, target_ns, capable_ns, cap, ret). */
SEC("tp_btf/cap_capable")
int capable(__u64 *ctx)
{
	capability((const struct cred *)ctx[0], (struct user_namespace *)ctx[1], (int)ctx[3], (int)ctx[4] == 0);
	return 0;
}

/* Before: int cap_capable(cred, targ_ns, cap, opts). */
SEC("fexit/cap_capable")
int capable_exit(__u64 *ctx)
{
	capability((const struct cred *)ctx[0], (struct user_namespace *)ctx[1], (int)ctx[2], (int)ctx[4] == 0);
	return 0;
}

static __always_inline struct file *file_of(struct task_struct *task, __u32 fd)
{
	struct fdtable *fdt = NULL;
	struct file **files = NULL, *file = NULL;
	__u32 most = 0;

	READ(fdt, task->files->fdt);
	READ(most, fdt->max_fds);
	if (fd >= most)
		return NULL;
	READ(files, fdt->fd);
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return file;
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

/*
 * The names from a file up to the root of the task; where a mount is crossed the part is empty. Addresses are passed as numbers: a
 * function of its own is verified once and not for every way that leads here, and knows no kernel pointers.
 */
__attribute__((noinline)) int walk(struct event *event, __u64 path_address)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct path *path = (const struct path *)path_address;
	struct dentry *dentry = NULL, *root = NULL;
	struct vfsmount *vfs = NULL, *root_vfs = NULL;
	struct mount *mount = NULL;
	__u32 i;

	if (!event)
		return 0;
	READ(vfs, path->mnt);
	READ(dentry, path->dentry);
	READ(root_vfs, task->fs->root.mnt);
	READ(root, task->fs->root.dentry);
	for (i = 0; i < PARTS; i++) {
		struct dentry *mount_root = NULL, *parent = NULL;
		const unsigned char *name = NULL;

		event->part[i][0] = 0;
		if (dentry == root && vfs == root_vfs)
			break;
		mount = (struct mount *)((char *)vfs - plim_offset_of(mount->mnt));
		READ(mount_root, vfs->mnt_root);
		READ(parent, dentry->d_parent);
		if (dentry == mount_root || dentry == parent) {
			struct mount *above = NULL;

			READ(above, mount->mnt_parent);
			if (above == mount)
				break;
			READ(dentry, mount->mnt_mountpoint);
			vfs = (struct vfsmount *)((char *)above + plim_offset_of(mount->mnt));
			continue;
		}
		READ(name, dentry->d_name.name);
		if (bpf_probe_read_kernel_str(event->part[i], PART, name) >= PART)
			event->flags |= SEEN_CUT;
		dentry = parent;
	}
	if (i == PARTS)
		event->flags |= SEEN_CUT;
	event->parts = i;
	return 0;
}

static __always_inline __u64 working_directory(struct task_struct *task)
{
	struct fs_struct *fs = NULL;

	READ(fs, task->fs);
	return (__u64)&fs->pwd;
}

/* The file that a descriptor stands for: told if it can be written to, or is a device. */
static __always_inline void opened(struct task_struct *task, __u32 what, __u32 flags, __u32 number, __u32 fd)
{
	struct file *file = file_of(task, fd);
	struct inode *inode = NULL;
	struct event *event;
	__u32 mode = 0, type, device = 0;
	unsigned short file_mode = 0;

	if (!file)
		return;
	READ(mode, file->f_mode);
	READ(inode, file->f_inode);
	READ(file_mode, inode->i_mode);
	READ(device, inode->i_rdev);
	type = file_mode & S_IFMT;
	if (what == WHAT_OPEN && !(mode & FMODE_WRITE) && type != S_IFCHR && type != S_IFBLK)
		return;
	flags |= (mode & FMODE_READ ? SEEN_READ : 0) | (mode & FMODE_WRITE ? SEEN_WRITE : 0) |
		 (mode & FMODE_CREATED ? SEEN_CREATED : 0);
	event = begin(task, what, flags, number);
	if (!event)
		return;
	event->mode = file_mode;
	event->device = device;
	walk(event, (__u64)&file->f_path);
	bpf_ringbuf_submit(event, 0);
}

/* A path as it was passed, and the directory that it begins at unless it begins at the root. */
static __always_inline void named(struct task_struct *task, __u32 flags, __u32 number, __u64 text, bool has_base, __u32 base)
{
	struct event *event = begin(task, WHAT_PATH, flags, number);
	struct file *file;

	if (!event)
		return;
	if (bpf_probe_read_user_str(event->text, TEXT, (void *)text) >= TEXT)
		event->flags |= SEEN_CUT;
	if (event->text[0] != '/') {
		if (has_base && (__s32)base != AT_FDCWD) {
			file = file_of(task, base);
			if (file)
				walk(event, (__u64)&file->f_path);
		} else {
			walk(event, working_directory(task));
		}
	}
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void socket(struct task_struct *task, __u32 what, __u32 flags, __u32 number, __u32 fd, __u64 address)
{
	struct file *file = file_of(task, fd);
	struct socket *socket = NULL;
	struct inode *inode = NULL;
	struct event *event;
	struct sock *sk = NULL;
	unsigned short mode = 0;

	if (!file)
		return;
	READ(inode, file->f_inode);
	READ(mode, inode->i_mode);
	if ((mode & S_IFMT) != S_IFSOCK)
		return;
	READ(socket, file->private_data);
	READ(sk, socket->sk);
	event = begin(task, what, flags, number);
	if (!event)
		return;
	READ(event->type, socket->type);
	READ(event->protocol, sk->sk_protocol);
	READ(event->family, sk->__sk_common.skc_family);
	READ(event->port, sk->__sk_common.skc_num);
	if (event->family == AF_INET)
		bpf_probe_read_kernel(event->address, 4, &sk->__sk_common.skc_rcv_saddr);
	else if (event->family == AF_INET6)
		bpf_probe_read_kernel(event->address, 16, &sk->__sk_common.skc_v6_rcv_saddr);
	else if (event->family == AF_UNIX && what == WHAT_BIND) {
		/* sun_path; an abstract name begins with a NUL and is no file. */
		bpf_probe_read_user_str(event->text, 109, (void *)(address + 2));
		if (event->text[0] != '/')
			walk(event, working_directory(task));
	}
	bpf_ringbuf_submit(event, 0);
}

SEC("tp_btf/sys_exit")
int sys_exit(__u64 *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 flags, number, row;
	struct change *change;

	if ((__s64)ctx[1] < 0 || !seen(task, &flags) || flags & SEEN_RUNTIME)
		return 0;
	number = (__u32)regs->orig_ax;
	row = row_of(number, flags);
	change = bpf_map_lookup_elem(&changes, &row);
	if (!change)
		return 0;
	switch (change->what) {
	case WHAT_OPEN:
		opened(task, WHAT_OPEN, flags, number, (__u32)ctx[1]);
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

/* A program that gives its caller more than it had: no_new_privs would take that away. */
SEC("tp_btf/sched_process_exec")
int executed(__u64 *ctx)
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
