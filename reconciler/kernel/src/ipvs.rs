//! IPVS services and destinations, over generic netlink.
//!
//! The family has no news and no transactions: it is read by dumps, one for the services and one for each
//! service's destinations (or by `listing`, which is faster and cannot tell all), and changed object by
//! object. Asking for the family loads `ip_vs`, so it is asked for only when the caller wants IPVS. A kernel
//! without IPVS has an empty table, and refuses what is to come into it. Bytes are `codec`'s.

mod codec;
mod connections;
mod global;
mod listing;
mod numbers;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use evenkeel_converge::{Destinations, Op, Service, ServiceKey, SyncDaemon, SyncRole, Timeouts};
use nix::errno::Errno;

use crate::apply::carry_out;
use crate::error::{ApplyError, Class, KernelError, Refusal};
use crate::generic;
use crate::module::{self, Pause, advice};
use crate::netlink::Requester;
use crate::wire::Batch;

use listing::Listing;

pub use connections::{Origins, connection_origins};
pub use usage::{Counters, DestinationUsage, ServiceUsage};

/// The generic netlink family.
const FAMILY: &str = "IPVS";
/// The module that makes it.
const MODULE: &str = "ip_vs";
/// Time of the last request for the module.
static ASKED: Pause = Pause::new();

/// Whether this network namespace has IPVS already, so that asking for it loads nothing.
#[must_use]
pub fn ipvs_loaded() -> bool {
    Path::new("/proc/thread-self/net/ip_vs").exists()
}

/// All of IPVS that is compared.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) services: Services,
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) sync_daemons: BTreeMap<SyncRole, SyncDaemon>,
}

fn refused(refusal: &Refusal) -> KernelError {
    refusal.explain("cannot read the IPVS table")
}

/// Services with their destinations, observed or expected.
pub(crate) type Services = BTreeMap<ServiceKey, Service>;

/// Services with their destinations, those that are there of `only` or all; time-outs, daemons. Destinations
/// that are the same as in `like` are shared with it.
pub(crate) fn observe(
    socket: &mut Requester,
    only: Option<&BTreeSet<ServiceKey>>,
    like: &Services,
) -> Result<Table, KernelError> {
    let family = match resolve_family(socket) {
        Ok(family) => family,
        // Operations that need IPVS report its absence; a plan without IPVS goes on.
        Err(error) if error.class == Class::Unsupported => return Ok(Table::default()),
        Err(error) => return Err(error),
    };
    let services = match only {
        Some(only) => some_services(socket, family, only, like)?,
        None => all_services(socket, family, like)?,
    };
    let mut request = Batch::default();
    global::get_timeouts(&mut request, family);
    let found = socket.get(&mut request, global::parse_timeouts)?.map_err(|refusal| refused(&refusal))?;
    let timeouts = found.into_iter().next();
    let sync_daemons = daemons(socket, family)?;
    Ok(Table { services, timeouts, sync_daemons })
}

fn daemons(socket: &mut Requester, family: u16) -> Result<BTreeMap<SyncRole, SyncDaemon>, KernelError> {
    let mut request = Batch::default();
    global::get_daemons(&mut request, family);
    let found = socket.dump(&mut request, global::parse_daemon)?.map_err(|refusal| refused(&refusal))?;
    Ok(found.into_iter().collect())
}

/// The synchronisation daemons alone.
pub(crate) fn sync_daemons(socket: &mut Requester) -> Result<BTreeMap<SyncRole, SyncDaemon>, KernelError> {
    let family = resolve_family(socket)?;
    daemons(socket, family)
}

fn all_services(socket: &mut Requester, family: u16, like: &Services) -> Result<Services, KernelError> {
    let mut request = Batch::default();
    codec::get_services(&mut request, family);
    let found = socket.dump(&mut request, codec::parse_service)?.map_err(|refusal| refused(&refusal))?;
    let mut services: Services = found.into_iter().collect();
    let mut listing = if services.is_empty() { None } else { Listing::open() };
    for (key, service) in &mut services {
        let like = like.get(key).map(|like| &like.destinations);
        service.destinations = match listing.as_mut().and_then(|listing| listing.destinations(key, like)) {
            Some(listed) => listed,
            None => destinations(socket, family, key, like)?,
        };
    }
    Ok(services)
}

fn some_services(
    socket: &mut Requester,
    family: u16,
    only: &BTreeSet<ServiceKey>,
    like: &Services,
) -> Result<Services, KernelError> {
    let mut services = BTreeMap::new();
    for key in only {
        let mut request = Batch::default();
        codec::get_service(&mut request, family, key);
        match socket.get(&mut request, codec::parse_service)? {
            Ok(found) => services.extend(found.into_iter().filter(|(found, _)| found == key)),
            Err(refusal) if refusal.code() == Errno::ESRCH => {}
            Err(refusal) => return Err(refused(&refusal)),
        }
        if let Some(service) = services.get_mut(key) {
            let like = like.get(key).map(|like: &Service| &like.destinations);
            service.destinations = destinations(socket, family, key, like)?;
        }
    }
    Ok(services)
}

/// One service with its destinations; none when it is not there.
pub(crate) fn service(socket: &mut Requester, key: ServiceKey) -> Result<Option<Service>, KernelError> {
    let family = resolve_family(socket)?;
    Ok(some_services(socket, family, &[key].into(), &BTreeMap::new())?.remove(&key))
}

fn destinations(
    socket: &mut Requester,
    family: u16,
    key: &ServiceKey,
    like: Option<&Destinations>,
) -> Result<Destinations, KernelError> {
    let mut request = Batch::default();
    codec::get_destinations(&mut request, family, key);
    let found = socket.dump(&mut request, |_, body| codec::parse_destination(key, body))?;
    let mut found = found.map_err(|refusal| refused(&refusal))?;
    Ok(Destinations::sharing(&mut found, like))
}

/// Connections and counters, of some services or of all.
pub(crate) fn usage(
    socket: &mut Requester,
    only: Option<&BTreeSet<ServiceKey>>,
) -> Result<BTreeMap<ServiceKey, ServiceUsage>, KernelError> {
    let family = resolve_family(socket)?;
    let mut request = Batch::default();
    codec::get_services(&mut request, family);
    let found = socket.dump(&mut request, usage::parse_service)?.map_err(|refusal| refused(&refusal))?;
    let wanted = |key: &ServiceKey| only.is_none_or(|only| only.contains(key));
    let mut services: BTreeMap<ServiceKey, ServiceUsage> =
        found.into_iter().filter(|(key, _)| wanted(key)).collect();
    for (key, service) in &mut services {
        let mut request = Batch::default();
        codec::get_destinations(&mut request, family, key);
        let found = socket.dump(&mut request, |_, body| usage::parse_destination(key, body))?;
        service.destinations = found.map_err(|refusal| refused(&refusal))?.into_iter().collect();
    }
    Ok(services)
}

/// Carries out IPVS operations, all in one go.
pub(crate) fn apply(socket: &mut Requester, ops: &[Op]) -> Vec<Result<(), ApplyError>> {
    // Not remembered: a module that was unloaded and loaded again has another number.
    let family = match resolve_family(socket) {
        Ok(family) => family,
        Err(error) => return ops.iter().map(|_| Err(error.clone())).collect(),
    };
    let encode = |batch: &mut Batch, op: &Op| {
        // An operation is about one of both; what is about neither adds nothing.
        let _ = global::encode(batch, family, op) || codec::encode(batch, family, op);
        Ok(())
    };
    carry_out(socket, ops, encode, |_, op, refusal| meaning_of(op, refusal))
}

/// The number of the IPVS family, loading `ip_vs` when need be.
fn resolve_family(socket: &mut Requester) -> Result<u16, KernelError> {
    let doing = "cannot use IPVS";
    let missing = |refusal: &Refusal| refusal.code() == Errno::ENOENT;
    let mut found = generic::family(socket, FAMILY)?;
    if found.as_ref().is_err_and(missing) && ASKED.is_over() {
        // Kernels before 6.1 do not load it when the family is asked for.
        for ask in [|| module::load(MODULE), module::load_by_match] {
            ask();
            found = generic::family(socket, FAMILY)?;
            if !found.as_ref().is_err_and(missing) {
                break;
            }
        }
    }
    found.map_err(|refusal| match refusal.code() {
        Errno::ENOENT => {
            let cause = format!("the kernel has no IPVS, or may not load it from here: {}", advice(MODULE));
            refusal.because(doing, Class::Unsupported, &cause)
        }
        _ => refusal.explain(doing),
    })
}

/// Decides what a refusal means (`net/netfilter/ipvs/ip_vs_ctl.c`): the kernel gives numbers only.
fn meaning_of(op: &Op, refusal: &Refusal) -> Result<(), ApplyError> {
    let (class, cause) = match (op, refusal.code()) {
        (Op::DelService(_), Errno::ESRCH) => return Ok(()),
        (Op::DelDestination(..), Errno::ESRCH | Errno::ENOENT) => return Ok(()),
        (Op::StopSync(_), Errno::ESRCH) => return Ok(()),
        (Op::StartSync(..), Errno::EEXIST) => {
            (Class::Conflict, "something else has started one meanwhile: there can be one of each sort only")
        }
        (Op::StartSync(_, daemon), Errno::ENODEV) => {
            let cause = format!(
                "there is no interface {}, or it has no address of the group's family",
                daemon.interface
            );
            return Err(refusal.because(&op.to_string(), Class::Transient, &cause));
        }
        (
            Op::StartSync(..),
            Errno::EADDRINUSE | Errno::EADDRNOTAVAIL | Errno::ENETUNREACH | Errno::ENETDOWN,
        ) => (Class::Transient, "the interface is down, has no address, or the port is taken"),
        (Op::StartSync(..), Errno::EINVAL) => (
            Class::Unsupported,
            "the group is no multicast address, or a destination is of the other family than its virtual \
            server, \
             which cannot be synchronised",
        ),
        (Op::SetTimeouts { .. }, Errno::EINVAL) => {
            (Class::Unsupported, "a time-out of 0, or longer than the kernel can count")
        }
        (Op::AddService(_, service) | Op::SetService(_, service), Errno::ENOENT) => {
            return Err(refusal.because(&op.to_string(), Class::Unsupported, &missing_module(service)));
        }
        (_, Errno::ESRCH) => (Class::Transient, "its virtual server is not there"),
        (_, Errno::ENOENT) => (Class::Transient, "it is not there: something else removed it"),
        (_, Errno::EEXIST) => {
            (Class::Conflict, "it is there already: something else writes to the IPVS table as well")
        }
        (Op::AddDestination(..) | Op::SetDestination { .. }, Errno::EINVAL) => (
            Class::Permanent,
            "the address is no host's, no interface is up, or it is of the other family without tunnelling \
            or \
             while connections are synchronised",
        ),
        (_, Errno::ERANGE) => {
            (Class::Permanent, "a weight over 2147483647, or a lower threshold above the upper one")
        }
        (_, Errno::EINVAL) => (Class::Unsupported, "the kernel does not take these properties"),
        (_, Errno::EAFNOSUPPORT) => (Class::Unsupported, "IPVS of this kernel lacks the address family"),
        (_, Errno::EPROTONOSUPPORT | Errno::EOPNOTSUPP) => {
            (Class::Unsupported, "IPVS of this kernel cannot do this")
        }
        _ => return Err(refusal.explain(&op.to_string())),
    };
    Err(refusal.because(&op.to_string(), class, cause))
}

/// The kernel says only that something is missing. A module that is loaded is not it.
fn missing_module(service: &Service) -> String {
    let scheduler = format!("ip_vs_{}", service.scheduler);
    let engine = service.persistence_engine.as_ref().map(|engine| format!("ip_vs_pe_{engine}"));
    let loaded = |module: &String| Path::new("/sys/module").join(module).exists();
    let lacking = |what: &str, module: &str| {
        format!("the kernel has no {what}: {}; or choose another one in the plan", advice(module))
    };
    match engine {
        Some(engine) if loaded(&scheduler) => lacking("such persistence engine", &engine),
        Some(engine) if !loaded(&engine) => {
            format!("{}. Perhaps it is {engine} that is missing", lacking("such scheduler", &scheduler))
        }
        Some(_) | None => lacking("such scheduler", &scheduler),
    }
}
