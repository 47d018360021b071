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

#define BEHIND(name, module, function)         \
	SEC("fexit/" #function)                \
	int name##_##function(__u64 *ctx)      \
	{                                      \
		return answered(ctx, module);  \
	}

/* security/landlock/fs.c */
BEHIND(landlock, MODULE_LANDLOCK, hook_file_open)

/* security/apparmor/file.c: files that are opened, made, changed, removed or looked at by their path. */
BEHIND(apparmor, MODULE_APPARMOR, aa_path_perm)
/* net.c: sockets that are made. */
BEHIND(apparmor, MODULE_APPARMOR, aa_af_perm)
/* domain.c */
BEHIND(apparmor, MODULE_APPARMOR, apparmor_bprm_creds_for_exec)
/* lsm.c */
BEHIND(apparmor, MODULE_APPARMOR, apparmor_sb_mount)
BEHIND(apparmor, MODULE_APPARMOR, apparmor_sb_umount)

/* apparmor_capable(cred, ns, cap, opts): asked after cap_capable() has granted it. */
SEC("fexit/apparmor_capable")
int apparmor_apparmor_capable(__u64 *ctx)
{
	return (__u32)ctx[3] & CAP_OPT_NOAUDIT ? 0 : answered(ctx, MODULE_APPARMOR);
}

#endif
