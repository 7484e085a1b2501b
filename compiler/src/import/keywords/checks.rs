//! Keywords of health checks.

use super::{Block, always, carried, changed, refused};

pub(in super::super) const CHECK: Block = Block {
    name: "every check but FILE_CHECK and BFD_CHECK",
    place: "services.*.check",
    rows: &[
        carried("retry", "retries"),
        carried("delay_before_retry", "retry_delay"),
        carried("delay_loop", "interval"),
        carried("warmup", "warmup"),
        carried("alpha", "initially_down"),
        always("log_all_failures", "`evenkeeld status` shows every check and its last error"),
    ],
};

pub(in super::super) const CONNECTION: Block = Block {
    name: "every check that connects",
    place: "services.*.check",
    rows: &[
        carried("connect_ip", "address"),
        carried("connect_port", "port"),
        carried("connect_timeout", "timeout"),
        carried("bindto", "source"),
        carried("bind_if", "interface"),
        refused(
            "bind_port",
            "the kernel chooses the source port, so that a check never waits for the one before",
        ),
        refused("fwmark", "checks carry no mark: choose their way by `source` or `interface`"),
    ],
};

pub(in super::super) const HTTP_GET: Block = Block {
    name: "HTTP_GET, SSL_GET",
    place: "services.*.check",
    rows: &[
        carried("url", "path"),
        carried("nb_get_retry", "retries"),
        carried("virtualhost", "host"),
        carried("http_protocol", "http_version"),
        always("fast_recovery", "all that is asked for is asked for each time"),
        carried("enable_sni", "server_name"),
        changed("sni_name", "server_name", "keepalived up to 2.4 does not know it and names no server"),
        always("tls_compliant", "connections are closed as TLS says"),
    ],
};

pub(in super::super) const URL: Block = Block {
    name: "url",
    place: "services.*.check",
    rows: &[
        carried("path", "path"),
        carried("status_code", "status"),
        carried("virtualhost", "host"),
        carried("regex", "body"),
        carried("digest", "digest"),
        carried("regex_no_match", "body_not"),
        carried("regex_options", "body"),
        always("regex_stack", "the daemon's expressions need no stack"),
        refused("regex_min_offset regex_max_offset", "the expression is looked for anywhere in the body"),
        always("tls_compliant", "connections are closed as TLS says"),
    ],
};

pub(in super::super) const MISC_CHECK: Block = Block {
    name: "MISC_CHECK",
    place: "services.*.check",
    rows: &[
        carried("misc_path", "command"),
        carried("misc_timeout", "timeout"),
        carried("misc_dynamic", "dynamic_weight"),
        carried("user", "user"),
    ],
};

pub(in super::super) const UDP_CHECK: Block = Block {
    name: "UDP_CHECK",
    place: "services.*.check",
    rows: &[
        carried("payload", "payload"),
        carried("require_reply", "require_reply"),
        carried("min_reply_length", "min_reply_length"),
        carried("max_reply_length", "max_reply_length"),
    ],
};

pub(in super::super) const DNS_CHECK: Block = Block {
    name: "DNS_CHECK",
    place: "services.*.check",
    rows: &[carried("type", "record"), carried("name", "name")],
};

pub(in super::super) const SMTP_CHECK: Block = Block {
    name: "SMTP_CHECK",
    place: "services.*.check",
    rows: &[carried("helo_name", "helo"), carried("host", "")],
};

/// Every keyword of a check, of which only those that connect have an effect.
pub(in super::super) const SMTP_HOST: Block =
    Block { name: "host (in SMTP_CHECK)", place: "services.*.check", rows: &[] };

pub(in super::super) const FILE_CHECK: Block = Block {
    name: "FILE_CHECK",
    place: "services.*.check",
    rows: &[carried("track_file", "file"), carried("weight", "file")],
};

pub(in super::super) const BFD_CHECK: Block = Block {
    name: "BFD_CHECK",
    place: "services.*.check",
    rows: &[refused("name alpha", "no BFD: a check of type `script` can ask the daemon that speaks it")],
};

pub(in super::super) const SSL: Block = Block {
    name: "SSL",
    place: "",
    rows: &[
        carried("certificate", "services.*.check.certificate"),
        carried("key", "services.*.check.certificate_key"),
        always("ca", "keepalived verifies no certificate; `ca` and `verify_certificate` of a check do"),
        carried("password", "services.*.check.certificate_key"),
    ],
};
