//! Plans for tests: what every plan needs is here, so that a test writes only what it is about.
//!
//! A plain module and no feature: a feature that only tests turn on would build every crate above this one
//! twice. Functions here panic where what they are given is no plan. Programs have no use for them.
//!
//! ```
//! use evenkeel_schemas::plan::testing::{PlanText, router};
//! use evenkeel_schemas::plan::Router;
//!
//! let web = Router { version: 2, ..router("web", 51, &["192.0.2.10/32"]) };
//! let plan = PlanText::of("dir1").router(&web).keys("maintenance = true");
//! assert_eq!(plan.plan().routers, [web]);
//! assert!(plan.plan().maintenance);
//! assert!(plan.sealed().starts_with("digest = "));
//! ```

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use serde::Serialize;

use super::{FORMAT, Plan, Router};
use crate::seal;

/// A plan as text, as it is put together.
#[derive(Debug, Clone)]
pub struct PlanText {
    cluster: String,
    host: String,
    addresses: Vec<String>,
    /// Keys of the whole host, a line each.
    keys: String,
    resync: String,
    exclusive_ipvs: bool,
    /// Further keys of `[policy]`, a line each.
    policy: String,
    /// Everything after `[policy]`.
    sections: String,
}

impl PlanText {
    /// The plan of this host that wants nothing, of the cluster `c`: it has no addresses, and resync is 5 s.
    #[must_use]
    pub fn of(host: &str) -> Self {
        Self {
            cluster: "c".to_owned(),
            host: host.to_owned(),
            addresses: Vec::new(),
            keys: String::new(),
            resync: "5s".to_owned(),
            exclusive_ipvs: false,
            policy: String::new(),
            sections: String::new(),
        }
    }

    /// Sets the name of the cluster.
    #[must_use]
    pub fn cluster(mut self, name: &str) -> Self {
        name.clone_into(&mut self.cluster);
        self
    }

    /// Adds an address of the host's own.
    #[must_use]
    pub fn host_address(mut self, address: impl Display) -> Self {
        self.addresses.push(address.to_string());
        self
    }

    /// Sets the longest time between two observations of what has no change events, such as `5s`.
    #[must_use]
    pub fn resync(mut self, span: &str) -> Self {
        span.clone_into(&mut self.resync);
        self
    }

    /// Has foreign IPVS services removed.
    #[must_use]
    pub const fn exclusive_ipvs(mut self) -> Self {
        self.exclusive_ipvs = true;
        self
    }

    /// Adds keys of the whole host, such as `maintenance = true`, in lines.
    #[must_use]
    pub fn keys(mut self, lines: &str) -> Self {
        add_lines(&mut self.keys, lines);
        self
    }

    /// Adds keys of `[policy]`, such as `probation = { timeout = "30s" }`, in lines.
    #[must_use]
    pub fn policy(mut self, lines: &str) -> Self {
        add_lines(&mut self.policy, lines);
        self
    }

    /// Adds a virtual router.
    #[must_use]
    pub fn router(self, router: &Router) -> Self {
        self.entry("router", router)
    }

    /// Adds an entry of a section, such as `router` or `virtual_server`.
    ///
    /// # Panics
    /// When the entry is none that TOML has.
    #[must_use]
    pub fn entry(self, section: &str, entry: &impl Serialize) -> Self {
        let text = toml::to_string(&BTreeMap::from([(section, [entry])])).expect("an entry that TOML has");
        self.with(&text)
    }

    /// Adds whole sections, as TOML.
    #[must_use]
    pub fn with(mut self, sections: &str) -> Self {
        add_lines(&mut self.sections, sections);
        self
    }

    /// The text without a seal.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { cluster, host, addresses, keys, resync, exclusive_ipvs, policy, sections } = self;
        let mut text = format!("format = {FORMAT}\ncluster = \"{cluster}\"\nhost = \"{host}\"\n");
        let _ = writeln!(text, "host_addresses = {addresses:?}");
        let _ = write!(
            text,
            "{keys}\n[policy]\nresync = \"{resync}\"\nexclusive_ipvs = {exclusive_ipvs}\n{policy}"
        );
        if !sections.is_empty() {
            let _ = write!(text, "\n{sections}");
        }
        text
    }

    /// The text as a daemon reads it from a file.
    #[must_use]
    pub fn sealed(&self) -> String {
        seal::seal(&self.text())
    }

    /// The plan.
    ///
    /// # Panics
    /// When the text is no plan.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let text = self.text();
        toml::from_str(&text).unwrap_or_else(|error| panic!("no plan: {error}\n{text}"))
    }
}

fn add_lines(to: &mut String, lines: &str) {
    to.push_str(lines);
    if !lines.is_empty() && !lines.ends_with('\n') {
        to.push('\n');
    }
}

/// A virtual router of version 3 at 192.0.2.1 on `no-such-if0`, which no host has, so that a daemon anywhere
/// can be given it: priority 100, an advertisement a second, preemption, and one gratuitous ARP. A test sets
/// what else it needs.
///
/// # Panics
/// When the name, the VRID or a VIP is none.
#[must_use]
pub fn router(name: &str, vrid: u8, vips: &[&str]) -> Router {
    let text = format!(
        "name = \"{name}\"\ninterface = \"no-such-if0\"\nsource = \"192.0.2.1\"\nversion = 3\nvrid = {vrid}\n\
         priority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 1\ngarp_delay = \"0s\"\n\
         vips = {vips:?}\n"
    );
    toml::from_str(&text).unwrap_or_else(|error| panic!("no router: {error}\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain;
    use crate::scalars::Priority;

    #[test]
    fn a_plan_is_what_was_put_into_it() {
        let mut web = router("web", 51, &["192.0.2.10/32", "192.0.2.11/32"]);
        web.priority = Priority::new(7).expect("a priority");
        let text = PlanText::of("dir1")
            .cluster("front")
            .host_address("192.0.2.1")
            .resync("30s")
            .exclusive_ipvs()
            .keys("maintenance = true")
            .policy("probation = { timeout = \"30s\" }")
            .router(&web)
            .with("[[sysctl]]\nkey = \"net/ipv4/ip_forward\"\nvalue = \"1\"");
        let plan = text.plan();
        assert_eq!((plan.cluster.as_str(), plan.host.as_str(), plan.maintenance), ("front", "dir1", true));
        assert_eq!((plan.host_addresses.len(), plan.sysctls.len(), plan.policy.exclusive_ipvs), (1, 1, true));
        assert_eq!(plan.policy.resync.to_string(), "30s");
        assert!(plan.policy.probation.is_some());
        assert_eq!(plan.routers, [web]);
        let sealed = text.sealed();
        let (_, body) = seal::open(sealed.as_bytes()).expect("sealed");
        assert_eq!(body, text.text());
    }

    #[test]
    fn the_least_plan_is_read_as_the_compilers_are() {
        let text = PlanText::of("dir1");
        assert_eq!(plain::plan(&text.text()), Some(text.plan()));
    }
}
