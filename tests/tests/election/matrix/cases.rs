//! The routers of the interoperation matrix, and both directors' configurations of them. What happens to them
//! is in `matrix`.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

/// A director of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Director {
    /// evenkeeld.
    Ours,
    /// keepalived 2.2.7.
    Theirs,
}

impl Director {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Ours => Self::Theirs,
            Self::Theirs => Self::Ours,
        }
    }

    /// The last byte of its addresses.
    const fn number(self) -> u8 {
        match self {
            Self::Ours => 1,
            Self::Theirs => 2,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
        }
    }

    pub(super) fn v4(self) -> String {
        format!("10.3.0.{}", self.number())
    }

    pub(super) fn v6(self) -> String {
        format!("2001:db8:3::{}", self.number())
    }
}

/// Priorities of the preferred and of the other director.
const PREFERRED: u8 = 100;
const OTHER: u8 = 90;
/// Priority that a failing tracker takes: enough to make the preferred director the other one.
pub(super) const PENALTY: u8 = 20;

/// One virtual router between the two.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) vrid: u8,
    version: u8,
    v6: bool,
    password: bool,
    pub(super) unicast: bool,
    preferred: Director,
    /// Whether a higher priority takes over.
    pub(super) preempt: bool,
    /// keepalived has our priority, whatever the cluster file says of it.
    equal: bool,
    virtual_mac: bool,
}

impl Case {
    pub(super) fn name(&self) -> String {
        format!("r{}", self.vrid)
    }

    /// For people.
    pub(super) fn what(&self) -> String {
        let flag = |on: bool, text: &'static str| if on { text } else { "" };
        format!(
            "VRID {} v{} {}{} {} {} preferred{}{}{}",
            self.vrid,
            self.version,
            if self.v6 { "IPv6" } else { "IPv4" },
            flag(self.password, " PASS"),
            if self.unicast { "unicast" } else { "multicast" },
            self.preferred.name(),
            flag(!self.preempt, " nopreempt"),
            flag(self.equal, " equal priority"),
            flag(self.virtual_mac, " virtual MAC"),
        )
    }

    pub(super) fn vip(&self) -> IpAddr {
        let text =
            if self.v6 { format!("2001:db8:3::1:{:x}", self.vrid) } else { format!("10.3.1.{}", self.vrid) };
        text.parse().expect("an address")
    }

    /// Priority of a director before tracking.
    pub(super) fn priority(&self, of: Director) -> u8 {
        if self.equal || of == self.preferred { PREFERRED } else { OTHER }
    }
}

/// Every router of the matrix.
pub(super) fn all() -> Vec<Case> {
    let plain = Case {
        vrid: 0,
        version: 3,
        v6: false,
        password: false,
        unicast: false,
        preferred: Director::Ours,
        preempt: true,
        equal: false,
        virtual_mac: false,
    };
    let mut cases = Vec::new();
    for (version, v6, password) in [(2, false, false), (2, false, true), (3, false, false), (3, true, false)]
    {
        for unicast in [false, true] {
            for preferred in [Director::Ours, Director::Theirs] {
                cases.push(Case { version, v6, password, unicast, preferred, ..plain.clone() });
            }
        }
    }
    for preferred in [Director::Ours, Director::Theirs] {
        cases.push(Case { preempt: false, preferred, ..plain.clone() });
        cases.push(Case { preempt: false, preferred, v6: true, ..plain.clone() });
        cases.push(Case { virtual_mac: true, preferred, ..plain.clone() });
    }
    cases.push(Case { equal: true, ..plain.clone() });
    cases.push(Case { equal: true, v6: true, ..plain });
    for (case, vrid) in cases.iter_mut().zip(10..) {
        case.vrid = vrid;
    }
    cases
}

/// The cluster file of both directors; `track` is the file that ours watches.
pub(super) fn cluster_file(cases: &[Case], track: &Path) -> String {
    let mut text = "version = 1\nname = \"matrix\"\n[segments.front]\n\
        subnets = [\"10.3.0.0/16\", \"2001:db8:3::/64\"]\n[hosts]\n"
        .to_owned();
    for director in [Director::Ours, Director::Theirs] {
        let (name, v4, v6) = (director.name(), director.v4(), director.v6());
        let _ =
            writeln!(text, "{name} = {{ address = \"{v4}\", interface = \"eth0\", addresses = [\"{v6}\"] }}");
    }
    let _ = writeln!(text, "[trackers.maintenance]\ntype = \"file\"\npath = \"{}\"", track.display());
    for case in cases {
        let (first, second) = (case.preferred, case.preferred.other());
        let _ = write!(
            text,
            "[virtual_routers.{}]\nvrid = {}\nversion = {}\nvips = [\"{}\"]\ndirectors = [\"{}\", \"{}\"]\n\
             priorities = {{ {} = {PREFERRED}, {} = {OTHER} }}\n",
            case.name(),
            case.vrid,
            case.version,
            case.vip(),
            first.name(),
            second.name(),
            first.name(),
            second.name(),
        );
        let mut add = |given: bool, line: &str| {
            if given {
                text.push_str(line);
                text.push('\n');
            }
        };
        add(case.password, "auth = { type = \"pass\", secret = { literal = \"hell>com\" } }");
        add(case.unicast && !case.v6, "unicast = {}");
        // keepalived 2.2.7 leaves the hop limit of IPv6 unicast at the kernel's 64, which we take for routed
        // unless told otherwise.
        add(case.unicast && case.v6, "unicast = { min_ttl = 64 }");
        add(!case.preempt, "preempt = false");
        add(case.virtual_mac, "virtual_mac = {}");
        let _ = writeln!(text, "track = [{{ tracker = \"maintenance\", weight = {PENALTY} }}]");
    }
    text
}

/// keepalived's configuration; `track` is the file that it watches.
pub(super) fn keepalived_file(cases: &[Case], track: &Path) -> String {
    let mut text = format!(
        "global_defs {{\n  router_id LAB\n}}\nvrrp_track_file maintenance {{\n  file {}\n}}\n",
        track.display()
    );
    let (own, peer) = (Director::Theirs, Director::Ours);
    for case in cases {
        let _ = write!(
            text,
            "vrrp_instance {} {{\n  state BACKUP\n  version {}\n  interface eth0\n  virtual_router_id {}\n  \
             priority {}\n  advert_int 1\n  track_file {{\n    maintenance weight {PENALTY}\n  }}\n  \
             virtual_ipaddress {{\n    {}\n  }}\n",
            case.name(),
            case.version,
            case.vrid,
            case.priority(own),
            case.vip(),
        );
        if case.password {
            text += "  authentication {\n    auth_type PASS\n    auth_pass hell>com\n  }\n";
        }
        if case.unicast {
            let (from, to) = if case.v6 { (own.v6(), peer.v6()) } else { (own.v4(), peer.v4()) };
            let _ = write!(text, "  unicast_src_ip {from}\n  unicast_peer {{\n    {to}\n  }}\n");
        }
        if !case.preempt {
            text += "  nopreempt\n";
        }
        text += "}\n";
    }
    text
}
