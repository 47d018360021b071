/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What security modules answer in a call, behind functions of theirs: where the kernel allows fexit. Each program has the names of
 * its module and function, by which the reader finds it; a kernel that does not have the function refuses that program alone.
 *
 * The kernel takes some 100 ms to attach each program, so these are few and stand where many hooks lead. Not here: what every
 * read, write, send and receive passes (apparmor_file_permission, apparmor_socket_sendmsg), which would cost all processes of the
 * host more than it tells; and Yama, which asks for a capability by itself.
 */
#ifndef PLIM_TRACE_MODULE_H
#define PLIM_TRACE_MODULE_H

#include "capability.h"
#include "target.h"

/* `ctx` ends with the answer, however many arguments the function has (Linux 5.17). */
static __always_inline int answered(void *ctx, enum module module)
{
	struct state *state;
	__u64 answer = 0;

	if (bpf_get_func_ret(ctx, &answer) || (__s32)answer == 0)
		return 0;
	state = traced(bpf_get_current_task_btf(), false);
	if (!state || !state->in_call)
		return 0;
	state->module = module;
	state->module_answer = (__s32)answer;
	return 0;
}

/* security/landlock/fs.c */
SEC("fexit/hook_file_open")
int landlock_hook_file_open(__u64 *ctx)
{
	return answered(ctx, MODULE_LANDLOCK);
}

/* security/apparmor/file.c: files that are opened, made, changed, removed or looked at by their path. */
SEC("fexit/aa_path_perm")
int apparmor_aa_path_perm(__u64 *ctx)
{
	return answered(ctx, MODULE_APPARMOR);
}

/* security/apparmor/net.c: sockets that are made. */
SEC("fexit/aa_af_perm")
int apparmor_aa_af_perm(__u64 *ctx)
{
	return answered(ctx, MODULE_APPARMOR);
}

/* security/apparmor/lsm.c */
SEC("fexit/apparmor_sb_mount")
int apparmor_apparmor_sb_mount(__u64 *ctx)
{
	return answered(ctx, MODULE_APPARMOR);
}

SEC("fexit/apparmor_sb_umount")
int apparmor_apparmor_sb_umount(__u64 *ctx)
{
	return answered(ctx, MODULE_APPARMOR);
}

/* apparmor_capable(cred, ns, cap, opts): asked after cap_capable() has granted it. */
SEC("fexit/apparmor_capable")
int apparmor_apparmor_capable(__u64 *ctx)
{
	return (__u32)ctx[3] & CAP_OPT_NOAUDIT ? 0 : answered(ctx, MODULE_APPARMOR);
}

/* security/apparmor/domain.c */
SEC("fexit/apparmor_bprm_creds_for_exec")
int apparmor_apparmor_bprm_creds_for_exec(__u64 *ctx)
{
	return answered(ctx, MODULE_APPARMOR);
}

#endif
