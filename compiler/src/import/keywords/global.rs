//! Keywords at the top of a file, in `global_defs`, and in the small blocks beside it.

use super::{Block, MAIL, WAITS_FOR_CONNECTIONS, always, carried, changed, refused};

const SERVICE_MANAGER: &str = "a setting of the service manager: put it into the unit of evenkeeld";
const OWN_THREAD: &str = "the election has a thread of its own, which waits for no file, script or kernel \
    change; \
                          priorities are set in the unit of evenkeeld";
const FIREWALL: &str =
    "no firewall rules are written: `no_accept` and the filters of virtual MAC addresses are not carried";
const STATUS: &str = "`evenkeeld status --json` and its socket say all that they say";
const FIFO: &str = "hooks are told of every change, in order and one at a time, so no pipe is needed";
const STATIC: &str = "addresses and rules that do not move belong to the host's own network configuration";

/// Keywords of the top whose block is a list.
pub(in super::super) const ADDRESS_LISTS: [&str; 6] = [
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "virtual_server_group",
    "linkbeat_interfaces",
    "interface_up_down_delays",
];

pub(in super::super) const TOP: Block = Block {
    name: "the top of the file",
    place: "",
    rows: &[
        carried(
            "global_defs vrrp_sync_group vrrp_script vrrp_instance virtual_server_group virtual_server",
            "",
        ),
        carried("track_file vrrp_track_file vrrp_track_process", "trackers"),
        carried("garp_group", "virtual_routers.*.garp.interval"),
        refused("static_ipaddress static_rules static_routes track_group", STATIC),
        refused(
            "linkbeat_interfaces linkbeat_use_polling",
            "the kernel tells of carrier changes; drivers that need polling are gone",
        ),
        refused(
            "interface_up_down_delays",
            "an interface that is down cannot carry advertisements; there is no delay",
        ),
        refused("bfd_instance", "no BFD: a tracker of type `script` can ask the daemon that speaks it"),
        carried("SSL", ""),
        refused("net_namespace net_namespace_ipvs", "set `NetworkNamespacePath=` in the unit of evenkeeld"),
        refused("namespace_with_ipsets", FIREWALL),
        refused("instance", "one evenkeeld runs in a network namespace, with a state directory of its own"),
        refused("use_pid_dir child_wait_time", SERVICE_MANAGER),
    ],
};

pub(in super::super) const GLOBAL_DEFS: Block = Block {
    name: "global_defs",
    place: "",
    rows: &[
        always("router_id", "a host's name in the cluster file is its name in logs and status"),
        refused(
            "notification_email notification_email_from smtp_server smtp_helo_name smtp_connect_timeout \
            smtp_alert smtp_alert_vrrp smtp_alert_checker no_email_faults no_checker_emails",
            MAIL,
        ),
        carried("vrrp_version", "virtual_routers.*.version"),
        carried("vrrp_garp_master_repeat", "virtual_routers.*.garp.repeat"),
        carried("vrrp_garp_master_delay", "virtual_routers.*.garp.delay"),
        carried("vrrp_garp_master_refresh", "virtual_routers.*.garp.refresh"),
        carried("vrrp_garp_interval vrrp_gna_interval", "virtual_routers.*.garp.interval"),
        carried("vrrp_min_garp", "virtual_routers.*.garp"),
        changed(
            "vrrp_garp_master_refresh_repeat vrrp_garp_lower_prio_repeat vrrp_garp_lower_prio_delay",
            "virtual_routers.*.garp",
            "every burst has the same number and delay",
        ),
        refused(
            "vrrp_garp_extra_if vrrp_vmac_garp_intvl",
            "the announcements go to the interface that has the VIP, whichever it is",
        ),
        refused(
            "vrrp_mcast_group4 vrrp_mcast_group6",
            "advertisements go to 224.0.0.18 and ff02::12, or by unicast",
        ),
        carried("vrrp_startup_delay", "virtual_routers.*.startup_delay"),
        refused(
            "vrrp_delay_after_boot",
            "set `startup_delay` of the virtual router; it counts from the start of the daemon",
        ),
        carried("v3_checksum_as_v2", "virtual_routers.*.checksum"),
        carried("script_user", "hooks, checks and trackers: user"),
        always(
            "enable_script_security",
            "programs run without a shell, as the user that is written, never as root by default",
        ),
        refused("set_supplementary_groups", "programs run with the groups of their user"),
        changed("lvs_sync_daemon", "connection_sync", WAITS_FOR_CONNECTIONS),
        carried("lvs_timeouts", "ipvs.timeouts"),
        changed(
            "lvs_flush",
            "policy.exclusive_ipvs",
            "foreign IPVS services are removed at all times, not at the start only",
        ),
        refused(
            "lvs_flush_on_stop lvs_flush_onstop",
            "a stop leaves IPVS as it is, so that connections survive; `evenkeeld cleanup` removes it",
        ),
        always("dynamic_interfaces", "interfaces may come and go at any time"),
        always("vrrp_check_unicast_src", "advertisements from others than the peers are always rejected"),
        always("vrrp_skip_check_adv_addr", "other VIP lists are counted and never rejected"),
        refused(
            "vrrp_strict",
            "the rules of the RFCs hold except where keepalived's users need otherwise; a VIP always accepts \
            packets",
        ),
        refused("vrrp_down_timer_adverts", "always 3 intervals and the skew time, as the RFCs say"),
        refused(
            "vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert vrrp_owner_ignore_adverts",
            "a Master answers a lower priority at once, and yields to a higher one in silence",
        ),
        refused(
            "log_unknown_vrids",
            "advertisements of virtual routers that are not in the plan are not logged",
        ),
        refused(
            "max_auto_priority min_auto_priority_delay vrrp_priority checker_priority bfd_priority \
            vrrp_no_swap checker_no_swap bfd_no_swap vrrp_rt_priority checker_rt_priority bfd_rt_priority \
            vrrp_rlimit_rttime vrrp_rlimit_rtime checker_rlimit_rttime checker_rlimit_rtime \
            bfd_rlimit_rttime bfd_rlimit_rtime vrrp_cpu_affinity checker_cpu_affinity bfd_cpu_affinity \
            thread_timer_expired",
            OWN_THREAD,
        ),
        refused(
            "process_names process_name vrrp_process_name checker_process_name lvs_process_name \
            bfd_process_name umask use_pid_dir child_wait_time tmp_config_directory startup_script \
            startup_script_timeout shutdown_script shutdown_script_timeout",
            SERVICE_MANAGER,
        ),
        refused("net_namespace net_namespace_ipvs", "set `NetworkNamespacePath=` in the unit of evenkeeld"),
        refused("instance", "one evenkeeld runs in a network namespace, with a state directory of its own"),
        refused(
            "namespace_with_ipsets nftables nftables_priority nftables_counters nftables_ifindex \
            nftables_ipvs nftables_ipvs_priority nftables_ipvs_start_fwmark vrrp_iptables vrrp_ipsets \
            disable_local_igmp",
            FIREWALL,
        ),
        refused(
            "snmp_socket enable_snmp_keepalived enable_snmp_vrrp enable_snmp_checker enable_snmp_rfc \
            enable_snmp_rfcv2 enable_snmp_rfcv3 enable_traps snmp_vs_stats_update_interval \
            snmp_rs_stats_update_interval enable_dbus dbus_service_name dbus_no_interface_name json_version \
            json_file_location json_dump_file state_file_location state_dump_file stats_file_location \
            stats_dump_file data_use_instance",
            STATUS,
        ),
        refused(
            "notify_fifo notify_fifo_script vrrp_notify_fifo vrrp_notify_fifo_script lvs_notify_fifo \
            lvs_notify_fifo_script fifo_write_vrrp_states_on_reload vrrp_notify_priority_changes",
            FIFO,
        ),
        always("checker_log_all_failures", "`evenkeeld status` shows every check and its last error"),
        refused("rs_init_notifies", "hooks are told of changes, not of the first state"),
        refused("default_interface", STATIC),
        refused(
            "linkbeat_use_polling",
            "the kernel tells of carrier changes; drivers that need polling are gone",
        ),
        always("use_symlink_paths", "paths are used as they are written"),
        always(
            "reload_check_config reload_file reload_time_file reload_repeat config_save_dir include_check \
            random_seed iproute_usr_dir iproute_etc_dir",
            "a plan is checked before it is delivered and taken whole or not at all",
        ),
        refused(
            "vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs \
            vrrp_netlink_monitor_rcv_bufs_force lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force \
            lvs_netlink_monitor_rcv_bufs lvs_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs \
            process_monitor_rcv_bufs_force vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier",
            "news of the kernel that were lost are made up for by looking again",
        ),
        refused("vmac_prefix vmac_addr_prefix", "`virtual_mac.interface` names the interface"),
    ],
};

pub(in super::super) const GARP_GROUP: Block = Block {
    name: "garp_group",
    place: "",
    rows: &[
        carried("garp_interval gna_interval", "virtual_routers.*.garp.interval"),
        always("interface interfaces", "the virtual routers on these interfaces get it"),
    ],
};

pub(in super::super) const BFD_INSTANCE: Block = Block {
    name: "bfd_instance",
    place: "",
    rows: &[refused(
        "neighbor_ip neighbour_ip source_ip min_rx min_tx idle_tx multiplier passive ttl hoplimit max_hops \
        multihop weight vrrp checker",
        "no BFD: a tracker of type `script` can ask the daemon that speaks it",
    )],
};
