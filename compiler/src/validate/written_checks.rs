//! The checks that a cluster file has: whose each is and where it is written. What may be in them is for
//! `checks` and its neighbours to say.

use evenkeel_schemas::cluster::{Check, RealServer, Service};
use evenkeel_schemas::scalars::Name;

use super::Context;
use crate::members::Member;
use crate::path::Step;

/// Path of a value.
pub(super) type Path<'p> = Vec<Step<'p>>;

/// Whose a check is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder<'a> {
    /// Of all real servers of a service that have none of their own.
    Service(&'a Name),
    /// Of an entry of a list of real servers.
    Entry {
        /// `services` or `pools`.
        section: &'static str,
        /// Whose list it is.
        name: &'a Name,
        index: usize,
        entry: &'a RealServer,
    },
}

impl<'a> Holder<'a> {
    /// The owner in words: `service `web``, or a real server of it.
    pub(super) fn words(self) -> String {
        let (section, name, entry) = match self {
            Self::Service(name) => return format!("service `{name}`"),
            Self::Entry { section, name, entry, .. } => (section, name, entry),
        };
        let of = if section == POOLS { "pool" } else { "service" };
        let what = match (&entry.host, &entry.label, &entry.pool) {
            (Some(host), ..) => format!("real server `{}`", host.escape_debug()),
            (None, Some(label), _) => format!("the real servers with label `{label}`"),
            (None, None, Some(pool)) => format!("the real servers of pool `{}`", pool.escape_debug()),
            (None, None, None) => "a real server".to_owned(),
        };
        format!("{what} of {of} `{name}`")
    }

    /// Path of what has it.
    fn path(self) -> Path<'a> {
        match self {
            Self::Service(name) => vec![Step::Key(SERVICES), Step::Key(name.as_str())],
            Self::Entry { section, name, index, .. } => vec![
                Step::Key(section),
                Step::Key(name.as_str()),
                Step::Key("real_servers"),
                Step::Index(index),
            ],
        }
    }

    /// Whether a real server of a service has the checks of this holder.
    pub(super) fn covers(self, member: &Member<'_>) -> bool {
        let own = |entry: &RealServer| entry.check.is_some() || !entry.checks.is_empty();
        let pool = member.pool.map(|(_, index, entry)| (index, entry));
        match self {
            Self::Service(_) => !own(member.entry) && !pool.is_some_and(|(_, entry)| own(entry)),
            Self::Entry { section: SERVICES, index, .. } => member.index == index,
            Self::Entry { name, index, .. } => {
                let here = member.pool.is_some_and(|(of, at, _)| of == name && at == index);
                here && !own(member.entry)
            }
        }
    }
}

pub(super) const SERVICES: &str = "services";
pub(super) const POOLS: &str = "pools";

/// A check, as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct WrittenCheck<'a> {
    pub(super) check: &'a Check,
    pub(super) holder: Holder<'a>,
    /// Its index in `checks`; none for `check`.
    number: Option<usize>,
}

impl<'a> WrittenCheck<'a> {
    /// The check in words.
    pub(super) fn words(&self) -> String {
        format!("the check of {}", self.holder.words())
    }

    /// Path of the whole check.
    pub(super) fn whole(&self) -> Path<'a> {
        let mut path = self.holder.path();
        match self.number {
            None => path.push(Step::Key("check")),
            Some(index) => path.extend([Step::Key("checks"), Step::Index(index)]),
        }
        path
    }

    /// Path of a key of the check.
    pub(super) fn path<'p>(&self, key: &'p str) -> Path<'p>
    where
        'a: 'p,
    {
        self.below(&[Step::Key(key)])
    }

    /// Path of an item of a list of the check.
    pub(super) fn item<'p>(&self, key: &'p str, index: usize) -> Path<'p>
    where
        'a: 'p,
    {
        self.below(&[Step::Key(key), Step::Index(index)])
    }

    /// Path of what is in the check.
    pub(super) fn below<'p>(&self, steps: &[Step<'p>]) -> Path<'p>
    where
        'a: 'p,
    {
        let mut path = self.whole();
        path.extend(steps);
        path
    }

    /// Whether the key has the value that all checks have by default: nobody wrote it for this one.
    pub(super) fn is_by_default(&self, cx: &Context<'_>, key: &str) -> bool {
        let Some(default) = cx.cluster.defaults.check.keys.get(key) else { return false };
        let check = serde_json::to_value(self.check);
        check.is_ok_and(|check| check.get(key) == Some(default))
    }

    pub(super) fn knows(&self, cx: &Context<'_>, keys: &[&str]) -> bool {
        keys.iter().all(|key| cx.knows(&self.path(key)))
    }
}

/// The checks that stand in one place.
pub(super) fn in_one_place<'a>(
    holder: Holder<'a>,
    check: Option<&'a Check>,
    checks: &'a [Check],
) -> impl Iterator<Item = WrittenCheck<'a>> {
    let first = check.into_iter().map(move |check| WrittenCheck { check, holder, number: None });
    first.chain(checks.iter().enumerate().map(move |(index, check)| WrittenCheck {
        check,
        holder,
        number: Some(index),
    }))
}

/// Those of a list of real servers.
fn of_entries<'a>(
    section: &'static str,
    name: &'a Name,
    entries: &'a [RealServer],
) -> impl Iterator<Item = WrittenCheck<'a>> {
    entries.iter().enumerate().flat_map(move |(index, entry)| {
        let holder = Holder::Entry { section, name, index, entry };
        in_one_place(holder, entry.check.as_deref(), &entry.checks)
    })
}

/// Those of a service itself.
pub(super) fn of_service<'a>(name: &'a Name, service: &'a Service) -> impl Iterator<Item = WrittenCheck<'a>> {
    in_one_place(Holder::Service(name), service.check.as_deref(), &service.checks)
}

/// Every check of the file.
pub(super) fn all<'a>(cx: &Context<'a>) -> impl Iterator<Item = WrittenCheck<'a>> + use<'a> {
    let cluster = cx.cluster;
    let services = cluster.services.iter().flat_map(|(name, service)| {
        of_service(name, service).chain(of_entries(SERVICES, name, &service.real_servers))
    });
    let pools = cluster.pools.iter().flat_map(|(name, pool)| of_entries(POOLS, name, &pool.real_servers));
    services.chain(pools)
}

/// Every check that a real server of a service may have: the service's, those of its entries, and those of
/// the pools that it names.
pub(super) fn of_all<'a>(
    cx: &Context<'a>,
    name: &'a Name,
    service: &'a Service,
) -> impl Iterator<Item = WrittenCheck<'a>> + use<'a> {
    let cluster = cx.cluster;
    let pools = service.real_servers.iter().filter_map(|entry| entry.pool.as_ref());
    let pooled = pools.filter_map(|pool| cluster.pools.get_key_value(pool.as_str()));
    let of_pools = pooled.flat_map(|(name, pool)| of_entries(POOLS, name, &pool.real_servers));
    of_service(name, service).chain(of_entries(SERVICES, name, &service.real_servers)).chain(of_pools)
}

/// Every check with each service that it is of: that of a pool with all that use the pool.
pub(super) fn by_service<'a>(
    cx: &Context<'a>,
) -> impl Iterator<Item = (&'a Name, &'a Service, WrittenCheck<'a>)> {
    let services = cx.cluster.services.iter();
    services.flat_map(|(name, service)| of_all(cx, name, service).map(move |check| (name, service, check)))
}

/// Every place that has checks, with all of them.
pub(super) fn places<'a>(
    cx: &Context<'a>,
) -> impl Iterator<Item = (Holder<'a>, Vec<WrittenCheck<'a>>)> + use<'a> {
    let cluster = cx.cluster;
    let of_list = |section: &'static str, name: &'a Name, entries: &'a [RealServer]| {
        let holders = entries.iter().enumerate();
        holders.map(move |(index, entry)| (Holder::Entry { section, name, index, entry }, entry))
    };
    let checks = |(holder, entry): (Holder<'a>, &'a RealServer)| {
        (holder, in_one_place(holder, entry.check.as_deref(), &entry.checks).collect())
    };
    let services = cluster.services.iter().flat_map(move |(name, service)| {
        let own = std::iter::once((Holder::Service(name), of_service(name, service).collect()));
        own.chain(of_list(SERVICES, name, &service.real_servers).map(checks))
    });
    let pools = cluster.pools.iter().flat_map(move |(name, pool)| of_list(POOLS, name, &pool.real_servers));
    services.chain(pools.map(checks)).filter(|(_, checks): &(_, Vec<_>)| !checks.is_empty())
}
