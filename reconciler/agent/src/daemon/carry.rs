//! Inputs to the head, and its outputs to those that carry them out.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel_host::io::Means;
use evenkeel_host::pass::PassReport;
use evenkeel_host::{Input, Output, Process};
use evenkeel_kernel::clock;
use evenkeel_schemas::status::{StateDirectoryStatus, WaitingFile};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::errands::StatusAsked;
use super::{Daemon, log, pulling, recall};
use crate::api::asks::Ask;
use crate::api::usage::UsageQuestion;
use crate::election::ElectionCommand;
use crate::state::disk::Waiting;
use crate::system::files::Trust;
use crate::system::{logging, memory, moment, times};

/// Time from a plan's convergence until memory used while adopting it is returned to the system. By then the
/// election has its routers as well.
const MEMORY_PAUSE: Duration = Duration::from_secs(5);

impl Daemon {
    /// Hands the head an input and carries out all outputs.
    pub(super) fn handle(&mut self, input: Input) {
        let is_plan = matches!(input, Input::Plan(_));
        let began = clock::now();
        self.host.handle(input, &moment::now());
        self.carry_all();
        if is_plan {
            debug!("taken in {:.1} ms", times::milliseconds(clock::now().since(began)));
        }
    }

    /// Carries out all outputs of the head.
    pub(super) fn carry_all(&mut self) {
        let mut answers = VecDeque::new();
        loop {
            while let Some(output) = self.host.poll_output() {
                answers.extend(self.carry(output));
            }
            // An answer that is known at once is an input like any other: handled after all outputs of the
            // one before.
            let Some(answer) = answers.pop_front() else { return };
            self.host.handle(answer, &moment::now());
        }
    }

    /// Carries out one output. Returns the input that answers it, if the answer is known at once.
    fn carry(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Persist(id, content, urgency) => return self.persisting.persist(id, content, urgency),
            Output::Withdraw(id) => self.persisting.withdraw(id),
            Output::ReadLastGood { begins: true } => {
                let kept = self.persisting.state().last_good(&self.options.host);
                return Some(Input::LastGood(kept.map(std::sync::Arc::new)));
            }
            Output::ReadLastGood { begins: false } => {
                self.errands.read_last_good(self.persisting.state().clone(), self.options.host.clone());
            }
            Output::Recall(loaded) => {
                let orders = self.host.drain_orders();
                let host = &self.options.host;
                let known = recall::left_behind(&loaded.plan, &self.persisting, orders, host);
                return Some(Input::Recalled(known));
            }
            Output::Configure(setups) => self.election.send(ElectionCommand::Configure(setups)),
            Output::StartElection => self.election.send(ElectionCommand::Start),
            Output::Trackers(all) => self.election.send(ElectionCommand::Trackers(all)),
            Output::Unserved(routers) => self.election.send(ElectionCommand::Unserved(routers)),
            Output::Withdrawn(routers) => self.election.send(ElectionCommand::Withdrawn(routers)),
            Output::GiveWay(routers) => self.election.send(ElectionCommand::GiveWay(routers)),
            Output::Waiting(routers) => self.election.send(ElectionCommand::Waiting(routers)),
            Output::Orders(orders) => self.election.send(ElectionCommand::Orders(orders)),
            Output::Offer(question) => self.errands.offer(question, &self.election),
            Output::AskElection(ask) => self.errands.ask_election(ask, &self.election),
            Output::Want(wanted, kinds) => self.converger.mailbox().want(wanted, &kinds),
            Output::Adjust(adjusted) => self.converger.mailbox().adjust(adjusted),
            Output::Checks(checks) => self.health.configure(checks),
            Output::WatchTrackers(trackers) => self.trackers.configure(trackers),
            Output::RunHooks(subject, change) => self.hooks.run(subject, change),
            Output::LookInTheWay(plan) => self.errands.look_in_the_way(plan, self.health.lookout()),
            Output::CountReceived => self.errands.count_received(),
            Output::Reply(id, reply) => self.errands.reply(id, reply),
            Output::Overloaded(id) => self.errands.overloaded(id),
            Output::Converged => drop(tokio::spawn(async {
                sleep(MEMORY_PAUSE).await;
                tokio::task::spawn_blocking(memory::release).await.ok();
            })),
            Output::Log(event) => log::write(&event, &self.options),
        }
        None
    }

    /// Handles a pass over the kernel.
    pub(super) fn handle_pass(&mut self, report: PassReport) {
        // Reading the means costs a look at every module, so it is done only when an object is lacking, or
        // was.
        let lacks = self.host.lacks() || !report.lacking.is_empty();
        let means = if lacks {
            Means {
                modules: evenkeel_kernel::loaded_for_ipvs(),
                without_disk: report.pass.unnamed || self.persisting.names_nothing(),
            }
        } else {
            Means::default()
        };
        self.handle(Input::Pass(Box::new(report), means));
    }

    /// Handles a request from the socket.
    pub(super) fn handle_ask(&mut self, ask: Ask) {
        let (id, request) = match ask {
            Ask::Status(usage, reply) => {
                return self.errands.ask_status(usage, reply, &self.election, &self.health);
            }
            Ask::Source(request, reply) => {
                return drop(tokio::spawn(pulling::answer(
                    request,
                    reply,
                    self.kept.clone(),
                    self.look.clone(),
                )));
            }
            Ask::Order(request, reply) => self.errands.order(request, reply),
            Ask::Drain(request, reply) => self.errands.drain(request, reply),
            Ask::Probation(request, reply) => self.errands.probation(request, reply),
        };
        self.handle(Input::Request(id, request));
    }

    /// Completes the status document with the answer of the election, and sends it.
    pub(super) fn answer_status(&self, asked: StatusAsked) {
        let StatusAsked { usage, reply, election, checks } = asked;
        let mut status = self.host.status(election, &checks, self.process(), &moment::now());
        let question = UsageQuestion { usage, ..UsageQuestion::from(self.host.questions()) };
        if question.is_empty(&status) {
            return drop(reply.send(status));
        }
        tokio::task::spawn_blocking(move || {
            if let Err(error) = question.answer(&mut status) {
                warn!("status is without connections: {error}");
            }
            reply.send(status).ok();
        });
    }

    fn process(&self) -> Process {
        let wall = |then| moment::now().wall(then);
        let waiting = self.persisting.waiting().into_iter().map(|Waiting { file, since, reason }| {
            WaitingFile { file: file.to_string(), since: wall(since), reason }
        });
        Process {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            plan: self.options.source.place(),
            source: self.kept.status(self.options.source.place(), &moment::now()),
            insecure_files: self.options.trust == Trust::Anybody,
            state_directory: StateDirectoryStatus {
                path: self.options.state_dir.display().to_string(),
                waiting: waiting.collect(),
            },
            log: logging::status(),
        }
    }
}
