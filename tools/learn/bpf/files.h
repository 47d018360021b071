/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Files that a call made, changed, removed or opened, and devices. */
#ifndef PLIM_RECORD_FILES_H
#define PLIM_RECORD_FILES_H

#include "tell.h"

#define FMODE_READ 0x1
#define FMODE_WRITE 0x2
#define FMODE_CREATED 0x100000
#define AT_FDCWD (-100)
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFCHR 0020000
#define S_IFBLK 0060000

PLIM_KERNEL_TYPES
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
PLIM_KERNEL_TYPES_END

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

#endif
