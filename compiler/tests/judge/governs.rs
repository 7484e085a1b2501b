//! Which keywords govern which property: the table behind the second law. `differ in …` are words of the
//! report about an object that
//! has no line of the kind itself.

use crate::corpus::CHECKS;

/// The keywords that govern a property; `@block` is every line inside such a block.
pub(crate) fn keywords(object: &str, property: &str) -> Vec<&'static str> {
    let of_request = || property.strip_prefix("request ")?.split_once(' ').map(|(_, property)| property);
    let property = of_request().unwrap_or(property);
    let starts = |prefix: &str| property.starts_with(prefix);
    let only = property.strip_prefix("only:");
    if let Some(only) = only {
        return only_keywords(only);
    }
    if object.contains(" check ") {
        return match property {
            "interval" => vec!["delay_loop", "FILE_CHECK"],
            "timeout" => vec![
                "connect_timeout",
                "misc_timeout",
                "timeout",
                "delay_loop",
                "retry",
                "PING_CHECK",
                "DNS_CHECK",
                "UDP_CHECK",
                "SMTP_CHECK",
                "MISC_CHECK",
            ],
            "retries" => {
                vec!["retry", "nb_get_retry", "MISC_CHECK", "DNS_CHECK", "SMTP_CHECK", "HTTP_GET", "SSL_GET"]
            }
            "retry_delay" => vec![
                "delay_before_retry",
                "delay_loop",
                "retry",
                "nb_get_retry",
                "DNS_CHECK",
                "HTTP_GET",
                "SSL_GET",
            ],
            "warmup" => vec!["warmup", "delay_loop"],
            "initially_down" => vec!["alpha"],
            "target" => vec!["connect_ip", "connect_port", "host", "@host", "virtual_server", "real_server"],
            "source" => vec!["bindto", "bind_port"],
            "interface" => vec!["bind_if", "bindto"],
            "path" => vec!["path", "url"],
            "host" => vec!["virtualhost", "enable_sni", "sni_name"],
            "status" => vec!["status_code"],
            "body" => vec!["regex", "regex_options", "regex_no_match"],
            "command" => vec!["misc_path", "MISC_CHECK"],
            "user" => vec!["user", "script_user", "misc_path"],
            "dynamic_weight" => vec!["misc_dynamic"],
            "record" => vec!["type"],
            "name" => vec!["name"],
            "digest" => vec!["digest"],
            "must not match" => vec!["regex_no_match"],
            "min_reply_length" => vec!["min_reply_length"],
            "max_reply_length" => vec!["max_reply_length"],
            "answer bytes" => vec!["require_reply"],
            "require_reply" => vec!["require_reply"],
            "payload bytes" => vec!["payload"],
            "helo" => vec!["helo_name"],
            "type" => CHECKS.into_iter().chain(["BFD_CHECK"]).collect(),
            _ => vec![],
        };
    }
    if object.contains(" -> ") {
        return match property {
            "weight" => vec!["weight"],
            "forwarding" | "tunnel" => vec!["lb_kind", "lvs_method"],
            "upper_threshold" => vec!["uthreshold"],
            "lower_threshold" => vec!["lthreshold"],
            "inhibit" => vec!["inhibit_on_failure"],
            _ if starts("hook real_server_up") => vec!["notify_up", "script_user"],
            _ if starts("hook real_server_down") => vec!["notify_down", "script_user"],
            _ => vec![],
        };
    }
    if object.starts_with("service ") {
        return match property {
            "scheduler" => vec!["lb_algo", "lvs_sched"],
            "flags" => vec![
                "sh-port",
                "sh-fallback",
                "mh-port",
                "mh-fallback",
                "flag-1",
                "flag-2",
                "flag-3",
                "lb_algo",
                "lvs_sched",
            ],
            "one_packet" => vec!["ops", "protocol"],
            "persistence" => vec!["persistence_timeout", "persistence_engine", "persistence_granularity"],
            "persistence prefix" => vec!["persistence_granularity"],
            "persistence engine" => vec!["persistence_engine"],
            "quorum" => vec!["quorum"],
            "hysteresis" => vec!["hysteresis", "quorum"],
            "sorry_server" => vec!["sorry_server", "@sorry_server"],
            "sorry_server forwarding" => {
                vec!["sorry_server", "sorry_server_lvs_method", "lb_kind", "lvs_method"]
            }
            _ if starts("hook quorum_up") => vec!["quorum_up", "script_user"],
            _ if starts("hook quorum_down") => vec!["quorum_down", "script_user"],
            _ => vec![],
        };
    }
    if object.starts_with("script ") || object.starts_with("process ") || object.starts_with("file ") {
        return match property {
            "command" => vec!["script", "vrrp_script"],
            "interval" => vec!["interval"],
            "timeout" => vec!["timeout", "interval"],
            "rise" => vec!["rise"],
            "fall" => vec!["fall"],
            "initially" => vec!["init_fail", "init_file"],
            "user" => vec!["user", "script_user", "script"],
            "process" => vec!["process", "param_match"],
            "quorum" => vec!["quorum", "quorum_max"],
            "path" => vec!["file"],
            "quorum_max" => vec!["quorum_max"],
            "param_match" => vec!["param_match", "process"],
            "terminate_delay" => vec!["delay", "terminate_delay"],
            "fork_delay" => vec!["delay", "fork_delay"],
            "full_command" => vec!["full_command", "param_match", "process"],
            _ => vec![],
        };
    }
    if object == "global" {
        return match property {
            "startup_delay" => vec!["vrrp_startup_delay"],
            _ if starts("timeout") => vec!["lvs_timeouts"],
            _ if starts("sync") => vec!["lvs_sync_daemon", "lvs_sync_daemon_interface"],
            _ => vec![],
        };
    }
    match property {
        "interface" => vec!["interface"],
        "version" => vec!["version", "vrrp_version", "@virtual_ipaddress", "auth_type"],
        "vrid" => vec!["virtual_router_id"],
        "priority" => vec!["priority", "state"],
        "advert_interval" => vec!["advert_int"],
        "preempt" => vec!["preempt", "nopreempt", "strict_mode", "vrrp_strict"],
        "preempt_delay" => vec!["preempt_delay", "nopreempt"],
        "password" => vec!["authentication", "auth_type", "auth_pass", "differ in auth of"],
        "source" => vec!["unicast_src_ip", "mcast_src_ip"],
        "unicast ttl" => vec!["unicast_ttl", "unicast_peer", "@unicast_peer"],
        "virtual_mac" => vec!["use_vmac", "vmac_xmit_base"],
        "sync group" => vec!["group", "@group", "vrrp_sync_group"],
        "members" => vec!["group", "@group", "vrrp_sync_group"],
        "garp repeat" => vec!["garp_master_repeat", "vrrp_garp_master_repeat", "vrrp_min_garp"],
        "garp delay" => vec!["garp_master_delay", "vrrp_garp_master_delay", "vrrp_min_garp"],
        "garp refresh repeat" => vec![
            "garp_master_refresh_repeat",
            "vrrp_garp_master_refresh_repeat",
            "garp_master_refresh",
            "vrrp_garp_master_refresh",
            "vrrp_min_garp",
        ],
        "garp lower priority delay" => vec![
            "garp_lower_prio_delay",
            "vrrp_garp_lower_prio_delay",
            "garp_master_delay",
            "vrrp_garp_master_delay",
            "vrrp_min_garp",
            "vrrp_strict",
            "strict_mode",
        ],
        "garp lower priority repeat" => vec![
            "garp_lower_prio_repeat",
            "vrrp_garp_lower_prio_repeat",
            "garp_master_repeat",
            "vrrp_garp_master_repeat",
            "vrrp_min_garp",
            "vrrp_strict",
            "strict_mode",
        ],
        "garp refresh" => vec!["garp_master_refresh", "vrrp_garp_master_refresh"],
        _ if starts("vip ") => vec!["@virtual_ipaddress", "virtual_ipaddress", "no_virtual_ipaddress"],
        _ if starts("excluded ") => {
            vec!["@virtual_ipaddress_excluded", "virtual_ipaddress_excluded", "@virtual_ipaddress"]
        }
        _ if starts("peer ") => vec!["@unicast_peer", "unicast_peer"],
        _ if starts("route ") => vec!["@virtual_routes", "virtual_routes"],
        _ if starts("rule ") => vec!["@virtual_rules", "virtual_rules"],
        _ if starts("track interface") => vec!["@track_interface", "track_interface"],
        _ if starts("track script") => vec!["@track_script", "track_script", "weight"],
        _ if starts("track file") => vec!["@track_file", "track_file", "weight"],
        _ if starts("track process") => vec!["@track_process", "track_process", "weight"],
        _ if starts("track bfd") => vec!["@track_bfd", "track_bfd"],
        _ if starts("hook master") => vec!["notify_master", "script_user", "differ in hooks master of"],
        _ if starts("hook backup") => vec!["notify_backup", "script_user", "differ in hooks backup of"],
        _ if starts("hook fault") => vec!["notify_fault", "script_user", "differ in hooks fault of"],
        _ if starts("hook stop") => {
            vec!["notify_stop", "notify_deleted", "script_user", "differ in hooks stop of"]
        }
        _ if starts("hook any") => vec!["notify", "script_user", "differ in hooks any of"],
        _ => vec![],
    }
}

/// What sets a thing for which evenkeel has no word.
fn only_keywords(only: &str) -> Vec<&'static str> {
    match only {
        "Gratuitous ARP for each secondary VMAC" => {
            vec!["vmac_garp_intvl", "garp_extra_if", "vrrp_vmac_garp_intvl", "vrrp_garp_extra_if"]
        }
        "Down timer adverts" | "Num adverts before down" => {
            vec!["down_timer_adverts", "vrrp_down_timer_adverts"]
        }
        "Send advert after receive lower priority advert" => {
            vec!["lower_prio_no_advert", "vrrp_lower_prio_no_advert", "vrrp_strict", "strict_mode"]
        }
        "Send advert after receive higher priority advert" => {
            vec!["higher_prio_send_advert", "vrrp_higher_prio_send_advert"]
        }
        "Accept" => vec!["accept", "no_accept", "vrrp_strict", "strict_mode"],
        "Promote_secondaries" => vec!["promote_secondaries"],
        "Kernel rx buffer size" => vec!["kernel_rx_buf_size"],
        "VRF" => vec!["vrf"],
        "Using smtp notification" => vec!["smtp_alert", "smtp_alert_vrrp", "smtp_alert_checker"],
        "Notify priority changes" | "VRRP notify priority changes" => {
            vec!["notify_priority_changes", "vrrp_notify_priority_changes"]
        }
        "Master rx lower pri state transition script" => vec!["notify_master_rx_lower_pri"],
        "VRRP interface tracking disabled" => vec!["dont_track_primary"],
        "Enforcing strict VRRP compliance" => vec!["strict_mode", "vrrp_strict"],
        "Use VMAC for VIPs on other interfaces" => vec!["use_vmac_addr"],
        "IPVLAN" => vec!["use_ipvlan"],
        "Multicast address" => vec!["mcast_dst_ip", "vrrp_mcast_group4", "vrrp_mcast_group6"],
        "sync_group_tracking_weight" => vec!["sync_group_tracking_weight", "global_tracking"],
        "LVS flush" => vec!["lvs_flush"],
        "LVS flush on stop" => vec!["lvs_flush_on_stop", "lvs_flush_onstop"],
        "Default smtp_alert" => vec!["smtp_alert"],
        "Default smtp_alert_vrrp" => vec!["smtp_alert_vrrp"],
        "Default smtp_alert_checker" => vec!["smtp_alert_checker"],
        "Disable local IGMP" => vec!["disable_local_igmp"],
        "VRRP IPv4 mcast group" => vec!["vrrp_mcast_group4"],
        "VRRP IPv6 mcast group" => vec!["vrrp_mcast_group6"],
        "VRRP strict mode" => vec!["vrrp_strict"],
        "omega" => vec!["omega"],
        "sorry_server_inhibit" => vec!["sorry_server_inhibit"],
        "bind_port" => vec!["bind_port", "bindto"],
        "fwmark" => vec!["fwmark"],
        "regex_min_offset" => vec!["regex_min_offset", "regex_max_offset"],
        _ => vec![],
    }
}
