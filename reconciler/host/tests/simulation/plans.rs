//! Plans of the simulated host: a handful of variants that differ in everything by which the head of a host
//! decides.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use evenkeel_host::loaded::{LoadedPlan, PlanText};
use evenkeel_schemas::seal;

/// Content of a variant.
#[derive(Debug, Clone, Copy)]
struct Variant {
    /// Virtual routers, 0 to 2.
    routers: u8,
    /// Last numbers of the destinations' addresses.
    destinations: &'static [u8],
    /// Those of them that the plan drains.
    drained: &'static [u8],
    /// Length of the probation in seconds, and way of confirmation.
    probation: Option<(u8, &'static str)>,
    maintenance: bool,
    /// Number of destinations that must be healthy, and what there is beside: a sorry server, which may be a
    /// destination, and programs.
    quorum: Option<(u8, Option<u8>)>,
    /// Further lines of the virtual server.
    more: &'static str,
    /// Whether directors synchronise their connections, and a router waits for them.
    synchronises: bool,
    /// Number that makes plans of the same content differ.
    weight: u8,
}

const REMOVES: &str = "on_failure = \"remove\"\n";
const DAMPS: &str = "damping = { window = \"20s\", delay = \"2s\", max_delay = \"8s\" }\n";
const SYNCHRONISES: &str = "[connection_sync]\nrouter = \"VI_1\"\nmode = \"follow\"\n\
    interface = \"eth0\"\nid = 1\ngroup = \"224.0.0.81\"\nport = 8848\nttl = 1\n\
    preempt_after_sync = \"12s\"\n";
const QUIESCES: &str = "on_failure = \"quiesce\"\nquiesce_for = \"6s\"\n";

const PLAIN: Variant = Variant {
    routers: 1,
    destinations: &[11, 12],
    drained: &[],
    probation: None,
    maintenance: false,
    quorum: None,
    more: REMOVES,
    synchronises: false,
    weight: 1,
};

const VARIANTS: [Variant; 21] = [
    PLAIN,
    Variant { weight: 2, ..PLAIN },
    Variant { destinations: &[11, 12, 13], ..PLAIN },
    Variant { destinations: &[12], weight: 3, ..PLAIN },
    Variant { routers: 2, ..PLAIN },
    Variant { drained: &[12], ..PLAIN },
    Variant { maintenance: true, ..PLAIN },
    Variant { probation: Some((6, "operator")), ..PLAIN },
    Variant { probation: Some((20, "operator")), weight: 4, routers: 2, ..PLAIN },
    Variant { probation: Some((20, "checks")), weight: 5, ..PLAIN },
    Variant { probation: Some((15, "checks")), destinations: &[11, 12, 13], ..PLAIN },
    Variant { probation: Some((10, "operator")), destinations: &[13], ..PLAIN },
    Variant { quorum: Some((2, Some(99))), destinations: &[11, 12, 13], ..PLAIN },
    Variant { quorum: Some((1, Some(99))), ..PLAIN },
    Variant { quorum: Some((2, Some(12))), destinations: &[11, 12, 13], drained: &[13], ..PLAIN },
    Variant { quorum: Some((2, None)), weight: 7, ..PLAIN },
    Variant { destinations: &[11, 12, 13], more: DAMPS, ..PLAIN },
    Variant { destinations: &[11, 12, 13], more: QUIESCES, ..PLAIN },
    Variant { quorum: Some((2, None)), more: DAMPS, weight: 8, ..PLAIN },
    Variant { synchronises: true, ..PLAIN },
    Variant { synchronises: true, routers: 2, weight: 2, ..PLAIN },
];

/// Number of plans.
pub(crate) const COUNT: usize = VARIANTS.len();

fn body(variant: &Variant) -> String {
    let Variant {
        routers,
        destinations,
        drained,
        probation,
        maintenance,
        quorum,
        more,
        synchronises,
        weight,
    } = variant;
    let mut text = "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = [\"192.0.2.1\"]\n".to_owned();
    if *maintenance {
        text += "maintenance = true\n";
    }
    text += "[policy]\nresync = \"5s\"\nexclusive_ipvs = false\n";
    if let Some((seconds, confirm)) = probation {
        text += &format!("probation = {{ timeout = \"{seconds}s\", confirm = \"{confirm}\" }}\n");
    }
    for n in 1..=*routers {
        text += &format!(
            "[[router]]\nname = \"VI_{n}\"\ninterface = \"eth0\"\nsource = \"192.0.2.1\"\nversion = 3\nvrid \
                = {n}\n\
             priority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 1\ngarp_delay = \"0s\"\n\
             vips = [\"192.0.2.{}/32\"]\n",
            90 + n
        );
    }
    text += "[[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.91\"\nport = 80\nprotocol = \"tcp\"\n\
             scheduler = \"wlc\"\none_packet = false\n";
    text += more;
    if let Some((number, sorry)) = quorum {
        text += &format!("quorum = {{ weight = {} }}\n", number * weight);
        if let Some(last) = sorry {
            text += &format!(
                "sorry_server = {{ address = \"192.0.2.{last}\", port = 80, forwarding = \"dr\" }}\n"
            );
        }
        let hook = "{ command = [\"/bin/true\"], timeout = \"1s\" }";
        text += &format!(
            "hooks = {{ quorum_up = {hook}, quorum_down = {hook}, real_server_up = {hook}, \
             real_server_down = {hook} }}\n"
        );
    }
    for last in *destinations {
        text += &format!(
            "[[virtual_server.destination]]\nhost = \"rs{last}\"\naddress = \"192.0.2.{last}\"\nport = \
                80\nweight = {weight}\n\
             forwarding = \"dr\"\n"
        );
        if drained.contains(last) {
            text += "drain = true\n";
        }
        text += &format!(
            "check = {{ type = \"tcp\", address = \"192.0.2.{last}\", port = 80, interval = \"5s\", timeout \
                = \"1s\", \
             retries = 0, retry_delay = \"1s\" }}\n"
        );
    }
    if *synchronises {
        text += SYNCHRONISES;
    }
    text
}

/// The `n`-th plan.
pub(crate) fn plan(n: usize) -> Arc<LoadedPlan> {
    static ALL: OnceLock<Vec<Arc<LoadedPlan>>> = OnceLock::new();
    let all = ALL.get_or_init(|| VARIANTS.iter().map(|variant| Arc::new(loaded(&body(variant)))).collect());
    Arc::clone(&all[n])
}

pub(crate) fn loaded(body: &str) -> LoadedPlan {
    let sealed = seal::seal(body);
    let (generation, body) = seal::open(sealed.as_bytes()).expect("sealed");
    LoadedPlan {
        generation,
        plan: toml::from_str(body).expect("a plan"),
        secrets: BTreeMap::new(),
        text: PlanText::new(()),
    }
}
