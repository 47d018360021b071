// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The least that a tracer on these tracepoints can cost, raw ones or perf's: what the bench compares ours with. */
#include "plim_bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

SEC("tp_btf/sys_enter")
int sys_enter(__u64 *ctx)
{
	return 0;
}

SEC("tp_btf/sys_exit")
int sys_exit(__u64 *ctx)
{
	return 0;
}

SEC("tp/raw_syscalls/sys_enter")
int sys_enter_perf(void *entry)
{
	return 0;
}

SEC("tp/raw_syscalls/sys_exit")
int sys_exit_perf(void *entry)
{
	return 0;
}
