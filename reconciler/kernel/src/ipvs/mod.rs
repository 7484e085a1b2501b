//! IPVS services and destinations, over generic netlink.
//!
//! The family has no news and no transactions: it is read by dumps, one for the services and one for
//! each service's destinations, and changed object by object. Asking for the family loads `ip_vs`,
//! so it is asked for only when the caller wants IPVS. Bytes are `codec`'s.

mod codec;

use std::collections::BTreeMap;
use std::path::Path;

use evenkeel_converge::{Op, Service, ServiceKey};
use nix::errno::Errno;

use crate::apply::carry_out;
use crate::error::{ApplyError, Class, KernelError, Refusal};
use crate::netlink::Requester;
use crate::wire::Batch;

/// Whether this network namespace has IPVS already, so that asking for it loads nothing.
#[must_use]
pub fn ipvs_loaded() -> bool {
    Path::new("/proc/thread-self/net/ip_vs").exists()
}

/// All services with their destinations.
pub(crate) fn observe(socket: &mut Requester) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
    let family = resolve_family(socket)?;
    let refused = |refusal: Refusal| refusal.explain("cannot read the IPVS table");
    let mut request = Batch::default();
    codec::get_services(&mut request, family);
    let mut services: BTreeMap<ServiceKey, Service> =
        socket.dump(&mut request, codec::parse_service)?.map_err(refused)?.into_iter().collect();
    for (key, service) in &mut services {
        let mut request = Batch::default();
        codec::get_destinations(&mut request, family, key);
        let found = socket.dump(&mut request, |_, body| codec::parse_destination(key, body))?;
        service.destinations = found.map_err(refused)?.into_iter().collect();
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
        codec::encode(batch, family, op);
        Ok(())
    };
    carry_out(socket, ops, encode, |_, op, refusal| settle(op, refusal))
}

/// The number of the IPVS family, loading `ip_vs` when need be.
fn resolve_family(socket: &mut Requester) -> Result<u16, KernelError> {
    let doing = "cannot use IPVS";
    let mut request = Batch::default();
    codec::get_family(&mut request);
    match socket.get(&mut request, codec::parse_family)? {
        Ok(numbers) => numbers.first().copied().ok_or_else(|| KernelError::malformed("the IPVS family")),
        Err(refusal) if refusal.code() == Errno::ENOENT => {
            let cause = "the kernel has no IPVS: its module ip_vs is missing, or may not be loaded from here";
            Err(refusal.because(doing, Class::Permanent, cause))
        }
        Err(refusal) => Err(refusal.explain(doing)),
    }
}

/// Decides what a refusal means (`net/netfilter/ipvs/ip_vs_ctl.c`): the kernel gives numbers only.
fn settle(op: &Op, refusal: &Refusal) -> Result<(), ApplyError> {
    let (class, cause) = match (op, refusal.code()) {
        (Op::DelService(_), Errno::ESRCH) => return Ok(()),
        (Op::DelDestination(..), Errno::ESRCH | Errno::ENOENT) => return Ok(()),
        (Op::AddService(_, service) | Op::SetService(_, service), Errno::ENOENT) => {
            return Err(refusal.because(&op.to_string(), Class::Permanent, &missing_module(service)));
        }
        (_, Errno::ESRCH) => (Class::Transient, "its virtual server is not there"),
        (_, Errno::ENOENT) => (Class::Transient, "it is not there: something else removed it"),
        (_, Errno::EEXIST) => {
            (Class::Conflict, "it is there already: something else writes to the IPVS table as well")
        }
        (Op::AddDestination(..) | Op::SetDestination { .. }, Errno::EINVAL) => (
            Class::Permanent,
            "the address is no host's, of the other family without tunnelling, or no interface is up",
        ),
        (_, Errno::ERANGE) => {
            (Class::Permanent, "a weight over 2147483647, or a lower threshold above the upper one")
        }
        (_, Errno::EINVAL) => (Class::Permanent, "the kernel does not take these properties"),
        (_, Errno::EAFNOSUPPORT) => (Class::Permanent, "IPVS of this kernel lacks the address family"),
        _ => return Err(refusal.explain(&op.to_string())),
    };
    Err(refusal.because(&op.to_string(), class, cause))
}

fn missing_module(service: &Service) -> String {
    let scheduler = format!("the scheduler's module ip_vs_{} is missing", service.scheduler);
    match &service.persistence_engine {
        Some(engine) => format!("{scheduler}, or the persistence engine's, ip_vs_pe_{engine}"),
        None => scheduler,
    }
}
