//! Architectures as seccomp sees them: OCI's name, the audit token in `seccomp_data.arch`, and the system call table.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::syscalls::Column;

/// The bit that marks an x32 number under the x86-64 audit token (`__X32_SYSCALL_BIT`, asm/unistd.h).
pub const X32_SYSCALL_BIT: u32 = 0x4000_0000;

/// One system call ABI.
///
/// Two of them can share an audit token (x86-64 and x32); then the number tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// i386, also as int 0x80 and compat tasks on x86-64.
    X86,
    /// x32: the x86-64 token, numbers with [`X32_SYSCALL_BIT`].
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM (EABI).
    Arm,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit LoongArch.
    Loongarch64,
    /// 64-bit z/Architecture.
    S390x,
    /// 31-bit s390.
    S390,
    /// 64-bit PowerPC, little endian.
    Ppc64le,
    /// 64-bit PowerPC, big endian.
    Ppc64,
    /// 32-bit PowerPC.
    Ppc,
    /// MIPS n64, big endian.
    Mips64,
    /// MIPS n32, big endian.
    Mips64n32,
    /// MIPS o32, big endian.
    Mips,
    /// MIPS n64, little endian.
    Mipsel64,
    /// MIPS n32, little endian.
    Mipsel64n32,
    /// MIPS o32, little endian.
    Mipsel,
    /// 32-bit PA-RISC.
    Parisc,
    /// 64-bit PA-RISC.
    Parisc64,
    /// Motorola 68000.
    M68k,
    /// SuperH, little endian.
    Sh,
    /// SuperH, big endian.
    Sheb,
}

/// The facts of one architecture, one row each.
struct Row {
    arch: Arch,
    scmp: &'static str,
    name: &'static str,
    /// What Docker and Podman profiles call it in `includes.arches` (libseccomp's own short name).
    profile: &'static str,
    /// `AUDIT_ARCH_…` (include/uapi/linux/audit.h).
    token: u32,
    column: Column,
    /// Whether system call arguments are 32 bits wide.
    narrow: bool,
    big_endian: bool,
}

const fn row(
    arch: Arch,
    names: (&'static str, &'static str, &'static str),
    token: u32,
    column: Column,
    narrow: bool,
    big_endian: bool,
) -> Row {
    Row { arch, scmp: names.0, name: names.1, profile: names.2, token, column, narrow, big_endian }
}

#[rustfmt::skip]
static ROWS: [Row; 23] = [
    row(Arch::X86_64, ("SCMP_ARCH_X86_64", "x86_64", "amd64"), 0xc000_003e, Column::X86_64, false, false),
    row(Arch::X86, ("SCMP_ARCH_X86", "i386", "x86"), 0x4000_0003, Column::X86, true, false),
    row(Arch::X32, ("SCMP_ARCH_X32", "x32", "x32"), 0xc000_003e, Column::X32, true, false),
    row(Arch::Aarch64, ("SCMP_ARCH_AARCH64", "aarch64", "arm64"), 0xc000_00b7, Column::Aarch64, false, false),
    row(Arch::Arm, ("SCMP_ARCH_ARM", "arm", "arm"), 0x4000_0028, Column::Arm, true, false),
    row(Arch::Riscv64, ("SCMP_ARCH_RISCV64", "riscv64", "riscv64"), 0xc000_00f3, Column::Riscv64, false, false),
    row(Arch::Loongarch64, ("SCMP_ARCH_LOONGARCH64", "loongarch64", "loongarch64"), 0xc000_0102, Column::Loongarch64, false, false),
    row(Arch::S390x, ("SCMP_ARCH_S390X", "s390x", "s390x"), 0x8000_0016, Column::S390x, false, true),
    row(Arch::S390, ("SCMP_ARCH_S390", "s390", "s390"), 0x0000_0016, Column::S390, true, true),
    row(Arch::Ppc64le, ("SCMP_ARCH_PPC64LE", "ppc64le", "ppc64le"), 0xc000_0015, Column::Ppc64, false, false),
    row(Arch::Ppc64, ("SCMP_ARCH_PPC64", "ppc64", "ppc64"), 0x8000_0015, Column::Ppc64, false, true),
    row(Arch::Ppc, ("SCMP_ARCH_PPC", "ppc", "ppc"), 0x0000_0014, Column::Ppc, true, true),
    row(Arch::Mips64, ("SCMP_ARCH_MIPS64", "mips64", "mips64"), 0x8000_0008, Column::MipsN64, false, true),
    row(Arch::Mips64n32, ("SCMP_ARCH_MIPS64N32", "mips64n32", "mips64n32"), 0xa000_0008, Column::MipsN32, true, true),
    row(Arch::Mips, ("SCMP_ARCH_MIPS", "mips", "mips"), 0x0000_0008, Column::MipsO32, true, true),
    row(Arch::Mipsel64, ("SCMP_ARCH_MIPSEL64", "mipsel64", "mipsel64"), 0xc000_0008, Column::MipsN64, false, false),
    row(Arch::Mipsel64n32, ("SCMP_ARCH_MIPSEL64N32", "mipsel64n32", "mipsel64n32"), 0xe000_0008, Column::MipsN32, true, false),
    row(Arch::Mipsel, ("SCMP_ARCH_MIPSEL", "mipsel", "mipsel"), 0x4000_0008, Column::MipsO32, true, false),
    row(Arch::Parisc, ("SCMP_ARCH_PARISC", "parisc", "parisc"), 0x0000_000f, Column::Parisc, true, true),
    row(Arch::Parisc64, ("SCMP_ARCH_PARISC64", "parisc64", "parisc64"), 0x8000_000f, Column::Parisc64, false, true),
    row(Arch::M68k, ("SCMP_ARCH_M68K", "m68k", "m68k"), 0x0000_0004, Column::M68k, true, true),
    row(Arch::Sh, ("SCMP_ARCH_SH", "sh", "sh"), 0x4000_002a, Column::Sh, true, false),
    row(Arch::Sheb, ("SCMP_ARCH_SHEB", "sheb", "sheb"), 0x0000_002a, Column::Sh, true, true),
];

impl Arch {
    /// Every architecture, in the order of the type.
    pub fn all() -> impl Iterator<Item = Arch> + Clone {
        ROWS.iter().map(|row| row.arch)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// OCI's name: `SCMP_ARCH_X86_64`.
    pub fn scmp_name(self) -> &'static str {
        self.row().scmp
    }

    /// Reads OCI's name.
    pub fn from_scmp_name(name: &str) -> Option<Arch> {
        ROWS.iter().find(|row| row.scmp == name).map(|row| row.arch)
    }

    /// The kernel's everyday name: `x86_64`, `i386`, `x32`, `aarch64`, …
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Reads any name that is in use: uname(2)'s, OCI's, Docker's (`amd64`, `arm64`), or a common alias.
    pub fn from_name(name: &str) -> Option<Arch> {
        let alias = match name {
            "i486" | "i586" | "i686" | "386" => Some(Arch::X86),
            "armv6l" | "armv7l" | "armv8l" | "armhf" | "armel" => Some(Arch::Arm),
            "powerpc64le" => Some(Arch::Ppc64le),
            "loong64" => Some(Arch::Loongarch64),
            _ => None,
        };
        alias.or_else(|| {
            ROWS.iter()
                .find(|row| row.name == name || row.profile == name || row.scmp == name)
                .map(|row| row.arch)
        })
    }

    /// The name that Docker and Podman profiles use in `includes.arches` and `excludes.arches`.
    pub fn profile_name(self) -> &'static str {
        self.row().profile
    }

    /// Reads the name that `includes.arches` uses, with the spellings of both Docker and Podman.
    pub fn from_profile_name(name: &str) -> Option<Arch> {
        match name {
            "mips3l64n32" => Some(Arch::Mipsel64n32),
            "mipsle" => Some(Arch::Mipsel),
            "loong64" => Some(Arch::Loongarch64),
            _ => ROWS.iter().find(|row| row.profile == name).map(|row| row.arch),
        }
    }

    /// `AUDIT_ARCH_…`, the value of `seccomp_data.arch`.
    pub fn audit_token(self) -> u32 {
        self.row().token
    }

    /// The architecture of a call with this audit token and number; x32 is told from x86-64 by bit 30.
    pub fn from_audit_token(token: u32, nr: u32) -> Option<Arch> {
        let first = ROWS.iter().find(|row| row.token == token)?.arch;
        let x32 = first == Arch::X86_64 && nr & X32_SYSCALL_BIT != 0;
        Some(if x32 { Arch::X32 } else { first })
    }

    /// Whether arguments are 32 bits wide, so that only the low word of `seccomp_data.args[i]` counts.
    pub fn has_narrow_arguments(self) -> bool {
        self.row().narrow
    }

    /// Byte order: decides which half of an argument lies first in `seccomp_data`.
    pub fn is_big_endian(self) -> bool {
        self.row().big_endian
    }

    pub(crate) fn column(self) -> Column {
        self.row().column
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.scmp_name())
    }
}

impl Serialize for Arch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.scmp_name())
    }
}

impl<'de> Deserialize<'de> for Arch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Arch::from_scmp_name(&name)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown architecture {name:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_type() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.arch as usize, index, "{}", row.scmp);
            assert_eq!(Arch::from_scmp_name(row.scmp), Some(row.arch));
            assert_eq!(Arch::from_name(row.name), Some(row.arch));
            assert_eq!(Arch::from_profile_name(row.profile), Some(row.arch));
        }
    }

    #[test]
    fn the_token_says_width_and_byte_order() {
        // __AUDIT_ARCH_64BIT and __AUDIT_ARCH_LE of include/uapi/linux/audit.h.
        for row in &ROWS {
            assert_eq!(row.token & 0x4000_0000 == 0, row.big_endian, "{}", row.scmp);
            if row.arch != Arch::X32 && !row.scmp.ends_with("N32") {
                assert_eq!(row.token & 0x8000_0000 == 0, row.narrow, "{}", row.scmp);
            }
        }
    }

    #[test]
    fn x32_is_told_by_the_number() {
        assert_eq!(Arch::from_audit_token(0xc000_003e, 41), Some(Arch::X86_64));
        assert_eq!(Arch::from_audit_token(0xc000_003e, 41 | X32_SYSCALL_BIT), Some(Arch::X32));
        assert_eq!(Arch::from_audit_token(0x4000_0003, 41 | X32_SYSCALL_BIT), Some(Arch::X86));
        assert_eq!(Arch::from_audit_token(7, 41), None);
    }
}
