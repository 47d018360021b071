//! Conditions on one argument (OCI runtime-spec, `linux.seccomp.syscalls[].args`).

/// The comparison, by OCI's operators. All of them are unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Test {
    /// `SCMP_CMP_NE`
    Ne(u64),
    /// `SCMP_CMP_LT`
    Lt(u64),
    /// `SCMP_CMP_LE`
    Le(u64),
    /// `SCMP_CMP_EQ`
    Eq(u64),
    /// `SCMP_CMP_GE`
    Ge(u64),
    /// `SCMP_CMP_GT`
    Gt(u64),
    /// `SCMP_CMP_MASKED_EQ`: `value` is the mask, `valueTwo` the datum; bits of the datum outside of the mask are ignored, as
    /// libseccomp does (`_db_node_mask_fixup`).
    MaskedEq {
        /// The bits that are looked at.
        mask: u64,
        /// What they must be; within `mask`.
        value: u64,
    },
}

impl Test {
    /// OCI's operators.
    pub const OPERATORS: [&'static str; 7] = [
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    ];

    /// From OCI's operator and values, `None` for an unknown operator.
    pub fn from_oci(operator: &str, value: u64, value_two: u64) -> Option<Test> {
        Some(match operator {
            "SCMP_CMP_NE" => Test::Ne(value),
            "SCMP_CMP_LT" => Test::Lt(value),
            "SCMP_CMP_LE" => Test::Le(value),
            "SCMP_CMP_EQ" => Test::Eq(value),
            "SCMP_CMP_GE" => Test::Ge(value),
            "SCMP_CMP_GT" => Test::Gt(value),
            "SCMP_CMP_MASKED_EQ" => Test::MaskedEq { mask: value, value: value_two & value },
            _ => return None,
        })
    }

    /// OCI's operator, `value` and `valueTwo`.
    pub fn to_oci(self) -> (&'static str, u64, u64) {
        match self {
            Test::Ne(value) => ("SCMP_CMP_NE", value, 0),
            Test::Lt(value) => ("SCMP_CMP_LT", value, 0),
            Test::Le(value) => ("SCMP_CMP_LE", value, 0),
            Test::Eq(value) => ("SCMP_CMP_EQ", value, 0),
            Test::Ge(value) => ("SCMP_CMP_GE", value, 0),
            Test::Gt(value) => ("SCMP_CMP_GT", value, 0),
            Test::MaskedEq { mask, value } => ("SCMP_CMP_MASKED_EQ", mask, value),
        }
    }

    /// Whether `argument` passes.
    pub fn holds(self, argument: u64) -> bool {
        match self {
            Test::Ne(value) => argument != value,
            Test::Lt(value) => argument < value,
            Test::Le(value) => argument <= value,
            Test::Eq(value) => argument == value,
            Test::Ge(value) => argument >= value,
            Test::Gt(value) => argument > value,
            Test::MaskedEq { mask, value } => argument & mask == value,
        }
    }
}

/// One condition: the test of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// The test.
    pub test: Test,
}

impl Condition {
    /// Whether a call with these arguments passes. `narrow`: the architecture's arguments are 32 bits wide, so only the low words
    /// count ([`crate::Arch::has_narrow_arguments`]).
    pub fn holds(&self, args: &[u64; 6], narrow: bool) -> bool {
        let argument = args[usize::from(self.argument)];
        self.test.holds(if narrow { argument & 0xffff_ffff } else { argument })
    }

    /// As OCI writes it.
    pub fn to_json(&self) -> serde_json::Value {
        let (op, value, value_two) = self.test.to_oci();
        let mut json = serde_json::json!({"index": self.argument, "value": value, "op": op});
        if matches!(self.test, Test::MaskedEq { .. }) {
            json["valueTwo"] = value_two.into();
        }
        json
    }
}

/// `arg0 != 40`, `arg1 & 0x7e020000 == 0`.
impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let n = self.argument;
        match self.test {
            Test::Ne(value) => write!(f, "arg{n} != {}", Number(value)),
            Test::Lt(value) => write!(f, "arg{n} < {}", Number(value)),
            Test::Le(value) => write!(f, "arg{n} <= {}", Number(value)),
            Test::Eq(value) => write!(f, "arg{n} == {}", Number(value)),
            Test::Ge(value) => write!(f, "arg{n} >= {}", Number(value)),
            Test::Gt(value) => write!(f, "arg{n} > {}", Number(value)),
            Test::MaskedEq { mask, value } => write!(f, "arg{n} & {mask:#x} == {value:#x}"),
        }
    }
}

/// Small numbers in decimal, large ones (which are mostly bit sets) in hexadecimal.
struct Number(u64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 < 4096 { write!(f, "{}", self.0) } else { write!(f, "{:#x}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_round_trip_and_hold_at_the_boundary() {
        for (op, below, at, above) in [
            ("SCMP_CMP_NE", true, false, true),
            ("SCMP_CMP_LT", true, false, false),
            ("SCMP_CMP_LE", true, true, false),
            ("SCMP_CMP_EQ", false, true, false),
            ("SCMP_CMP_GE", false, true, true),
            ("SCMP_CMP_GT", false, false, true),
        ] {
            let test = Test::from_oci(op, 0x1_0000_0000, 0).unwrap();
            assert_eq!(test.to_oci().0, op);
            let got = [0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001].map(|a| test.holds(a));
            assert_eq!(got, [below, at, above], "{op}");
        }
        assert_eq!(Test::from_oci("SCMP_CMP_XX", 0, 0), None);
    }

    #[test]
    fn masked() {
        let test = Test::from_oci("SCMP_CMP_MASKED_EQ", 0xf0, 0x13).unwrap();
        assert!(test.holds(0x1f) && test.holds(0xff00_0010) && !test.holds(0x20));
        let condition = Condition { argument: 2, test };
        assert_eq!(condition.to_string(), "arg2 & 0xf0 == 0x10");
        assert_eq!(
            condition.to_json().to_string(),
            r#"{"index":2,"value":240,"op":"SCMP_CMP_MASKED_EQ","valueTwo":16}"#
        );
    }

    #[test]
    fn narrow_arguments_lose_their_high_word() {
        let condition = Condition { argument: 0, test: Test::Eq(40) };
        let args = [0x1_0000_0028, 0, 0, 0, 0, 0];
        assert!(condition.holds(&args, true) && !condition.holds(&args, false));
    }
}
