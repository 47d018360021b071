//! Error numbers by name (errno(3); asm-generic/errno-base.h and errno.h).
//!
//! The numbers are those of every architecture that this crate knows but MIPS and PA-RISC, which differ above 34.

/// An error number as a filter returns it: 0 to [`Errno::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(u16);

impl Errno {
    /// The kernel's `MAX_ERRNO`: `SECCOMP_RET_ERRNO` with a larger number acts as this one.
    pub const MAX: u16 = 4095;
    /// None: the call seems to succeed.
    pub(crate) const NONE: Errno = Errno(0);
    /// Operation not permitted.
    pub const EPERM: Errno = Errno(1);
    /// Function not implemented.
    pub const ENOSYS: Errno = Errno(38);

    /// The error with this number, `None` above [`Errno::MAX`].
    pub fn from_number(number: u64) -> Option<Errno> {
        u16::try_from(number).ok().filter(|n| *n <= Errno::MAX).map(Errno)
    }

    /// What the kernel makes of the data of `SECCOMP_RET_ERRNO`: larger numbers become [`Errno::MAX`].
    pub fn clamped(data: u16) -> Errno {
        Errno(data.min(Errno::MAX))
    }

    /// Reads a name: `EPERM`, and the aliases `EWOULDBLOCK`, `EDEADLOCK` and `ENOTSUP`.
    pub fn from_name(name: &str) -> Option<Errno> {
        let name = match name {
            "EWOULDBLOCK" => "EAGAIN",
            "EDEADLOCK" => "EDEADLK",
            "ENOTSUP" => "EOPNOTSUPP",
            other => other,
        };
        NAMES.iter().find(|row| row.1 == name).map(|row| Errno(row.0))
    }

    /// The number, 0 to [`Errno::MAX`].
    pub fn number(self) -> u16 {
        self.0
    }

    /// The name, `None` for a number that has none (0 among them).
    pub fn name(self) -> Option<&'static str> {
        NAMES.binary_search_by_key(&self.0, |row| row.0).ok().map(|at| NAMES[at].1)
    }

    /// The known name nearest to a misspelt one.
    pub fn nearest(name: &str) -> Option<&'static str> {
        crate::spelling::nearest(name, NAMES.iter().map(|row| row.1))
    }
}

/// The name, or the number in decimal where there is no name.
impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => f.pad(&self.0.to_string()),
        }
    }
}

#[rustfmt::skip]
static NAMES: [(u16, &str); 131] = [
    (1, "EPERM"), (2, "ENOENT"), (3, "ESRCH"), (4, "EINTR"), (5, "EIO"), (6, "ENXIO"), (7, "E2BIG"),
    (8, "ENOEXEC"), (9, "EBADF"), (10, "ECHILD"), (11, "EAGAIN"), (12, "ENOMEM"), (13, "EACCES"),
    (14, "EFAULT"), (15, "ENOTBLK"), (16, "EBUSY"), (17, "EEXIST"), (18, "EXDEV"), (19, "ENODEV"),
    (20, "ENOTDIR"), (21, "EISDIR"), (22, "EINVAL"), (23, "ENFILE"), (24, "EMFILE"), (25, "ENOTTY"),
    (26, "ETXTBSY"), (27, "EFBIG"), (28, "ENOSPC"), (29, "ESPIPE"), (30, "EROFS"), (31, "EMLINK"),
    (32, "EPIPE"), (33, "EDOM"), (34, "ERANGE"), (35, "EDEADLK"), (36, "ENAMETOOLONG"), (37, "ENOLCK"),
    (38, "ENOSYS"), (39, "ENOTEMPTY"), (40, "ELOOP"), (42, "ENOMSG"), (43, "EIDRM"), (44, "ECHRNG"),
    (45, "EL2NSYNC"), (46, "EL3HLT"), (47, "EL3RST"), (48, "ELNRNG"), (49, "EUNATCH"), (50, "ENOCSI"),
    (51, "EL2HLT"), (52, "EBADE"), (53, "EBADR"), (54, "EXFULL"), (55, "ENOANO"), (56, "EBADRQC"),
    (57, "EBADSLT"), (59, "EBFONT"), (60, "ENOSTR"), (61, "ENODATA"), (62, "ETIME"), (63, "ENOSR"),
    (64, "ENONET"), (65, "ENOPKG"), (66, "EREMOTE"), (67, "ENOLINK"), (68, "EADV"), (69, "ESRMNT"),
    (70, "ECOMM"), (71, "EPROTO"), (72, "EMULTIHOP"), (73, "EDOTDOT"), (74, "EBADMSG"), (75, "EOVERFLOW"),
    (76, "ENOTUNIQ"), (77, "EBADFD"), (78, "EREMCHG"), (79, "ELIBACC"), (80, "ELIBBAD"), (81, "ELIBSCN"),
    (82, "ELIBMAX"), (83, "ELIBEXEC"), (84, "EILSEQ"), (85, "ERESTART"), (86, "ESTRPIPE"), (87, "EUSERS"),
    (88, "ENOTSOCK"), (89, "EDESTADDRREQ"), (90, "EMSGSIZE"), (91, "EPROTOTYPE"), (92, "ENOPROTOOPT"),
    (93, "EPROTONOSUPPORT"), (94, "ESOCKTNOSUPPORT"), (95, "EOPNOTSUPP"), (96, "EPFNOSUPPORT"),
    (97, "EAFNOSUPPORT"), (98, "EADDRINUSE"), (99, "EADDRNOTAVAIL"), (100, "ENETDOWN"),
    (101, "ENETUNREACH"), (102, "ENETRESET"), (103, "ECONNABORTED"), (104, "ECONNRESET"), (105, "ENOBUFS"),
    (106, "EISCONN"), (107, "ENOTCONN"), (108, "ESHUTDOWN"), (109, "ETOOMANYREFS"), (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"), (112, "EHOSTDOWN"), (113, "EHOSTUNREACH"), (114, "EALREADY"),
    (115, "EINPROGRESS"), (116, "ESTALE"), (117, "EUCLEAN"), (118, "ENOTNAM"), (119, "ENAVAIL"),
    (120, "EISNAM"), (121, "EREMOTEIO"), (122, "EDQUOT"), (123, "ENOMEDIUM"), (124, "EMEDIUMTYPE"),
    (125, "ECANCELED"), (126, "ENOKEY"), (127, "EKEYEXPIRED"), (128, "EKEYREVOKED"), (129, "EKEYREJECTED"),
    (130, "EOWNERDEAD"), (131, "ENOTRECOVERABLE"), (132, "ERFKILL"), (133, "EHWPOISON"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_inverse() {
        assert!(NAMES.is_sorted());
        for (number, name) in NAMES {
            assert_eq!(Errno::from_name(name).unwrap().number(), number);
            assert_eq!(Errno::from_number(number.into()).unwrap().to_string(), name);
        }
        assert_eq!(Errno::from_name("ENOSYS"), Some(Errno::ENOSYS));
        assert_eq!(Errno::from_name("EWOULDBLOCK"), Errno::from_name("EAGAIN"));
    }

    #[test]
    fn limits() {
        assert_eq!(Errno::from_number(4095).unwrap().to_string(), "4095");
        assert_eq!(Errno::from_number(4096), None);
        assert_eq!(Errno::from_number(1 << 20), None);
        assert_eq!(Errno::clamped(65535).number(), 4095);
        assert_eq!(Errno::from_number(0).unwrap().name(), None);
        assert_eq!(Errno::from_name("EPRM"), None);
        assert_eq!(Errno::nearest("EPRM"), Some("EPERM"));
    }
}
