//! Every keyword of keepalived and what becomes of it: the one table behind the importer, its report and
//! `docs/keepalived/keywords.md`.
//!
//! Data only. A keyword that stands in several blocks has a row in each.

use super::notes::Fate;

mod checks;
mod global;
mod levels;
mod services;
mod vrrp;

/// Some keywords of a block that have one fate.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The keywords, with their old spellings, separated by spaces.
    pub names: &'static str,
    /// Fate of lines with these keywords when nothing about their value speaks against it.
    pub fate: Fate,
    /// Place in the cluster file, below the block's own place; empty when nothing is needed there.
    pub ours: &'static str,
    /// Why, and what to do instead.
    pub why: &'static str,
}

/// A block of keepalived's language.
#[derive(Debug, Clone, Copy)]
pub struct Block {
    /// Its name in the report and the document.
    pub name: &'static str,
    /// The key that it becomes in the cluster file.
    pub place: &'static str,
    /// Its keywords.
    pub rows: &'static [Row],
}

impl Block {
    /// The row of a keyword.
    #[must_use]
    pub fn find(&self, keyword: &str) -> Option<&'static Row> {
        self.rows.iter().find(|row| row.names.split(' ').any(|name| name == keyword))
    }

    /// Every keyword.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.rows.iter().flat_map(|row| row.names.split(' '))
    }
}

/// All blocks, in the order of the document.
#[must_use]
pub const fn blocks() -> [&'static Block; 26] {
    [
        &TOP,
        &GLOBAL_DEFS,
        &VRRP_INSTANCE,
        &AUTHENTICATION,
        &AUTH_HMAC,
        &ADDRESS,
        &VRRP_SYNC_GROUP,
        &VRRP_SCRIPT,
        &TRACK_PROCESS,
        &TRACK_FILE,
        &GARP_GROUP,
        &BFD_INSTANCE,
        &VIRTUAL_SERVER_GROUP,
        &VIRTUAL_SERVER,
        &REAL_SERVER,
        &CHECK,
        &CONNECTION,
        &HTTP_GET,
        &URL,
        &MISC_CHECK,
        &UDP_CHECK,
        &DNS_CHECK,
        &SMTP_CHECK,
        &FILE_CHECK,
        &BFD_CHECK,
        &SSL,
    ]
}

pub(super) use checks::{
    BFD_CHECK, CHECK, CONNECTION, DNS_CHECK, FILE_CHECK, HTTP_GET, MISC_CHECK, SMTP_CHECK, SMTP_HOST, SSL,
    UDP_CHECK, URL,
};
pub(super) use global::{ADDRESS_LISTS, BFD_INSTANCE, GARP_GROUP, GLOBAL_DEFS, TOP};
pub(super) use levels::{Level, Shape};
pub(super) use services::{REAL_SERVER, VIRTUAL_SERVER, VIRTUAL_SERVER_GROUP};
pub(super) use vrrp::{
    ADDRESS, AUTH_HMAC, AUTHENTICATION, TRACK_FILE, TRACK_PROCESS, VRRP_INSTANCE, VRRP_SCRIPT,
    VRRP_SYNC_GROUP,
};

const fn carried(names: &'static str, ours: &'static str) -> Row {
    Row { names, fate: Fate::Carried, ours, why: "" }
}

/// Needs no key of ours, and why.
const fn always(names: &'static str, why: &'static str) -> Row {
    Row { names, fate: Fate::Carried, ours: "", why }
}

const fn changed(names: &'static str, ours: &'static str, why: &'static str) -> Row {
    Row { names, fate: Fate::Changed, ours, why }
}

const fn refused(names: &'static str, why: &'static str) -> Row {
    Row { names, fate: Fate::NotCarried, ours: "", why }
}

/// Why a synchronisation of connections is not quite the same.
const WAITS_FOR_CONNECTIONS: &str = "a director that returns waits for the Master's connections before it \
    preempts, 30 s at most: `preempt_after_sync = \"0s\"` does as keepalived does";

/// Keywords that need a value, of those that nothing reads the value of.
pub(super) const NEED_A_VALUE: &str = "\
    smtp_server smtp_connect_timeout vrrp_garp_master_refresh_repeat vrrp_garp_lower_prio_repeat \
    vrrp_garp_lower_prio_delay vrrp_mcast_group4 vrrp_mcast_group6 vrrp_down_timer_adverts \
    vrrp_rlimit_rttime vrrp_rlimit_rtime checker_rlimit_rttime checker_rlimit_rtime bfd_rlimit_rttime \
    bfd_rlimit_rtime process_name vrrp_process_name checker_process_name lvs_process_name \
    bfd_process_name umask nftables_priority nftables_ipvs_priority nftables_ipvs_start_fwmark \
    config_save_dir vmac_prefix vmac_addr_prefix garp_master_refresh_repeat garp_lower_prio_repeat \
    garp_lower_prio_delay down_timer_adverts mcast_dst_ip vrf notify_master_rx_lower_pri quorum_max \
    delay fork_delay terminate_delay bind_port fwmark min_reply_length max_reply_length digest \
    child_wait_time source_ip min_rx min_tx idle_tx multiplier ttl hoplimit max_hops";

const MAIL: &str = "no mail is sent: hooks tell a program, and `status` tells your monitoring";
