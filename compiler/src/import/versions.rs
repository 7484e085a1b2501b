//! Differences of keepalived's versions: keywords that came later, and lines that a later version reads
//! otherwise. Found by `tests/judge/compare.rs`, which lets two versions read the same files, and dated by
//! keepalived's tags.
//!
//! Data, and how a version is written. What is read for which version is `read`'s to know.

use std::fmt;
use std::str::FromStr;

/// A version of keepalived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u16, u16, u16);

impl Version {
    /// The oldest that the import knows: that of Debian 12.
    pub const OLDEST: Self = Self(2, 2, 7);
}

impl Default for Version {
    fn default() -> Self {
        Self::OLDEST
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Why a text is no version that an import can read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionError {
    /// Text that is not three numbers.
    Shape,
    /// A version older than [`Version::OLDEST`].
    TooOld,
}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => {
                f.write_str("a version is three numbers such as 2.3.4; `keepalived --version` says it")
            }
            Self::TooOld => write!(
                f,
                "the import knows no version before {}: without the option it reads as that one does",
                Version::OLDEST
            ),
        }
    }
}

impl std::error::Error for VersionError {}

impl FromStr for Version {
    type Err = VersionError;

    /// `2.3.4`, or `v2.3.4` as keepalived writes it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u16>().ok().filter(|_| digits)
        });
        let version = match [numbers.next(), numbers.next(), numbers.next(), numbers.next()] {
            [Some(Some(major)), Some(Some(minor)), Some(Some(patch)), None] => Self(major, minor, patch),
            _ => return Err(VersionError::Shape),
        };
        if version < Self::OLDEST { Err(VersionError::TooOld) } else { Ok(version) }
    }
}

/// Keywords of a block that came with a version.
#[derive(Debug, Clone, Copy)]
pub struct Younger {
    /// The first version that knows them.
    pub since: Version,
    /// Name of the block, as in the tables of keywords.
    pub block: &'static str,
    /// The keywords, separated by spaces.
    pub names: &'static str,
}

const fn younger(since: Version, block: &'static str, names: &'static str) -> Younger {
    Younger { since, block, names }
}

/// Keywords that are younger than [`Version::OLDEST`].
pub const KEYWORDS: [Younger; 12] = [
    younger(Version(2, 2, 8), "global_defs", "v3_checksum_as_v2 json_version"),
    younger(Version(2, 2, 8), "vrrp_instance", "v3_checksum_as_v2 no_virtual_ipaddress timer_expired_backup"),
    younger(Version(2, 2, 8), "HTTP_GET, SSL_GET", "tls_compliant"),
    younger(Version(2, 2, 8), "url", "tls_compliant"),
    younger(Version(2, 2, 8), "bfd_instance", "multihop"),
    younger(
        Version(2, 3, 0),
        "global_defs",
        "use_symlink_paths dbus_no_interface_name snmp_vs_stats_update_interval \
            snmp_rs_stats_update_interval",
    ),
    younger(Version(2, 3, 2), "global_defs", "iproute_usr_dir iproute_etc_dir thread_timer_expired"),
    younger(
        Version(2, 3, 3),
        "global_defs",
        "vrrp_owner_ignore_adverts state_dump_file stats_dump_file json_dump_file",
    ),
    younger(Version(2, 3, 3), "vrrp_instance", "owner_ignore_adverts"),
    younger(Version(2, 4, 0), "global_defs", "vrrp_delay_after_boot"),
    younger(Version(2, 4, 0), "vrrp_instance", "auth_hmac"),
    younger(Version(2, 4, 0), "auth_hmac", "key active_key anti_replay time_window mode"),
];

/// The first version that knows a keyword of a block; `None`: all that the import knows do.
#[must_use]
pub fn since(block: &str, keyword: &str) -> Option<Version> {
    let mut rows = KEYWORDS.iter().filter(|row| row.block == block);
    rows.find(|row| row.names.split(' ').any(|name| name == keyword)).map(|row| row.since)
}

/// A line that a later version reads otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// The first version that does.
    pub since: Version,
    /// The block and the line.
    pub line: &'static str,
    /// Its meaning of the line: follows "keepalived 2.3.0 and later:".
    pub text: &'static str,
    /// Whether the import reads the line so for such a version. Otherwise somebody must decide.
    pub read: bool,
}

/// `interval` and `timeout` of a script with a decimal point.
pub const SCRIPT_FRACTION: Fact = Fact {
    since: Version(2, 3, 2),
    line: "vrrp_script: `interval 1.5`, `timeout 0.5`",
    text: "fractions of a second count; before, the whole seconds alone",
    read: true,
};

/// A switch of `global_defs` that was always on.
pub const GLOBAL_SWITCH: Fact = Fact {
    since: Version(2, 3, 0),
    line: "global_defs: `vrrp_strict` and `vrrp_skip_check_adv_addr` with a value",
    text: "the value counts: `off` is off, and with any other than on and off the line is ignored; before, \
        the line \
           is on whatever stands there",
    read: true,
};

/// `connect_ip` with something that is no address.
pub const CONNECT_NOWHERE: Fact = Fact {
    since: Version(2, 3, 4),
    line: "every check that connects: `connect_ip` with what is no address",
    text: "the check has no address to connect to; before, it goes to the real server",
    read: false,
};

/// Keywords in `host` of SMTP_CHECK.
pub const SMTP_HOST: Fact = Fact {
    since: Version(2, 2, 8),
    line: "SMTP_CHECK: `host`",
    text: "what stands in `host` counts for the check itself, and each `host` is a further check of the real \
        server's own \
           port with a time of 0; before, each `host` is a check of its own",
    read: false,
};

/// `payload` and `require_reply` whose last byte is `ff`.
pub const HEX_END: Fact = Fact {
    since: Version(2, 3, 3),
    line: "UDP_CHECK: `payload` and `require_reply` that end with the byte `ff`",
    text: "the bytes count; before, they are not understood, so that none is sent and any answer will do",
    read: true,
};

/// A comment that ends with a backslash.
pub const COMMENT_END: Fact = Fact {
    since: Version(2, 4, 0),
    line: "anywhere: a comment behind a statement that ends with a backslash",
    text: "the backslash is a part of the comment; before, it is put behind the statement",
    read: true,
};

/// An address that stands twice among the VIPs.
pub const DOUBLE_VIP: Fact = Fact {
    since: Version(2, 3, 3),
    line: "vrrp_instance: an address twice in `virtual_ipaddress` or `virtual_ipaddress_excluded`",
    text: "the first counts, and the second is ignored; before, both are advertised",
    read: true,
};

/// A unicast peer that stands twice.
pub const DOUBLE_PEER: Fact = Fact {
    since: Version(2, 3, 3),
    line: "vrrp_instance: an address twice in `unicast_peer`",
    text: "the second is ignored; before, each advertisement is sent to it twice",
    read: true,
};

/// All facts, for the document.
pub const FACTS: [Fact; 8] = [
    SMTP_HOST,
    GLOBAL_SWITCH,
    SCRIPT_FRACTION,
    DOUBLE_VIP,
    DOUBLE_PEER,
    HEX_END,
    COMMENT_END,
    CONNECT_NOWHERE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_numbers_and_not_too_old() {
        assert_eq!("2.3.4".parse(), Ok(Version(2, 3, 4)));
        assert_eq!("v2.2.7".parse(), Ok(Version::OLDEST));
        for text in ["", "2", "2.3", "2.3.4.5", "2.3.x", "2.3.-1", "+2.3.4", "2.3.70000"] {
            assert_eq!(text.parse::<Version>(), Err(VersionError::Shape), "{text}");
        }
        assert_eq!("2.0.20".parse::<Version>(), Err(VersionError::TooOld));
        assert!(Version(2, 10, 0) > Version(2, 9, 9));
    }

    #[test]
    fn every_younger_keyword_is_in_the_table_of_its_block() {
        for row in KEYWORDS {
            let block = super::super::keywords::blocks().into_iter().find(|block| block.name == row.block);
            let block = block.unwrap_or_else(|| panic!("no block {}", row.block));
            for name in row.names.split(' ') {
                assert!(block.find(name).is_some(), "{name} in {}", row.block);
                assert!(row.since > Version::OLDEST, "{name}");
            }
        }
    }
}
