/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What security modules answer in a call, behind functions of theirs, where the kernel allows fexit, or by their own tracepoints.
 * Each program has the names of its module and of its function or tracepoint, by which the reader finds it; a kernel that does not
 * have the function refuses that program alone.
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

PLIM_KERNEL_TYPES
struct selinux_audit_data {
	__u32 denied;
	int result;
};
PLIM_KERNEL_TYPES_END

/*
 * selinux_audited(data, scontext, tcontext, tclass), Linux 5.10: what SELinux writes into the audit log, be there somebody who
 * reads it or not. What a policy does not let be logged (dontaudit) is not here, and stays unknown. Where SELinux only warns
 * (permissive) the result is 0.
 */
SEC("raw_tp/selinux_audited")
int selinux_selinux_audited(__u64 *ctx)
{
	struct selinux_audit_data *data = (struct selinux_audit_data *)ctx[0];
	__u32 denied = 0;
	char class[4] = {};
	int result = 0;
	struct state *state;

	bpf_probe_read_kernel(&denied, sizeof(denied), &data->denied);
	bpf_probe_read_kernel(&result, sizeof(result), &data->result);
	if (!denied || !result)
		return 0;
	state = traced(bpf_get_current_task_btf(), false);
	if (!state || !state->in_call)
		return 0;
	/* Of a capability (the classes capability, capability2 and cap_userns) the kernel makes EPERM. */
	bpf_probe_read_kernel_str(class, sizeof(class), (const void *)ctx[3]);
	if (class[0] == 'c' && class[1] == 'a' && class[2] == 'p')
		result = -1;
	state->module = MODULE_SELINUX;
	state->module_answer = result;
	return 0;
}

#endif
