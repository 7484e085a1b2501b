//! Makes an IPVS table of N services with M destinations each, compares, changes one, removes all; with
//! times.
//!
//! ```text
//! ipvs_roundtrip [SERVICES [DESTINATIONS [KEEP]]]
//! ```
//! Needs CAP_NET_ADMIN, a kernel with IPVS and an empty table; leaves it empty, unless there is a third
//! argument. `ip netns exec` or a virtual machine are good places.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use evenkeel_converge::{
    Desired, Destination, DestinationKey, Domain, Forward, KernelState, Kind, Ledger, Op, Service,
    ServiceKey, diff,
};
use evenkeel_kernel::{Kernel, Scope, clock};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u32| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (Ok(services), Ok(destinations)) = (number(0, 1000), number(1, 10)) else {
        eprintln!("usage: ipvs_roundtrip [SERVICES [DESTINATIONS [KEEP]]]");
        return ExitCode::from(2);
    };
    match run(services, destinations, arguments.len() > 2) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("ipvs_roundtrip: {why}");
            ExitCode::FAILURE
        }
    }
}

/// A kernel and the state it should have.
struct Bench {
    kernel: Kernel,
    desired: Desired,
    scope: Scope,
}

fn run(services: u32, destinations: u32, keep: bool) -> Result<(), String> {
    let scope = Scope { kinds: BTreeSet::from([Kind::Ipvs]), ipvs: true, ..Scope::default() };
    let kernel = Kernel::new().map_err(|error| error.to_string())?;
    // An empty table of ours: what is there is foreign, so nothing is removed by mistake.
    let mut bench = Bench { kernel, desired: Desired::default(), scope };
    if !bench.observe()?.services.is_empty() {
        return Err("the IPVS table is not empty".to_owned());
    }
    bench.desired =
        Desired { state: table(services, destinations), exclusive_ipvs: true, ..Desired::default() };
    println!("{services} services x {destinations} destinations");
    bench.converge("made")?;
    bench.converge("nothing changed")?;
    if let Some(weight) = first_weight(&mut bench.desired.state) {
        *weight += 1;
        bench.converge("one weight changed")?;
    }
    if !keep {
        bench.desired.state = KernelState::default();
        bench.converge("removed")?;
    }
    Ok(())
}

impl Bench {
    fn observe(&mut self) -> Result<KernelState, String> {
        self.kernel.observe(&self.scope).map_err(|error| error.to_string())
    }

    fn diff(&self, observed: &KernelState) -> Vec<Op> {
        diff(&self.desired, observed, &Ledger::default(), Domain::Host).ops
    }

    /// Brings the kernel to the desired state and prints how long each part took.
    fn converge(&mut self, what: &str) -> Result<(), String> {
        let start = clock::now();
        let observed = self.observe()?;
        let seen = clock::now();
        let ops = self.diff(&observed);
        let compared = clock::now();
        for result in self.kernel.apply(&ops) {
            result.map_err(|error| error.to_string())?;
        }
        let applied = clock::now();
        let observed = self.observe()?;
        let left = self.diff(&observed);
        let verified = clock::now();
        if let Some(op) = left.first() {
            return Err(format!("{} operations are left, the first: {op}", left.len()));
        }
        println!(
            "{what}: {} operations; observe {:?}, diff {:?}, apply {:?}, verify {:?}; total {:?}",
            ops.len(),
            seen.since(start),
            compared.since(seen),
            applied.since(compared),
            verified.since(applied),
            verified.since(start)
        );
        Ok(())
    }
}

fn table(services: u32, destinations: u32) -> KernelState {
    let mut state = KernelState::default();
    for index in 0..services {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0001 + index));
        let mut service = Service::plain("wlc", false);
        for index in 0..destinations {
            let address = IpAddr::V4(Ipv4Addr::from_bits(0xAC10_0001 + index));
            service.destinations.insert(DestinationKey { address, port: 80 }, destination());
        }
        state.services.insert(ServiceKey::Transport { protocol: 6, address, port: 80 }, service);
    }
    state
}

const fn destination() -> Destination {
    Destination::plain(Forward::DirectRoute, 100)
}

fn first_weight(state: &mut KernelState) -> Option<&mut u32> {
    let service = state.services.values_mut().next()?;
    service.destinations.values_mut().next().map(|destination| &mut destination.weight)
}
