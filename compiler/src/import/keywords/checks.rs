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
        always("http_protocol", "HTTP/1.1 with `Connection: close`, which every web server answers"),
        always("fast_recovery", "the checks of a real server run side by side"),
        changed("enable_sni sni_name", "host", "`host` is both the header and the name that is asked for"),
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
        refused("digest", "an MD5 sum fails at every change of the page: look for a text with `body`"),
        refused("regex_no_match", "`body` must match: write an expression for the good answer"),
        refused(
            "regex_options regex_stack regex_min_offset regex_max_offset",
            "write the option into the expression, such as `(?i)`",
        ),
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
        changed("require_reply", "require_reply", "any answer will do: what is in it is not compared"),
        refused("min_reply_length max_reply_length", "an answer of any length will do"),
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

/// It has every keyword of a check, of which only those that connect have an effect.
pub(in super::super) const SMTP_HOST: Block =
    Block { name: "host (in SMTP_CHECK)", place: "services.*.check", rows: &[] };

pub(in super::super) const FILE_CHECK: Block = Block {
    name: "FILE_CHECK",
    place: "services.*.check",
    rows: &[
        carried("track_file", "file"),
        refused("weight", "the file says success or failure; a check of type `script` can set the weight"),
    ],
};

pub(in super::super) const BFD_CHECK: Block = Block {
    name: "BFD_CHECK",
    place: "services.*.check",
    rows: &[refused("name alpha", "no BFD: a check of type `script` can ask the daemon that speaks it")],
};

pub(in super::super) const SSL: Block = Block {
    name: "SSL",
    place: "",
    rows: &[refused(
        "password ca certificate key",
        "checks show no certificate of their own; `verify_certificate` looks at the server's",
    )],
};
