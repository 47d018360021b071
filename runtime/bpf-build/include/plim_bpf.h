/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What a C source of ours needs of the kernel's BPF interface: types, map definitions, helpers.
 *
 * Numbers of helpers and of map types are those of include/uapi/linux/bpf.h. Kernel structures are declared by the source that
 * uses them, or in plim_kernel.h where more than one does, with the fields that are read and no others, between
 * PLIM_KERNEL_TYPES and PLIM_KERNEL_TYPES_END: the loader puts in the offsets that the running kernel's BTF gives (CO-RE), so
 * that neither order nor size counts.
 */
#ifndef PLIM_BPF_H
#define PLIM_BPF_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef _Bool bool;
enum { false = 0, true = 1 };

#define NULL ((void *)0)
#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

#define PLIM_KERNEL_TYPES _Pragma("clang attribute push(__attribute__((preserve_access_index)), apply_to = record)")
#define PLIM_KERNEL_TYPES_END _Pragma("clang attribute pop")

/* Whether the running kernel's structure has the field. */
#define plim_has_field(field) __builtin_preserve_field_info(field, 2 /* BPF_FIELD_EXISTS */)
/* The offset of a field in the running kernel's structure. */
#define plim_offset_of(field) __builtin_preserve_field_info(field, 0 /* BPF_FIELD_BYTE_OFFSET */)

/* Whether the running kernel's enumeration has the name, and its value there. */
#define plim_has_value(type, name) __builtin_preserve_enum_value(*(typeof(type) *)name, 0 /* BPF_ENUMVAL_EXISTS */)
#define plim_value(type, name) __builtin_preserve_enum_value(*(typeof(type) *)name, 1 /* BPF_ENUMVAL_VALUE */)

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum { BPF_F_NO_PREALLOC = 1 };
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0 };
enum { BPF_LOCAL_STORAGE_GET_F_CREATE = 1 };

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static __u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*bpf_probe_read_user)(void *to, __u32 size, const void *from) = (void *)112;
static long (*bpf_probe_read_kernel)(void *to, __u32 size, const void *from) = (void *)113;
static long (*bpf_probe_read_user_str)(void *to, __u32 size, const void *from) = (void *)114;
static long (*bpf_probe_read_kernel_str)(void *to, __u32 size, const void *from) = (void *)115;
static long (*bpf_get_current_comm)(void *to, __u32 size) = (void *)16;
static __u64 (*bpf_get_current_task)(void) = (void *)35;
static __u64 (*bpf_ktime_get_boot_ns)(void) = (void *)125;
static long (*bpf_seq_write)(void *seq, const void *data, __u32 size) = (void *)127;
static long (*bpf_ringbuf_output)(void *ring, void *data, __u64 size, __u64 flags) = (void *)130;
static void *(*bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
static void (*bpf_ringbuf_discard)(void *data, __u64 flags) = (void *)133;
static __u64 (*bpf_ringbuf_query)(void *ring, __u64 what) = (void *)134;
static void *(*bpf_task_storage_get)(void *map, void *task, void *value, __u64 flags) = (void *)156;
static long (*bpf_task_storage_delete)(void *map, void *task) = (void *)157;
static void *(*bpf_get_current_task_btf)(void) = (void *)158;
static long (*bpf_task_pt_regs)(void *task) = (void *)175;
static long (*bpf_get_func_ret)(void *ctx, __u64 *value) = (void *)184;

#endif
