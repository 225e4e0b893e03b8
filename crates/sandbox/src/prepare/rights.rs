//! Landlock's access rights, by ABI (landlock(7), linux/landlock.h).

use palisade_plan::step::LandlockAccess;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SOCK: u64 = 1 << 9;
const MAKE_FIFO: u64 = 1 << 10;
const MAKE_BLOCK: u64 = 1 << 11;
const MAKE_SYM: u64 = 1 << 12;
/// Since ABI 2.
const REFER: u64 = 1 << 13;
/// Since ABI 3.
const TRUNCATE: u64 = 1 << 14;
/// Since ABI 5.
const IOCTL_DEV: u64 = 1 << 15;
/// Since ABI 9: connecting to a UNIX socket by its path, unless it was made under the same ruleset.
const RESOLVE_UNIX: u64 = 1 << 16;

/// Since ABI 6: no abstract UNIX socket outside, no signal to the outside.
const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
const SCOPE_SIGNAL: u64 = 1 << 1;

/// The rights that apply to something that is no directory.
pub(crate) const FILE: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV | RESOLVE_UNIX;

const READ: u64 = EXECUTE | READ_FILE | READ_DIR;
const CHANGE: u64 = WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_SYM
    | REFER
    | TRUNCATE
    | RESOLVE_UNIX;

/// Every right of an ABI: what no rule allows is denied.
pub(crate) fn handled(abi: u32) -> u64 {
    let since = |minimum, right| if abi >= minimum { right } else { 0 };
    READ | (CHANGE & !(REFER | TRUNCATE | RESOLVE_UNIX))
        | MAKE_CHAR
        | MAKE_BLOCK
        | since(2, REFER)
        | since(3, TRUNCATE)
        | since(5, IOCTL_DEV)
        | since(9, RESOLVE_UNIX)
}

/// Every scope of an ABI.
pub(crate) fn scoped(abi: u32) -> u64 {
    if abi >= 6 { SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL } else { 0 }
}

/// The rights of one kind of place, as far as the ABI has them.
pub(crate) fn of(access: LandlockAccess, abi: u32) -> u64 {
    let rights = match access {
        LandlockAccess::Read => READ,
        LandlockAccess::Write => READ | CHANGE,
        LandlockAccess::Device => READ_FILE | WRITE_FILE,
        LandlockAccess::Terminal => READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEV,
    };
    rights & handled(abi)
}

#[cfg(test)]
mod tests {
    use super::{handled, of, scoped};
    use palisade_plan::step::LandlockAccess;

    /// The masks that linux/landlock.h implies, counted by hand: 13 rights, then one more at 2, 3, 5 and 9.
    #[test]
    fn each_abi_handles_the_rights_that_it_has() {
        let counts = [(1, 13), (2, 14), (3, 15), (4, 15), (5, 16), (6, 16), (7, 16), (8, 16), (9, 17)];
        for (abi, count) in counts {
            assert_eq!(handled(abi), (1 << count) - 1, "abi {abi}");
            assert_eq!(scoped(abi) != 0, abi >= 6);
            for access in [LandlockAccess::Read, LandlockAccess::Write, LandlockAccess::Device] {
                // A rule may only allow what the ruleset handles: the kernel refuses others with EINVAL.
                assert_eq!(of(access, abi) & !handled(abi), 0);
            }
        }
    }

    /// What stands in a place that may only be read is not talked to.
    #[test]
    fn sockets_of_the_host_are_reached_only_where_files_may_be_changed() {
        let resolve = |access| of(access, 9) & super::RESOLVE_UNIX != 0;
        assert!(resolve(LandlockAccess::Write) && !resolve(LandlockAccess::Read));
        assert_eq!(of(LandlockAccess::Write, 8) & super::RESOLVE_UNIX, 0);
    }

    #[test]
    fn devices_have_no_ioctl_and_files_cannot_become_devices() {
        let write = of(LandlockAccess::Write, 7);
        assert_eq!(write & (super::IOCTL_DEV | super::MAKE_CHAR | super::MAKE_BLOCK), 0);
        assert_eq!(of(LandlockAccess::Device, 7) & super::IOCTL_DEV, 0);
    }
}
