//! Names of the values that profiles compare arguments with (socket(2), personality(2), clone(2)).

/// `AF_…` by number (include/linux/socket.h).
#[rustfmt::skip]
const FAMILIES: [&str; 46] = [
    "AF_UNSPEC", "AF_UNIX", "AF_INET", "AF_AX25", "AF_IPX", "AF_APPLETALK", "AF_NETROM", "AF_BRIDGE", "AF_ATMPVC", "AF_X25",
    "AF_INET6", "AF_ROSE", "AF_DECnet", "AF_NETBEUI", "AF_SECURITY", "AF_KEY", "AF_NETLINK", "AF_PACKET", "AF_ASH", "AF_ECONET",
    "AF_ATMSVC", "AF_RDS", "AF_SNA", "AF_IRDA", "AF_PPPOX", "AF_WANPIPE", "AF_LLC", "AF_IB", "AF_MPLS", "AF_CAN",
    "AF_TIPC", "AF_BLUETOOTH", "AF_IUCV", "AF_RXRPC", "AF_ISDN", "AF_PHONET", "AF_IEEE802154", "AF_CAIF", "AF_ALG", "AF_NFC",
    "AF_VSOCK", "AF_KCM", "AF_QIPCRTR", "AF_SMC", "AF_XDP", "AF_MCTP",
];

/// Flags of clone(2) and unshare(2) (include/uapi/linux/sched.h).
const CLONE_FLAGS: [(u64, &str); 23] = [
    (0x0000_0080, "CLONE_NEWTIME"),
    (0x0000_0100, "CLONE_VM"),
    (0x0000_0200, "CLONE_FS"),
    (0x0000_0400, "CLONE_FILES"),
    (0x0000_0800, "CLONE_SIGHAND"),
    (0x0000_1000, "CLONE_PIDFD"),
    (0x0000_2000, "CLONE_PTRACE"),
    (0x0000_4000, "CLONE_VFORK"),
    (0x0000_8000, "CLONE_PARENT"),
    (0x0001_0000, "CLONE_THREAD"),
    (0x0002_0000, "CLONE_NEWNS"),
    (0x0004_0000, "CLONE_SYSVSEM"),
    (0x0008_0000, "CLONE_SETTLS"),
    (0x0010_0000, "CLONE_PARENT_SETTID"),
    (0x0020_0000, "CLONE_CHILD_CLEARTID"),
    (0x0080_0000, "CLONE_UNTRACED"),
    (0x0100_0000, "CLONE_CHILD_SETTID"),
    (0x0200_0000, "CLONE_NEWCGROUP"),
    (0x0400_0000, "CLONE_NEWUTS"),
    (0x0800_0000, "CLONE_NEWIPC"),
    (0x1000_0000, "CLONE_NEWUSER"),
    (0x2000_0000, "CLONE_NEWPID"),
    (0x4000_0000, "CLONE_NEWNET"),
];

/// The name of a value of an argument, where it has one.
fn name(syscall: &str, argument: u8, value: u64) -> Option<&'static str> {
    match (syscall, argument) {
        ("socket" | "socketpair", 0) => FAMILIES.get(usize::try_from(value).ok()?).copied(),
        ("personality", 0) => Some(match value {
            0 => "PER_LINUX",
            8 => "PER_LINUX32",
            0x2_0000 => "UNAME26",
            0x2_0008 => "UNAME26 | PER_LINUX32",
            0xffff_ffff => "query",
            _ => return None,
        }),
        _ => None,
    }
}

/// A value as text: `AF_VSOCK (40)`, `40`, `0x7e020000`.
pub(crate) fn value(syscall: &str, argument: u8, value: u64) -> String {
    let number = if value < 4096 { value.to_string() } else { format!("{value:#x}") };
    match name(syscall, argument, value) {
        Some(name) => format!("{name} ({number})"),
        None => number,
    }
}

/// A mask as text: the names of its bits, when they all have one.
pub(crate) fn mask(syscall: &str, mask: u64) -> String {
    let mut names = Vec::new();
    let mut left = mask;
    if matches!(syscall, "clone" | "unshare") {
        for (bit, name) in CLONE_FLAGS.iter().filter(|(bit, _)| mask & bit != 0) {
            names.push(*name);
            left &= !bit;
        }
    }
    match names.len() {
        0 => format!("{mask:#x}"),
        _ if left != 0 => format!("{mask:#x}"),
        1 => names[0].to_owned(),
        _ => format!("({})", names.join(" | ")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names() {
        assert_eq!(super::value("socket", 0, 40), "AF_VSOCK (40)");
        assert_eq!(super::value("socket", 1, 40), "40");
        assert_eq!(super::value("socket", 0, 1 << 40), "0x10000000000");
        assert_eq!(super::value("personality", 0, 0xffff_ffff), "query (0xffffffff)");
        assert_eq!(super::mask("clone", 0x4002_0000), "(CLONE_NEWNS | CLONE_NEWNET)");
        assert_eq!(super::mask("clone", 0x1000_0000), "CLONE_NEWUSER");
        assert_eq!(super::mask("clone", 0x1000_0001), "0x10000001");
        assert_eq!(super::mask("open", 0x40), "0x40");
    }
}
