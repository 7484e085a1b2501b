//! Plans that are committed to a git repository, looked at now and then by a thread of its own.
//!
//! ```text
//! repository --git, as somebody else--> look --judge--> STATE/source/plan/HOST.plan.toml --read--> main loop
//! ```
//!
//! `address` reads the address, `judge` decides which commits are taken, `signers` who may sign now,
//! `answers` reads what git says: all pure. `repository` runs git, `look` is one look, `place` the
//! directories.

mod address;
mod answers;
mod judge;
mod look;
mod place;
mod repository;
mod signers;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_host::loaded::PlanRefusal;
use evenkeel_kernel::clock;
use evenkeel_schemas::scalars::Name;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::cadence::{self, Tell, Told};
use super::kept::{Kept, Report, Trouble};
use super::read::{self, Keep};
use super::{Keeping, Loaded, Look, Pulled};
use crate::system::files::Trust;
use crate::system::moment;
use crate::system::scheduling;
use judge::Taken;
use look::{GoodCommit, Looker};
use place::Place;
use repository::Repository;

pub(crate) use address::Address;
pub(crate) use look::Policy;

/// A branch of a repository, and the place of this host's plan in it.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    pub(crate) address: Address,
    pub(crate) policy: Policy,
    pub(crate) poll: Duration,
    pub(crate) host: Name,
    pub(crate) trust: Trust,
    /// State directory.
    pub(crate) state: PathBuf,
    /// Compiled secrets of this host, which are in no repository.
    pub(crate) secrets: PathBuf,
}

/// Forgets the plan that was taken last: the source is another one now, and this plan grows old.
pub(super) fn forget_plan(state: &Path) {
    Place::new(state).forget_plan();
}

impl Git {
    /// Reads the plan that was taken last.
    pub(super) fn read(&self, keep: Keep<'_>) -> Loaded {
        let plan = Place::new(&self.state).plan(&self.host);
        if !plan.exists() {
            return Err(PlanRefusal::new(format!("nothing was fetched yet from {}", self.address)));
        }
        read::load_aside(&plan, &self.secrets, &self.host, keep, self.trust)
    }

    /// Looks at the repository in a thread of its own.
    pub(super) fn watch(
        self,
        copies: PathBuf,
        keep: impl Keeping,
        kept: Kept,
        looks: mpsc::Receiver<Look>,
    ) -> mpsc::Receiver<Box<Loaded>> {
        let (send, plans) = mpsc::channel(1);
        if self.policy.signers.is_none() {
            warn!(
                source = %self.address,
                "source {}: no --allowed-signers, so the transport alone is trusted: whoever can \
                    write to that branch decides what this host does",
                self.address
            );
        }
        let watcher = move || {
            scheduling::give_way();
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return error!("the source of plans cannot be looked at: {error}"),
            };
            let place = Place::new(&self.state);
            let repository = Repository::new(place, self.address.clone(), self.trust, runtime);
            let Self { address, policy, poll, host, trust, .. } = self.clone();
            let looker = Looker::new(repository, address, host, policy, trust, poll);
            let report = Report { signed: self.policy.signers.is_some(), ..Report::default() };
            let told = Told::default();
            Watcher { git: self, looker, kept, report, told, send, delivered: false }
                .run(&copies, &keep, looks);
        };
        if let Err(error) = std::thread::Builder::new().name("source".to_owned()).spawn(watcher) {
            error!("the source of plans cannot be looked at: {error}");
        }
        plans
    }
}

/// The thread of a repository.
struct Watcher {
    git: Git,
    looker: Looker,
    kept: Kept,
    report: Report,
    told: Told,
    send: mpsc::Sender<Box<Loaded>>,
    /// Whether the plan of the commit that was accepted last has reached the main loop, and was good.
    delivered: bool,
}

impl Watcher {
    /// Looks until the daemon stops.
    fn run(mut self, copies: &Path, keep: &impl Keeping, mut looks: mpsc::Receiver<Look>) {
        self.kept.show(self.report.clone());
        let mut asked: Option<oneshot::Sender<Pulled>> = None;
        // At the start the plan is read once more: secrets may have changed.
        let mut anew = true;
        loop {
            let result = self.look(copies, keep, anew);
            if let Some(reply) = asked.take() {
                // Whoever asked may have gone.
                reply.send(result).ok();
            }
            if self.send.is_closed() {
                return;
            }
            let random = RandomState::new().build_hasher().finish();
            let pause = cadence::next(self.git.poll, random);
            let (runtime, kept) = (self.looker.repository.runtime(), self.kept.clone());
            let look = runtime.block_on(async {
                let due = Instant::now() + pause;
                tokio::select! {
                    look = looks.recv() => look,
                    // Everybody who could ask has gone: the daemon stops.
                    () = self.send.closed() => None,
                    () = async {
                        tokio::time::sleep_until(due).await;
                        kept.unpaused().await;
                    } => Some(Look::Due),
                }
            });
            anew = match look {
                None => return,
                Some(Look::Due) => false,
                Some(Look::Now) => true,
                Some(Look::Pull(reply)) => {
                    asked = Some(reply);
                    true
                }
            };
        }
    }

    /// Looks once; `anew` reads the plan and tries what failed again in any case.
    fn look(&mut self, copies: &Path, keep: &impl Keeping, anew: bool) -> Pulled {
        if let Some(until) = self.kept.paused_until(moment::now().wall_ms) {
            return Pulled::Paused(super::kept::wall_text(until));
        }
        self.looker.tell_left_out();
        let record = self.kept.memory().record;
        let mut answered = None;
        let found = self.looker.look(&record, anew, || answered = Some(clock::now()));
        self.report.answered = answered.or(self.report.answered);
        let result = found.and_then(|good| self.take(good, copies, keep, anew));
        self.tell(result.as_ref().err());
        match result {
            Ok(pulled) => pulled,
            Err(Trouble { reason, .. }) => Pulled::Failed(reason),
        }
    }

    /// Accepts a commit, and hands its plan on.
    fn take(
        &mut self,
        good: GoodCommit,
        copies: &Path,
        keep: &impl Keeping,
        anew: bool,
    ) -> Result<Pulled, Trouble> {
        let GoodCommit { tip, taken, signer } = good;
        let at = moment::now().text();
        let kept = self.kept.change(|memory| memory.record = judge::after(&memory.record, &tip, taken, at));
        if let Err(error) = kept {
            return Err(Trouble { refused: Some(tip), reason: error.to_string() });
        }
        let new = taken != Taken::Same;
        if new {
            let (short, branch) = (tip.short(), &self.git.address.branch);
            let by = signer.map(|signer| format!(", signed by {signer}")).unwrap_or_default();
            let way = match taken {
                Taken::Next(count) if count > 1 => format!(" ({count} commits on the way)"),
                Taken::First => " (nothing is known of commits before: it may be an old one)".to_owned(),
                Taken::Permitted => " (an operator has accepted it)".to_owned(),
                Taken::Same | Taken::Next(_) => String::new(),
            };
            if taken == Taken::First {
                warn!(commit = %tip, "source: commit {short} of {branch} is accepted{way}{by}");
            } else {
                info!(commit = %tip, "source: commit {short} of {branch} is accepted{way}{by}");
            }
        }
        if new || anew || !self.delivered {
            let loaded = self.git.read(keep.keep(copies));
            let refused = loaded.as_ref().err().map(ToString::to_string);
            self.delivered = refused.is_none();
            self.send.blocking_send(Box::new(loaded)).ok();
            if let Some(reason) = refused {
                return Ok(Pulled::PlanRefused { commit: tip.to_string(), reason });
            }
        }
        let commit = tip.to_string();
        Ok(if new { Pulled::Taken { commit } } else { Pulled::Nothing { commit } })
    }

    /// Shows how it is, and logs it when that has changed.
    fn tell(&mut self, trouble: Option<&Trouble>) {
        let now = clock::now();
        let before = self.report.trouble.take();
        self.report.trouble = trouble.map(|trouble| match before {
            Some((since, before)) if before == *trouble => (since, before),
            Some(_) | None => (now, trouble.clone()),
        });
        self.kept.show(self.report.clone());
        let place = &self.git.address;
        match self.told.now(trouble.map(|trouble| trouble.reason.clone())) {
            Tell::Nothing => {}
            Tell::Trouble(reason) if trouble.is_some_and(|trouble| trouble.refused.is_some()) => {
                error!(source = %place, "source {place}: refused, and what was taken before stays: {reason}");
            }
            Tell::Trouble(reason) => {
                warn!(source = %place, "source {place}: nothing new comes, and what was taken before stays: \
                    {reason}");
            }
            Tell::Over => info!(source = %place, "source {place}: all is well again"),
        }
    }
}
