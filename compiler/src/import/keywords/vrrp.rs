//! Keywords of virtual routers and of what they track.

use super::{Block, MAIL, Row, WAITS_FOR_CONNECTIONS, always, carried, changed, refused};

pub(in super::super) const VRRP_INSTANCE: Block = Block {
    name: "vrrp_instance",
    place: "virtual_routers.*",
    rows: &[
        always("state", "priorities decide; keepalived, too, starts as Backup below priority 255"),
        carried("interface", "hosts.*.interface"),
        carried("virtual_router_id", "vrid"),
        carried("priority", "priorities"),
        carried("advert_int", "advert_interval"),
        carried("version", "version"),
        carried("authentication", "auth"),
        refused("auth_hmac", NO_KEYS),
        carried("virtual_ipaddress", "vips"),
        carried("virtual_ipaddress_excluded", "unadvertised_vips"),
        refused("no_virtual_ipaddress", "a virtual router has at least one VIP"),
        carried("unicast_src_ip mcast_src_ip", "hosts.*.address"),
        carried("unicast_peer", "unicast"),
        carried("unicast_ttl", "unicast.ttl"),
        always("unicast_fault_no_peer", "a cluster file that advertises to nobody does not compile"),
        always("check_unicast_src", "advertisements from others than the peers are always rejected"),
        carried("nopreempt preempt", "preempt"),
        carried("preempt_delay", "preempt_delay"),
        carried("track_interface track_script track_process track_file", "track"),
        refused("track_bfd", "no BFD: a tracker of type `script` can ask the daemon that speaks it"),
        always("track_src_ip", "a Master whose source address goes hands over at once"),
        refused(
            "dont_track_primary",
            "without its interface a director cannot advertise, so it does not stay Master",
        ),
        carried("garp_master_repeat", "garp.repeat"),
        carried("garp_master_delay", "garp.delay"),
        carried("garp_master_refresh", "garp.refresh"),
        changed(
            "garp_lower_prio_repeat garp_lower_prio_delay garp_master_refresh_repeat",
            "garp",
            "every burst has the same number and delay",
        ),
        refused(
            "garp_extra_if vmac_garp_intvl",
            "the announcements go to the interface that has the VIP, whichever it is",
        ),
        carried("use_vmac", "virtual_mac"),
        carried("vmac_xmit_base", "virtual_mac.advertise_from_base"),
        refused(
            "use_vmac_addr use_ipvlan",
            "one virtual MAC address a virtual router, on the interface that advertises: `virtual_mac`",
        ),
        always("accept", "a VIP always accepts packets"),
        refused("no_accept", "a VIP always accepts packets; a firewall rule can drop them"),
        refused("strict_mode", "the rules of the RFCs hold except where keepalived's users need otherwise"),
        carried("v3_checksum_as_v2", "checksum"),
        always(
            "old_unicast_checksum",
            "both checksums are accepted; the one of keepalived 1.3.6 and older is not sent",
        ),
        always("skip_check_adv_addr", "other VIP lists are counted and never rejected"),
        refused("down_timer_adverts", "always 3 intervals and the skew time, as the RFCs say"),
        refused(
            "lower_prio_no_advert higher_prio_send_advert owner_ignore_adverts",
            "a Master answers a lower priority at once, and yields to a higher one in silence",
        ),
        refused(
            "timer_expired_backup",
            "a Master that is late has lost its lease: its VIPs are gone before another claims them",
        ),
        refused("mcast_dst_ip", "advertisements go to 224.0.0.18 and ff02::12, or by unicast"),
        refused("vrf", "advertisements leave from the interface that has the host's address"),
        carried("virtual_routes", "routes"),
        carried("virtual_rules", "rules"),
        refused(
            "promote_secondaries",
            "VIPs are single addresses, of which none takes others away; set the sysctl where VIPs have a \
            prefix length",
        ),
        carried("notify_master notify_backup notify_fault notify_stop", "hooks"),
        carried("notify", "hooks.any"),
        changed("notify_deleted", "hooks.stop", "a router that left the plan is a stop"),
        refused("notify_master_rx_lower_pri", "a rival's advertisement is in `status` and in the log"),
        refused("notify_priority_changes", "hooks are told of states; `status` shows the priority"),
        refused("smtp_alert", MAIL),
        refused("kernel_rx_buf_size", "advertisements are read at once by a thread of their own"),
        refused(
            "linkbeat_use_polling",
            "the kernel tells of carrier changes; drivers that need polling are gone",
        ),
        always("debug native_ipv6", "without effect in keepalived, too"),
        changed("lvs_sync_daemon_interface", "connection_sync", WAITS_FOR_CONNECTIONS),
    ],
};

pub(in super::super) const AUTHENTICATION: Block = Block {
    name: "authentication",
    place: "virtual_routers.*.auth",
    rows: &[carried("auth_type", "type"), carried("auth_pass", "secret")],
};

pub(in super::super) const AUTH_HMAC: Block = Block {
    name: "auth_hmac",
    place: "",
    rows: &[refused("key active_key anti_replay time_window mode", NO_KEYS)],
};

const NO_KEYS: &str = "keys are not carried: put each into a file on the directors, and write \
    `auth = { type = \"hmac\", … }`";

const LIFETIME: &str = "the address has no lifetime and no scope of its own: the daemon holds and removes it";

/// Options on the lines of `virtual_ipaddress` and `virtual_ipaddress_excluded`.
pub(in super::super) const ADDRESS: Block = Block {
    name: "options of an address",
    place: "virtual_routers.*.vip_settings.*",
    rows: &[
        carried("dev", "interface"),
        carried("label", "label"),
        always("no_track", "a VIP that is deleted is put back, and nobody steps down"),
        refused("brd broadcast", "a VIP needs no broadcast address"),
        Row { names: "scope", fate: super::Fate::NotCarried, ours: "", why: LIFETIME },
        refused(
            "peer home -nodad nodad mngtmpaddr noprefixroute autojoin preferred_lft track_group",
            LIFETIME,
        ),
        refused("use_vmac", "one virtual MAC address a virtual router: `virtual_mac`"),
    ],
};

pub(in super::super) const VRRP_SYNC_GROUP: Block = Block {
    name: "vrrp_sync_group",
    place: "sync_groups.*",
    rows: &[
        carried("group", "virtual_routers"),
        carried("track_interface track_script track_process track_file", "track"),
        refused("track_bfd", "no BFD: a tracker of type `script` can ask the daemon that speaks it"),
        carried("notify_master notify_backup notify_fault notify_stop", "hooks"),
        carried("notify", "hooks.any"),
        refused("notify_priority_changes", "hooks are told of states; `status` shows the priority"),
        refused("smtp_alert", MAIL),
        refused(
            "global_tracking sync_group_tracking_weight",
            "what the group tracks has no weight: a failure takes all of its routers out",
        ),
    ],
};

pub(in super::super) const VRRP_SCRIPT: Block = Block {
    name: "vrrp_script",
    place: "trackers.*",
    rows: &[
        carried("script", "command"),
        carried("interval", "interval"),
        carried("timeout", "timeout"),
        carried("rise", "rise"),
        carried("fall", "fall"),
        carried("user", "user"),
        carried("init_fail", "initially"),
        carried("weight", "virtual_routers.*.track"),
    ],
};

pub(in super::super) const TRACK_PROCESS: Block = Block {
    name: "vrrp_track_process",
    place: "trackers.*",
    rows: &[
        carried("process", "process"),
        carried("quorum", "quorum"),
        carried("weight", "virtual_routers.*.track"),
        refused(
            "quorum_max param_match full_command",
            "processes are counted by their name, and at least so many must run: a tracker of type `script` \
            can ask more",
        ),
        refused("delay fork_delay terminate_delay", "a process counts from when it is seen until it is not"),
    ],
};

pub(in super::super) const TRACK_FILE: Block = Block {
    name: "track_file",
    place: "trackers.*",
    rows: &[
        carried("file", "path"),
        carried("weight", "virtual_routers.*.track"),
        refused("init_file", "the daemon writes no such file; while there is none the tracker fails"),
    ],
};
