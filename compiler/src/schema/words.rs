//! Words of keepalived and ipvsadm, and the keys of the cluster file that they are: for whoever writes a
//! cluster file with a configuration of the old tool beside it.
//!
//! Data, and the choice of a row. What becomes of a whole configuration is `import`'s business.

use crate::path::Step;

/// Some words of another tool that are one key here.
struct WordRow {
    tool: Tool,
    /// Separated by spaces.
    words: &'static str,
    /// The key, as the reference writes it; none where nothing needs to be written.
    key: Option<&'static str>,
    /// Further advice.
    note: &'static str,
}

#[derive(Clone, Copy)]
enum Tool {
    Keepalived,
    Ipvsadm,
}

impl Tool {
    const fn name(self) -> &'static str {
        match self {
            Self::Keepalived => "keepalived",
            Self::Ipvsadm => "ipvsadm",
        }
    }
}

const fn is(words: &'static str, key: &'static str) -> WordRow {
    WordRow { tool: Tool::Keepalived, words, key: Some(key), note: "" }
}

const fn with_note(words: &'static str, key: &'static str, note: &'static str) -> WordRow {
    WordRow { tool: Tool::Keepalived, words, key: Some(key), note }
}

const fn needless(words: &'static str, note: &'static str) -> WordRow {
    WordRow { tool: Tool::Keepalived, words, key: None, note }
}

const fn ipvsadm(words: &'static str, key: &'static str) -> WordRow {
    WordRow { tool: Tool::Ipvsadm, words, key: Some(key), note: "" }
}

/// Of a word with several keys the one that is nearest to where the word stands.
const ROWS: &[WordRow] = &[
    is("vrrp_instance", "virtual_routers"),
    is("vrrp_sync_group", "sync_groups"),
    is("vrrp_script vrrp_track_process track_file vrrp_track_file", "trackers"),
    is("virtual_server virtual_server_group", "services"),
    needless(
        "global_defs router_id",
        "what holds for all virtual routers is written in `[defaults.virtual_router]`",
    ),
    needless("state", "the order of `directors` decides who is Master, or `priorities`"),
    is("virtual_router_id", "virtual_routers.<name>.vrid"),
    is("virtual_ipaddress", "virtual_routers.<name>.vips"),
    is("virtual_ipaddress_excluded", "virtual_routers.<name>.unadvertised_vips"),
    with_note("priority", "virtual_routers.<name>.priorities", "of all directors, by name"),
    is("advert_int", "virtual_routers.<name>.advert_interval"),
    is("vrrp_version", "virtual_routers.<name>.version"),
    is("authentication", "virtual_routers.<name>.auth"),
    is("auth_type", "virtual_routers.<name>.auth.type"),
    is("auth_pass", "virtual_routers.<name>.auth.secret"),
    with_note("nopreempt", "virtual_routers.<name>.preempt", "`preempt = false`"),
    with_note("interface dev", "hosts.<name>.interface", "the VIPs are on the interface of their segment"),
    is("unicast_peer unicast_src_ip", "virtual_routers.<name>.unicast"),
    is("unicast_ttl", "virtual_routers.<name>.unicast.ttl"),
    is("mcast_src_ip", "hosts.<name>.address"),
    is("track_script track_interface track_process track_file", "virtual_routers.<name>.track"),
    is("track_script track_interface track_process track_file", "sync_groups.<name>.track"),
    is("use_vmac", "virtual_routers.<name>.virtual_mac"),
    is("vmac_xmit_base", "virtual_routers.<name>.virtual_mac.advertise_from_base"),
    is("virtual_routes", "virtual_routers.<name>.routes"),
    is("virtual_rules", "virtual_routers.<name>.rules"),
    is("v3_checksum_as_v2", "virtual_routers.<name>.checksum"),
    is("garp_master_repeat vrrp_garp_master_repeat", "virtual_routers.<name>.garp.repeat"),
    is("garp_master_delay vrrp_garp_master_delay", "virtual_routers.<name>.garp.delay"),
    is("garp_master_refresh vrrp_garp_master_refresh", "virtual_routers.<name>.garp.refresh"),
    is("garp_interval vrrp_garp_interval gna_interval", "virtual_routers.<name>.garp.interval"),
    is("notify_master", "virtual_routers.<name>.hooks.master"),
    is("notify_backup", "virtual_routers.<name>.hooks.backup"),
    is("notify_fault", "virtual_routers.<name>.hooks.fault"),
    is("notify_stop", "virtual_routers.<name>.hooks.stop"),
    is("notify", "virtual_routers.<name>.hooks.any"),
    is("notify_master", "sync_groups.<name>.hooks.master"),
    is("notify_backup", "sync_groups.<name>.hooks.backup"),
    is("notify_fault", "sync_groups.<name>.hooks.fault"),
    is("notify_stop", "sync_groups.<name>.hooks.stop"),
    is("notify", "sync_groups.<name>.hooks.any"),
    is("group", "sync_groups.<name>.virtual_routers"),
    is("script", "trackers.<name>.command"),
    is("init_fail", "trackers.<name>.initially"),
    is("lvs_sync_daemon lvs_sync_daemon_interface", "connection_sync"),
    is("lvs_timeouts", "ipvs.timeouts"),
    is("lb_algo lvs_sched", "services.<name>.scheduler"),
    is("lb_kind lvs_method", "services.<name>.forwarding"),
    is("lb_kind lvs_method", "services.<name>.real_servers[].forwarding"),
    is("lb_kind lvs_method", "pools.<name>.real_servers[].forwarding"),
    is("persistence_timeout", "services.<name>.persistence.timeout"),
    is("persistence_granularity", "services.<name>.persistence.prefix"),
    is("persistence_engine", "services.<name>.persistence.engine"),
    is("fwmark", "services.<name>.firewall_mark"),
    is("ip_family", "services.<name>.family"),
    is("ops", "services.<name>.one_packet"),
    is("sh-port sh-fallback mh-port mh-fallback", "services.<name>.scheduler_flags"),
    is("real_server", "services.<name>.real_servers"),
    is("real_server", "pools.<name>.real_servers"),
    is("sorry_server_inhibit sorry_server_lvs_method", "services.<name>.sorry_server"),
    is("hysteresis", "services.<name>.quorum.hysteresis"),
    is("quorum_up", "services.<name>.hooks.quorum_up"),
    is("quorum_down", "services.<name>.hooks.quorum_down"),
    is("notify_up", "services.<name>.hooks.real_server_up"),
    is("notify_down", "services.<name>.hooks.real_server_down"),
    with_note("inhibit_on_failure", "services.<name>.on_failure", "`on_failure = \"quiesce\"`"),
    is("uthreshold", "services.<name>.real_servers[].upper_threshold"),
    is("lthreshold", "services.<name>.real_servers[].lower_threshold"),
    is("uthreshold", "pools.<name>.real_servers[].upper_threshold"),
    is("lthreshold", "pools.<name>.real_servers[].lower_threshold"),
    is(
        "TCP_CHECK HTTP_GET SSL_GET MISC_CHECK UDP_CHECK DNS_CHECK SMTP_CHECK PING_CHECK FILE_CHECK",
        "services.<name>.check",
    ),
    is("delay_loop", "services.<name>.check.interval"),
    is("connect_timeout misc_timeout", "services.<name>.check.timeout"),
    is("connect_port", "services.<name>.check.port"),
    is("connect_ip", "services.<name>.check.address"),
    is("bindto", "services.<name>.check.source"),
    is("bind_if", "services.<name>.check.interface"),
    is("retry nb_get_retry", "services.<name>.check.retries"),
    is("delay_before_retry", "services.<name>.check.retry_delay"),
    is("alpha", "services.<name>.check.initially_down"),
    is("virtualhost", "services.<name>.check.host"),
    is("url", "services.<name>.check.path"),
    is("status_code", "services.<name>.check.status"),
    is("regex", "services.<name>.check.body"),
    is("misc_path", "services.<name>.check.command"),
    is("misc_dynamic", "services.<name>.check.dynamic_weight"),
    is("helo_name", "services.<name>.check.helo"),
    ipvsadm("persistent", "services.<name>.persistence"),
    ipvsadm("netmask", "services.<name>.persistence.prefix"),
    ipvsadm("pe", "services.<name>.persistence.engine"),
    ipvsadm("sched-flags sched_flags", "services.<name>.scheduler_flags"),
    ipvsadm("tun-type tun_type", "services.<name>.tunnel.type"),
    ipvsadm("u-threshold u_threshold", "services.<name>.real_servers[].upper_threshold"),
    ipvsadm("l-threshold l_threshold", "services.<name>.real_servers[].lower_threshold"),
];

/// Values of the other tools, and what they are here.
const VALUES: &[(&str, &str)] = &[
    ("gatewaying direct direct-routing droute g", "dr"),
    ("ipip tunnel tunneling tunnelling i", "tun"),
    ("masquerading masquerade masq m", "nat"),
    ("TCP_CHECK", "tcp"),
    ("HTTP_GET", "http"),
    ("SSL_GET", "https"),
    ("MISC_CHECK", "script"),
    ("UDP_CHECK", "udp"),
    ("DNS_CHECK", "dns"),
    ("SMTP_CHECK", "smtp"),
    ("PING_CHECK", "ping"),
    ("FILE_CHECK", "file"),
];

/// Meaning of another tool's word here.
pub(super) struct Word {
    /// For people.
    pub(super) hint: String,
    /// The key of the same table that it is, if it is one.
    pub(super) near: Option<&'static str>,
}

/// Meaning of the unknown key `word` of the table at `owner`.
pub(super) fn key(word: &str, owner: &[Step<'_>]) -> Option<Word> {
    let spelled = |row: &&WordRow| row.words.split(' ').any(|own| own.eq_ignore_ascii_case(word));
    let rows = ROWS.iter().filter(spelled).map(|row| (distance(row, owner), row));
    let (distance, row) = rows.min_by_key(|(distance, _)| *distance)?;
    let word = format!("{}'s `{}`", row.tool.name(), word.escape_debug());
    let Some(key) = row.key else {
        return Some(Word { hint: format!("{word} is not needed: {}", row.note), near: None });
    };
    let below = steps(key).skip(owner.len()).collect::<Vec<_>>().join(".").replace(".[]", "[]");
    let place = match distance {
        Distance::Here | Distance::Below if !below.contains("<name>") => format!("`{below}` here"),
        Distance::Here | Distance::Below | Distance::Elsewhere => format!("`{key}`"),
    };
    let note = if row.note.is_empty() { String::new() } else { format!(": {}", row.note) };
    let near = matches!(distance, Distance::Here).then(|| steps(key).last()).flatten();
    Some(Word { hint: format!("{word} is {place}{note}"), near })
}

/// The word of `allowed` that another tool's value means.
pub(super) fn value<'a>(word: &str, allowed: &'a [String]) -> Option<&'a str> {
    let spelled = |words: &str| words.split(' ').any(|own| own.eq_ignore_ascii_case(word));
    let (_, ours) = VALUES.iter().find(|(words, _)| spelled(words))?;
    allowed.iter().map(String::as_str).find(|allowed| allowed == ours)
}

/// Distance of a key from the table in which a word stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Distance {
    /// A key of the same table.
    Here,
    /// A key of a table in that table.
    Below,
    Elsewhere,
}

fn distance(row: &WordRow, owner: &[Step<'_>]) -> Distance {
    let Some(key) = row.key else { return Distance::Below };
    let mut key = steps(key);
    // What is written in `defaults` stands for all objects of its kind.
    let rest = match owner {
        [Step::Key("defaults"), Step::Key(kind), rest @ ..] => {
            let section = match *kind {
                "virtual_router" => "virtual_routers",
                "service" => "services",
                _ => return Distance::Elsewhere,
            };
            if key.next() != Some(section) || key.next() != Some("<name>") {
                return Distance::Elsewhere;
            }
            rest
        }
        all => all,
    };
    for step in rest {
        let fits = match (step, key.next()) {
            (Step::Key(_), Some("<name>")) | (Step::Index(_), Some("[]")) => true,
            (Step::Key(written), Some(ours)) => *written == ours,
            (Step::Index(_), _) | (_, None) => false,
        };
        if !fits {
            return Distance::Elsewhere;
        }
    }
    if key.count() == 1 { Distance::Here } else { Distance::Below }
}

/// `real_servers[]` is two steps.
fn steps(key: &'static str) -> impl Iterator<Item = &'static str> {
    key.split('.').flat_map(|step| {
        match step.strip_suffix("[]") {
            Some(list) => [Some(list), Some("[]")],
            None => [Some(step), None],
        }
        .into_iter()
        .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::at;
    use crate::reference;

    #[test]
    fn every_key_that_is_named_exists() {
        let keys: Vec<String> = reference::keys().into_iter().map(|key| key.path).collect();
        for row in ROWS {
            let there = row.key.is_none_or(|key| keys.iter().any(|known| known == key));
            assert!(there, "{} is said to be {:?}", row.words, row.key);
            assert!(row.key.is_some() || !row.note.is_empty(), "{} is nothing", row.words);
        }
        let words: Vec<String> = reference::keys().into_iter().map(|key| key.takes).collect();
        for (_, value) in VALUES {
            assert!(words.iter().any(|takes| takes.contains(&format!("`\"{value}\"`"))), "no {value}");
        }
    }

    #[test]
    fn a_word_is_the_key_that_is_nearest_to_it() {
        let hint = |word, owner: &[Step<'_>]| key(word, owner).map(|word| (word.hint, word.near));
        let is = |hint: &str, near| Some((hint.to_owned(), near));
        assert_eq!(
            hint("lb_algo", at!["services", "web"]),
            is("keepalived's `lb_algo` is `scheduler` here", Some("scheduler"))
        );
        assert_eq!(
            hint("lb_algo", at!["defaults", "service"]).map(|(_, near)| near),
            Some(Some("scheduler"))
        );
        assert_eq!(
            hint("LB_KIND", at!["services", "web", "real_servers", 0]),
            is("keepalived's `LB_KIND` is `forwarding` here", Some("forwarding"))
        );
        assert_eq!(
            hint("delay_loop", at!["services", "web"]),
            is("keepalived's `delay_loop` is `check.interval` here", None)
        );
        assert_eq!(
            hint("track_script", at!["sync_groups", "g"]),
            is("keepalived's `track_script` is `track` here", Some("track"))
        );
        assert_eq!(
            hint("virtual_ipaddress", at![]),
            is("keepalived's `virtual_ipaddress` is `virtual_routers.<name>.vips`", None)
        );
        assert_eq!(
            hint("uthreshold", at!["services", "web"]),
            is("keepalived's `uthreshold` is `real_servers[].upper_threshold` here", None)
        );
        assert!(
            hint("state", at!["virtual_routers", "v"]).is_some_and(|(hint, _)| hint.contains("not needed"))
        );
        assert_eq!(hint("nonsense", at!["services", "web"]), None);
    }
}
