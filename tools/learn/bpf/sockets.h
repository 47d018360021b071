/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Sockets that got an address, or listen. */
#ifndef PLIM_RECORD_SOCKETS_H
#define PLIM_RECORD_SOCKETS_H

#include "files.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

PLIM_KERNEL_TYPES
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
PLIM_KERNEL_TYPES_END

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

#endif
