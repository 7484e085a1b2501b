//! Which keywords have a block, and what may stand in it: the levels of keepalived's language.

use super::{
    ADDRESS_LISTS, AUTH_HMAC, AUTHENTICATION, BFD_CHECK, BFD_INSTANCE, Block, CHECK, CONNECTION, DNS_CHECK,
    FILE_CHECK, GARP_GROUP, GLOBAL_DEFS, HTTP_GET, MISC_CHECK, REAL_SERVER, SMTP_CHECK, SMTP_HOST, SSL, TOP,
    TRACK_FILE, TRACK_PROCESS, UDP_CHECK, URL, VIRTUAL_SERVER, VRRP_INSTANCE, VRRP_SCRIPT, VRRP_SYNC_GROUP,
};

/// Kind of a keyword at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Shape {
    /// No keyword.
    Unknown,
    /// A line.
    Line,
    /// A line and the block after it.
    Block(Level),
}

/// A place where keywords, or in a list anything, may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Level {
    Top,
    GlobalDefs,
    Instance,
    Authentication,
    AuthHmac,
    SyncGroup,
    Script,
    Process,
    File,
    GarpGroup,
    Bfd,
    Ssl,
    TrackGroup,
    VirtualServer,
    RealServer,
    TcpCheck,
    HttpCheck,
    Url,
    MiscCheck,
    UdpCheck,
    DnsCheck,
    SmtpCheck,
    SmtpHost,
    FileCheck,
    BfdCheck,
    /// Lines that have no keywords.
    List,
}

impl Level {
    /// Kind of a word here.
    pub(in super::super) fn shape(self, keyword: &str) -> Shape {
        if self == Self::List {
            return Shape::Line;
        }
        if let Some(level) = self.below(keyword) {
            return Shape::Block(level);
        }
        let group = self == Self::TrackGroup && keyword == "group";
        match group || self.block(keyword).is_some() {
            true => Shape::Line,
            false => Shape::Unknown,
        }
    }

    /// The table that has a keyword of this level.
    pub(in super::super) fn block(self, keyword: &str) -> Option<&'static Block> {
        self.tables().iter().copied().find(|block| block.find(keyword).is_some())
    }

    /// The tables of its keywords.
    pub(in super::super) const fn tables(self) -> &'static [&'static Block] {
        match self {
            Self::Top => &[&TOP],
            Self::GlobalDefs => &[&GLOBAL_DEFS],
            Self::Instance => &[&VRRP_INSTANCE],
            Self::Authentication => &[&AUTHENTICATION],
            Self::AuthHmac => &[&AUTH_HMAC],
            Self::SyncGroup => &[&VRRP_SYNC_GROUP],
            Self::Script => &[&VRRP_SCRIPT],
            Self::Process => &[&TRACK_PROCESS],
            Self::File => &[&TRACK_FILE],
            Self::GarpGroup => &[&GARP_GROUP],
            Self::Bfd => &[&BFD_INSTANCE],
            Self::Ssl => &[&SSL],
            Self::TrackGroup | Self::List => &[],
            Self::VirtualServer => &[&VIRTUAL_SERVER],
            Self::RealServer => &[&REAL_SERVER],
            Self::TcpCheck => &[&CHECK, &CONNECTION],
            Self::HttpCheck => &[&HTTP_GET, &CHECK, &CONNECTION],
            Self::Url => &[&URL],
            Self::MiscCheck => &[&MISC_CHECK, &CHECK],
            Self::UdpCheck => &[&UDP_CHECK, &CHECK, &CONNECTION],
            Self::DnsCheck => &[&DNS_CHECK, &CHECK, &CONNECTION],
            Self::SmtpCheck => &[&SMTP_CHECK, &CHECK, &CONNECTION],
            Self::SmtpHost => &[&SMTP_HOST, &CHECK, &CONNECTION],
            Self::FileCheck => &[&FILE_CHECK],
            Self::BfdCheck => &[&BFD_CHECK],
        }
    }

    /// The level of a keyword's block.
    pub(in super::super) fn below(self, keyword: &str) -> Option<Self> {
        Some(match (self, keyword) {
            (Self::Top, "global_defs") => Self::GlobalDefs,
            (Self::Top, "vrrp_instance") => Self::Instance,
            (Self::Top, "vrrp_sync_group") => Self::SyncGroup,
            (Self::Top, "vrrp_script") => Self::Script,
            (Self::Top, "vrrp_track_process") => Self::Process,
            (Self::Top, "track_file" | "vrrp_track_file") => Self::File,
            (Self::Top, "garp_group") => Self::GarpGroup,
            (Self::Top, "bfd_instance") => Self::Bfd,
            (Self::Top, "SSL") => Self::Ssl,
            (Self::Top, "track_group") => Self::TrackGroup,
            (Self::Top, "virtual_server") => Self::VirtualServer,
            (Self::Top, word) if ADDRESS_LISTS.contains(&word) => Self::List,
            (Self::GlobalDefs, "notification_email") => Self::List,
            (Self::Instance, "authentication") => Self::Authentication,
            (Self::Instance, "auth_hmac") => Self::AuthHmac,
            (
                Self::Instance,
                "virtual_ipaddress"
                | "virtual_ipaddress_excluded"
                | "unicast_peer"
                | "virtual_routes"
                | "virtual_rules",
            ) => Self::List,
            (
                Self::Instance | Self::SyncGroup,
                "track_interface" | "track_script" | "track_process" | "track_file" | "track_bfd",
            ) => Self::List,
            (Self::SyncGroup | Self::TrackGroup, "group") => Self::List,
            (Self::GarpGroup, "interfaces") => Self::List,
            (Self::VirtualServer, "real_server") => Self::RealServer,
            (Self::RealServer, "TCP_CHECK" | "PING_CHECK") => Self::TcpCheck,
            (Self::RealServer, "HTTP_GET" | "SSL_GET") => Self::HttpCheck,
            (Self::RealServer, "MISC_CHECK") => Self::MiscCheck,
            (Self::RealServer, "UDP_CHECK") => Self::UdpCheck,
            (Self::RealServer, "DNS_CHECK") => Self::DnsCheck,
            (Self::RealServer, "SMTP_CHECK") => Self::SmtpCheck,
            (Self::RealServer, "FILE_CHECK") => Self::FileCheck,
            (Self::RealServer, "BFD_CHECK") => Self::BfdCheck,
            (Self::HttpCheck, "url") => Self::Url,
            (Self::SmtpCheck, "host") => Self::SmtpHost,
            _ => return None,
        })
    }
}
