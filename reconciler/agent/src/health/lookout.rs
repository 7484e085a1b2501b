//! A thread that watches the ways from this host to the targets of checks: it listens for interfaces,
//! addresses and routes, and asks the kernel which way a packet would take. The meaning of its findings is
//! decided in the health crate.
//!
//! ```text
//!   kernel --interfaces, "something changed"--> thread --news (bounded)--> main
//!   kernel <--------- "which way?" ------------ thread <-- targets, looks -- main, probes
//! ```
//!
//! Only changes are reported. When news did not fit, all of them are reported again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use evenkeel_converge::AddressKey;
use evenkeel_health::WayNews;
use evenkeel_health::way::{Link, Route};
use evenkeel_kernel::{Event, Group, Kernel, KernelError, Monitor, Way, clock};
use evenkeel_schemas::time::MonoTime;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

/// Targets that are looked up before messages that have come meanwhile get their turn.
const BITE: usize = 128;
/// Least time between two look-ups of all targets.
const PAUSE: Duration = Duration::from_millis(50);
/// Factor from the time that a look-up of all targets took to the pause after it: on a router whose routes
/// change all the time it costs two per cent of a processor.
const REST: u32 = 50;
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time between two full look-ups without any event.
const RESYNC: Duration = Duration::from_secs(30);
/// The same while the kernel sends no events.
const DEAF_RESYNC: Duration = Duration::from_secs(5);
/// Time that a probe waits for the look-up of its way: less than the probe itself may be late.
const PATIENCE: Duration = Duration::from_millis(500);

enum LookoutRequest {
    Targets(Vec<IpAddr>),
    /// Look up the way to this target now; the answer comes after the news of it.
    Look(IpAddr, oneshot::Sender<()>),
    /// All addresses of this host. An interface that one of these names leads to is reported under that name.
    Addresses(BTreeSet<String>, oneshot::Sender<Result<BTreeSet<AddressKey>, KernelError>>),
}

/// Reason why there are no addresses of this host.
#[derive(Debug)]
pub(crate) enum AddressesError {
    /// The kernel does not answer.
    Kernel(KernelError),
    /// The thread has ended.
    Ended,
}

impl fmt::Display for AddressesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => error.fmt(f),
            Self::Ended => f.write_str("the thread that looks at addresses has ended"),
        }
    }
}

/// A handle to the thread.
#[derive(Clone)]
pub(crate) struct Lookout {
    /// Bounded by its users: a probe under way asks once.
    asks: Sender<LookoutRequest>,
    wake: Arc<EventFd>,
}

impl Lookout {
    /// Starts the thread. It ends when the last handle is gone.
    ///
    /// When netlink or the thread cannot be had.
    pub(crate) fn start(news: mpsc::Sender<WayNews>) -> std::io::Result<Self> {
        let (asks, inbox) = channel();
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let kernel = Kernel::new().map_err(std::io::Error::other)?;
        let worker = LookoutWorker {
            inbox,
            wake: Arc::clone(&wake),
            kernel,
            monitor: None,
            deaf: false,
            blind: false,
            news,
            links: BTreeMap::new(),
            routes: BTreeMap::new(),
            due: VecDeque::new(),
            begun: MonoTime::ZERO,
            not_before: MonoTime::ZERO,
            resync: MonoTime::ZERO,
            dirty: false,
            all: true,
        };
        std::thread::Builder::new().name("lookout".to_owned()).spawn(move || worker.run())?;
        Ok(Self { asks, wake })
    }

    /// Sets the targets.
    pub(crate) fn watch(&self, targets: Vec<IpAddr>) {
        self.ask(LookoutRequest::Targets(targets));
    }

    /// Looks up the way to a target. When this returns, the finding and all changes before it are among the
    /// news, unless it took longer than [`PATIENCE`].
    pub(crate) async fn look(&self, target: IpAddr) {
        let (reply, looked) = oneshot::channel();
        self.ask(LookoutRequest::Look(target, reply));
        tokio::time::timeout(PATIENCE, looked).await.ok();
    }

    /// All addresses of this host; an interface that one of `names` leads to is reported under that name.
    ///
    /// # Errors
    /// When the kernel does not answer, or the thread has ended.
    pub(crate) async fn addresses(
        &self,
        names: BTreeSet<String>,
    ) -> Result<BTreeSet<AddressKey>, AddressesError> {
        let (reply, answer) = oneshot::channel();
        self.ask(LookoutRequest::Addresses(names, reply));
        answer.await.map_err(|_| AddressesError::Ended)?.map_err(AddressesError::Kernel)
    }

    fn ask(&self, ask: LookoutRequest) {
        // Both fail only when the thread has ended: then nothing is found.
        self.asks.send(ask).ok();
        self.wake.write(1).ok();
    }
}

struct LookoutWorker {
    inbox: Receiver<LookoutRequest>,
    wake: Arc<EventFd>,
    kernel: Kernel,
    /// None while the kernel sends no events.
    monitor: Option<Monitor>,
    /// Whether that was logged.
    deaf: bool,
    /// Whether it was logged that interfaces cannot be read, and they still cannot.
    blind: bool,
    news: mpsc::Sender<WayNews>,
    /// Interfaces, as last reported.
    links: BTreeMap<u32, Link>,
    /// Targets and their routes, as last reported; none before the first look-up.
    routes: BTreeMap<IpAddr, Option<Route>>,
    /// Targets to be looked up.
    due: VecDeque<IpAddr>,
    /// Start of the look-up of all of them.
    begun: MonoTime,
    /// Earliest start of the next one.
    not_before: MonoTime,
    resync: MonoTime,
    /// Whether all targets are to be looked up.
    dirty: bool,
    /// Whether everything is to be looked up, and reported even if it has not changed.
    all: bool,
}

impl LookoutWorker {
    fn run(mut self) {
        loop {
            self.wait();
            self.listen();
            // Events first: a probe that asks for a look-up finds earlier changes reported already.
            self.read_events();
            if !self.read_asks() {
                return;
            }
            self.look_up_all();
        }
    }

    /// Makes sure that the kernel sends events. Changes that were missed are found by a full look-up.
    fn listen(&mut self) {
        if self.monitor.is_some() || clock::now() < self.resync && self.deaf {
            return;
        }
        match Monitor::open(&Group::ALL) {
            Ok(monitor) => {
                self.monitor = Some(monitor);
                self.deaf = false;
                self.all = true;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.deaf, true) {
                    warn!(%error, "no kernel events: that a way to a destination is gone is found later");
                }
            }
        }
    }

    fn wait(&self) {
        let now = clock::now();
        let until = if self.due.is_empty() {
            if self.all || self.dirty { self.not_before } else { self.resync }
        } else {
            now
        };
        // One millisecond more: poll(2) cuts the time to whole ones.
        let wait = if until > now { now.until(until) + Duration::from_millis(1) } else { Duration::ZERO };
        let limit = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let wake = PollFd::new(self.wake.as_fd(), PollFlags::POLLIN);
        let monitor = self.monitor.as_ref().map(|monitor| PollFd::new(monitor.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<PollFd<'_>> = [Some(wake), monitor].into_iter().flatten().collect();
        match poll(&mut fds, limit) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Whatever the error, not again at once.
            Err(_) => std::thread::sleep(PAUSE),
        }
    }

    /// Handles all requests. Returns false when no handle is left.
    fn read_asks(&mut self) -> bool {
        // Emptied before the channel is read: a request that comes in between wakes the next turn.
        self.wake.read().ok();
        loop {
            match self.inbox.try_recv() {
                Ok(LookoutRequest::Targets(targets)) => {
                    let mut before = std::mem::take(&mut self.routes);
                    let kept = |target: IpAddr| (target, before.remove(&target).flatten());
                    self.routes = targets.into_iter().map(kept).collect();
                    // The health thread has forgotten targets that left, and may have asked for some that
                    // return.
                    self.all = true;
                    self.not_before = MonoTime::ZERO;
                }
                Ok(LookoutRequest::Look(target, reply)) => {
                    self.look_up(target);
                    // The probe may have given up.
                    reply.send(()).ok();
                }
                Ok(LookoutRequest::Addresses(names, reply)) => {
                    reply.send(self.kernel.every_address(&names)).ok();
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn read_events(&mut self) {
        let Some(monitor) = &mut self.monitor else { return };
        let events = match monitor.read_events() {
            Ok(events) => events,
            Err(_) => {
                self.monitor = None;
                vec![Event::Overrun]
            }
        };
        for event in events {
            match event {
                Event::LinkChanged { ifindex, name, there, up, running, carrier } => {
                    self.linked(ifindex, Link { name, there, up, running, carrier });
                }
                Event::AddressAdded { .. }
                | Event::AddressRemoved { .. }
                | Event::RouteChanged { .. }
                | Event::RuleChanged => self.dirty = true,
                Event::Overrun => self.all = true,
            }
        }
    }

    fn linked(&mut self, index: u32, link: Link) {
        if self.links.get(&index) == Some(&link) {
            return;
        }
        // Routes over an interface that goes down vanish without an event.
        self.dirty = true;
        if link.there {
            self.links.insert(index, link.clone());
        } else {
            self.links.remove(&index);
        }
        self.send_news(WayNews::Link(index, link));
    }

    /// Looks up all targets, a bite at a time.
    fn look_up_all(&mut self) {
        let now = clock::now();
        if now >= self.resync {
            self.all = true;
        }
        if self.due.is_empty() && (self.all || self.dirty) && now >= self.not_before {
            if std::mem::take(&mut self.all) {
                let pause = if self.monitor.is_some() { RESYNC } else { DEAF_RESYNC };
                self.resync = now + pause;
                self.read_links();
                self.routes.values_mut().for_each(|route| *route = None);
            }
            self.dirty = false;
            self.begun = now;
            self.due = self.routes.keys().copied().collect();
            if self.due.is_empty() {
                self.not_before = now + PAUSE;
            }
        }
        let bite: Vec<IpAddr> = self.due.drain(..self.due.len().min(BITE)).collect();
        if bite.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for target in bite {
            let Ok(way) = self.kernel.way(target) else { continue };
            found.extend(self.news_of(target, route(way)));
        }
        if !found.is_empty() {
            self.send_news(WayNews::Routes(found));
        }
        if self.due.is_empty() {
            let now = clock::now();
            self.not_before = now + (now.since(self.begun) * REST).clamp(PAUSE, LONGEST_PAUSE);
        }
    }

    fn read_links(&mut self) {
        match self.kernel.links() {
            Ok(links) => {
                self.blind = false;
                self.links = links.into_iter().map(|link| (link.index, known(link))).collect();
                self.send_news(WayNews::Links(self.links.clone()));
            }
            Err(error) => {
                self.resync = clock::now() + DEAF_RESYNC;
                if !std::mem::replace(&mut self.blind, true) {
                    warn!("cannot read the interfaces: {error}");
                }
            }
        }
    }

    /// Looks up the way to one target, fresh from the kernel: the event of a carrier may be a second late.
    fn look_up(&mut self, target: IpAddr) {
        let Ok(way) = self.kernel.way(target) else { return };
        if let Some(way) = way
            && let Ok(link) = self.kernel.link(way.interface)
        {
            match (link, self.links.get(&way.interface)) {
                (Some(link), _) => self.linked(way.interface, known(link)),
                (None, Some(known)) => self.linked(way.interface, Link { there: false, ..known.clone() }),
                (None, None) => {}
            }
        }
        let found: Vec<_> = self.news_of(target, route(way)).into_iter().collect();
        if !found.is_empty() {
            self.send_news(WayNews::Routes(found));
        }
    }

    /// A target's route, when it differs from the one last reported.
    fn news_of(&mut self, target: IpAddr, route: Route) -> Option<(IpAddr, Route)> {
        let reported = self.routes.get_mut(&target)?;
        (reported.replace(route) != Some(route)).then_some((target, route))
    }

    /// Never waits: news that do not fit are reported again by a full look-up.
    fn send_news(&mut self, news: WayNews) {
        if self.news.try_send(news).is_err() {
            self.all = true;
        }
    }
}

fn known(link: evenkeel_kernel::Link) -> Link {
    let evenkeel_kernel::Link { name, up, running, carrier, .. } = link;
    Link { name, there: true, up, running, carrier }
}

const fn route(way: Option<Way>) -> Route {
    match way {
        Some(Way { interface, direct, gateway }) => Route::By { interface, direct, gateway },
        None => Route::None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use evenkeel_health::{Ailment, Ways};
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    /// Longest time for an event on a busy machine: far less than any resync.
    const SOON: Duration = Duration::from_secs(3);

    fn ip(arguments: &str) {
        let done = Command::new("ip").args(arguments.split_whitespace()).output();
        let done = done.expect("this test needs iproute2's ip in the PATH");
        assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    }

    struct Scene {
        news: mpsc::Receiver<WayNews>,
        ways: Ways,
        target: IpAddr,
    }

    impl Scene {
        fn take(&mut self) {
            while let Ok(news) = self.news.try_recv() {
                let now = clock::now();
                match news {
                    WayNews::Links(links) => drop(self.ways.links(links, now)),
                    WayNews::Link(index, link) => drop(self.ways.link(index, link, now)),
                    WayNews::Routes(routes) => drop(self.ways.routes(routes, now)),
                }
            }
        }

        fn wait(&mut self, wanted: Option<Ailment>) {
            let begun = Instant::now();
            while self.ways.ailment(self.target) != wanted.as_ref() {
                assert!(begun.elapsed() < SOON, "{wanted:?}, {:?}", self.ways.ailment(self.target));
                std::thread::sleep(Duration::from_millis(1));
                self.take();
            }
        }
    }

    #[test]
    fn a_change_of_a_way_is_reported_at_once_and_a_look_up_does_not_wait_for_its_event() {
        let thread = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("this test needs a network namespace: run it as root (CAP_SYS_ADMIN)");
            for command in [
                "link set lo up",
                "link add v0 type veth peer name v1",
                "address add 192.0.2.1/24 dev v0",
                "link set v1 up",
                "link set v0 up",
            ] {
                ip(command);
            }
            let target: IpAddr = [192, 0, 2, 7].into();
            let (tell, news) = mpsc::channel(1024);
            let lookout = Lookout::start(tell).expect("a thread");
            let mut scene = Scene { news, ways: Ways::new(), target };
            scene.ways.watch([target]);
            lookout.watch(vec![target]);
            scene.wait(None);
            let name = || "v0".to_owned();
            for _ in 0..3 {
                ip("link set v1 down");
                scene.wait(Some(Ailment::NoCarrier(name())));
                ip("link set v1 up");
                scene.wait(None);
                ip("address del 192.0.2.1/24 dev v0");
                scene.wait(Some(Ailment::NoRoute));
                ip("address add 192.0.2.1/24 dev v0");
                scene.wait(None);
                ip("link set v0 down");
                scene.wait(Some(Ailment::SetDown(name())));
                ip("link set v0 up");
                scene.wait(None);
            }
            // An answer to a look-up comes after its news.
            ip("link set v1 down");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
            runtime.block_on(lookout.look(target));
            scene.take();
            assert_eq!(scene.ways.ailment(target), Some(&Ailment::NoCarrier(name())));
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
