//! Keywords of virtual servers and real servers.

use super::{Block, MAIL, always, carried, changed, refused};

pub(in super::super) const VIRTUAL_SERVER_GROUP: Block = Block {
    name: "virtual_server_group",
    place: "services.*",
    rows: &[carried("fwmark", "services.*.firewall_mark")],
};

const PER_CHECK: &str = "check";

pub(in super::super) const VIRTUAL_SERVER: Block = Block {
    name: "virtual_server",
    place: "services.*",
    rows: &[
        carried("lb_algo lvs_sched", "scheduler"),
        carried("lb_kind lvs_method", "forwarding"),
        carried("protocol", "protocol"),
        carried("delay_loop", "check.interval"),
        carried("persistence_timeout persistence_granularity persistence_engine", "persistence"),
        carried("sh-port sh-fallback mh-port mh-fallback flag-1 flag-2", "scheduler_flags"),
        refused("flag-3", "no scheduler of the kernel has a third flag"),
        refused("hashed", "without effect in keepalived, too"),
        carried("ops", "one_packet"),
        carried("ip_family", "family"),
        carried("sorry_server sorry_server_lvs_method", "sorry_server"),
        refused(
            "sorry_server_inhibit",
            "the sorry server is there while the quorum is lost, and otherwise not",
        ),
        carried("quorum hysteresis", "quorum"),
        carried("quorum_up quorum_down", "hooks"),
        carried("alpha", "check.initially_down"),
        refused("omega", "a stop changes nothing, so there is nothing to tell of"),
        carried("inhibit_on_failure", "on_failure"),
        carried("retry", "check.retries"),
        carried("delay_before_retry", "check.retry_delay"),
        carried("connect_timeout", "check.timeout"),
        carried("warmup", "check.warmup"),
        carried("virtualhost", "check.host"),
        always(
            "ha_suspend",
            "a real server is checked once, however many services and directors have it; checks cost little",
        ),
        refused("smtp_alert", MAIL),
        refused("snmp_name", "the name of the service is its name in `status`"),
        carried("weight", "real_servers.weight"),
        carried("real_server", "real_servers"),
    ],
};

pub(in super::super) const REAL_SERVER: Block = Block {
    name: "real_server",
    place: "services.*",
    rows: &[
        carried("weight", "real_servers.weight"),
        carried("lvs_method", "real_servers.forwarding"),
        carried("uthreshold", "real_servers.upper_threshold"),
        carried("lthreshold", "real_servers.lower_threshold"),
        changed("inhibit_on_failure", "on_failure", "it holds for the whole service"),
        changed(
            "notify_up notify_down",
            "hooks",
            "one program for the service, run for each of its real servers",
        ),
        carried("alpha", "check.initially_down"),
        carried("retry", "check.retries"),
        carried("delay_before_retry", "check.retry_delay"),
        carried("delay_loop", "check.interval"),
        carried("connect_timeout", "check.timeout"),
        carried("warmup", "check.warmup"),
        carried("virtualhost", "check.host"),
        refused("smtp_alert", MAIL),
        refused("snmp_name", "the name of the host is its name in `status`"),
        carried(
            "TCP_CHECK HTTP_GET SSL_GET MISC_CHECK UDP_CHECK DNS_CHECK SMTP_CHECK PING_CHECK FILE_CHECK",
            PER_CHECK,
        ),
        refused("BFD_CHECK", "no BFD: a check of type `script` can ask the daemon that speaks it"),
    ],
};
