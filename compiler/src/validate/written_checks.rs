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

    /// Index in the list of real servers; none where it is the service.
    const fn index(self) -> Option<usize> {
        match self {
            Self::Service(_) => None,
            Self::Entry { index, .. } => Some(index),
        }
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
pub(super) fn of_entries<'a>(
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

/// The checks of each service with its list, then those of each pool.
fn lists<'a>(cx: &Context<'a>) -> impl Iterator<Item = &'a [WrittenCheck<'a>]> + use<'a> {
    let world = cx.world;
    let services = world.services.iter().map(|facts| facts.checks.as_slice());
    services.chain(world.pool_checks.values().map(Vec::as_slice))
}

/// Every check of the file.
pub(super) fn all<'a>(cx: &Context<'a>) -> impl Iterator<Item = WrittenCheck<'a>> + use<'a> {
    lists(cx).flatten().copied()
}

/// Every check that a real server of a service may have: the service's, those of its entries, and those of
/// the pools that it names.
pub(super) fn of_all<'a>(cx: &Context<'a>, name: &Name) -> impl Iterator<Item = WrittenCheck<'a>> + use<'a> {
    let pool_checks = &cx.world.pool_checks;
    let (checks, pools) =
        cx.facts(name).map_or((&[][..], &[][..]), |facts| (facts.checks.as_slice(), facts.pools.as_slice()));
    let of_pools = pools.iter().filter_map(|pool| pool_checks.get(pool));
    checks.iter().chain(of_pools.flatten()).copied()
}

/// Every check with each service that it is of: that of a pool with all that use the pool.
pub(super) fn by_service<'a>(
    cx: &Context<'a>,
) -> impl Iterator<Item = (&'a Name, &'a Service, WrittenCheck<'a>)> {
    let services = cx.cluster.services.iter();
    services.flat_map(|(name, service)| of_all(cx, name).map(move |check| (name, service, check)))
}

/// Every place that has checks, with all of them.
pub(super) fn places<'a>(
    cx: &Context<'a>,
) -> impl Iterator<Item = (Holder<'a>, &'a [WrittenCheck<'a>])> + use<'a> {
    let places = lists(cx).flat_map(|list| list.chunk_by(|a, b| a.holder.index() == b.holder.index()));
    places.filter_map(|checks| Some((checks.first()?.holder, checks)))
}
