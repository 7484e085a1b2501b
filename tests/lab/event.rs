//! The events that daemons log, and the sentence of each: the only place of the tests that knows these
//! sentences. How a line is read by them stands in `line`.

/// Something that a daemon tells in its log. [`SENTENCES`] has the words of each, with its fields.
#[allow(missing_docs, reason = "the sentence of each stands in the table")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogEvent {
    // The process.
    Started,
    Stopped,
    AlreadyRunning,
    InsecureFiles,
    OrdersPutAside,
    // Plans.
    PlanRefused,
    PlanInForce,
    NoPlan,
    Converged,
    LeftToOthers,
    PlanRead,
    PlanTaken,
    // Probation.
    ProbationGoesOn,
    ProbationBegins,
    Confirmed,
    RolledBack,
    // Orders and drains.
    DrainBegins,
    Drained,
    DrainTimeOver,
    MaintenanceWaits,
    // The election. keepalived says the first three in the same words.
    Master,
    Backup,
    Fault,
    WasMaster,
    TrackerFails,
    Held,
    StartupDelay,
    NotReady,
    CannotSend,
    SendsAgain,
    Announced,
    AlsoClaimed,
    VridInUse,
    HookRan,
    // The kernel.
    WeightSet,
    SyncStarted,
    SyncStopped,
    OperationFailed,
    Drift,
    InTheWay,
    NoLongerInTheWay,
    Pass,
    // Checks.
    CheckFailed,
    CheckSucceeded,
    OwnFault,
    OwnFaultOver,
    SilenceBegins,
    SilenceOver,
    ChecksSpoke,
    ConnectionsArrived,
    // The guardian.
    GuardianGone,
    GuardianHung,
    GuardianThere,
    LeaseRefused,
    LeaseRanOut,
    ServicesRemoved,
}

/// The words of an event, as they stand in the sources of the daemon: from its beginning, as far as a test
/// needs them. A `{name}` stands for what the daemon puts in its place, and is a field of the event.
#[derive(Clone, Copy, Debug)]
pub struct Sentence {
    /// The event.
    pub event: LogEvent,
    /// Words before, from the outside to the inside; each has a `{}` at its end for what follows.
    pub before: &'static [&'static str],
    /// The words.
    pub words: &'static str,
    /// Fields that stand behind the sentence, as `name=value`, without which it is not this event.
    pub fields: &'static [&'static str],
}

impl Sentence {
    const fn new(event: LogEvent, words: &'static str) -> Self {
        Self { event, before: &[], words, fields: &[] }
    }

    const fn inside(before: &'static [&'static str], event: LogEvent, words: &'static str) -> Self {
        Self { event, before, words, fields: &[] }
    }

    const fn with(event: LogEvent, words: &'static str, fields: &'static [&'static str]) -> Self {
        Self { event, before: &[], words, fields }
    }
}

/// Words before all that is said of a router.
const ROUTER: &[&str] = &["({router}) {}"];
/// Words before the reason why a router is out of the election.
const NO_PART: &[&str] = &["({router}) {}", "does not take part: {}"];
const REFUSED: &[&str] = &["guardian: refused {}"];

/// All sentences. Where two may fit a line, the first one that does is taken.
#[rustfmt::skip]
pub const SENTENCES: &[Sentence] = &[
    Sentence::new(LogEvent::Started, "evenkeeld {version} started"),
    Sentence::new(LogEvent::Stopped, "stopped; VIPs are released"),
    Sentence::new(LogEvent::AlreadyRunning, "{program} (process {process}) is running already"),
    Sentence::new(LogEvent::InsecureFiles, "--allow-insecure-files: "),
    Sentence::new(LogEvent::OrdersPutAside, "{error}; kept as {file}: what operators told virtual routers"),

    Sentence::new(LogEvent::PlanRefused, "plan refused: {reason}; generation {stays} stays in force"),
    Sentence::with(LogEvent::PlanInForce, "plan is in force", &["generation"]),
    Sentence::new(LogEvent::NoPlan, "there is no plan to obey yet"),
    Sentence::new(LogEvent::Converged, "converged: generation {generation} is in the kernel"),
    Sentence::new(LogEvent::LeftToOthers, "no part in the election, left to other directors"),
    Sentence::new(LogEvent::PlanRead, "read: {plan} in {ms} ms:{times}"),
    Sentence::new(LogEvent::PlanTaken, "taken in {ms} ms"),

    Sentence::new(LogEvent::ProbationGoesOn, "generation {generation} is on probation still"),
    Sentence::new(LogEvent::ProbationBegins, "generation {generation} is on probation until {until}, then"),
    Sentence::new(LogEvent::Confirmed, "generation {generation} is confirmed by {by}"),
    Sentence::new(LogEvent::RolledBack, "generation {generation} is rolled back to {to}: {why}"),
    Sentence::new(LogEvent::RolledBack, "generation {generation} is rolled back: {why}"),

    Sentence::new(LogEvent::DrainBegins, "{destination} in {service} drains: {left}"),
    Sentence::new(LogEvent::Drained, "{destination} in {service} has drained"),
    Sentence::new(LogEvent::DrainTimeOver, "{destination} in {service} has had its time, and goes with {left}"),
    Sentence::new(LogEvent::MaintenanceWaits, "maintenance waits, {routers} is served here still: {reason}; others"),

    Sentence::new(LogEvent::Master, "({router}) Entering MASTER STATE"),
    Sentence::new(LogEvent::Backup, "({router}) Entering BACKUP STATE"),
    Sentence::new(LogEvent::Fault, "({router}) Entering FAULT STATE"),
    Sentence::inside(ROUTER, LogEvent::WasMaster, "Master before the restart"),
    Sentence::inside(ROUTER, LogEvent::TrackerFails, "something that it tracks fails"),
    Sentence::inside(NO_PART, LogEvent::Held, "held by an operator"),
    Sentence::inside(NO_PART, LogEvent::StartupDelay, "waits for its start-up delay"),
    Sentence::inside(ROUTER, LogEvent::NotReady, "is not ready to take over from {master}, which"),
    Sentence::inside(ROUTER, LogEvent::CannotSend, "cannot send an advertisement{to}: {error}"),
    Sentence::inside(ROUTER, LogEvent::SendsAgain, "can send advertisements{to} again"),
    Sentence::new(LogEvent::Announced, "({router}) Sending {what} on {interface} for {vips}"),
    Sentence::inside(ROUTER, LogEvent::AlsoClaimed, "{vip} is also claimed by {mac} on {interface}"),
    Sentence { fields: &["address", "mac"], ..Sentence::inside(ROUTER, LogEvent::VridInUse, "VRID {vrid} in use by ") },
    Sentence::new(LogEvent::HookRan, "hook of {subject} for {state}: {program}: {ended}"),

    Sentence::new(LogEvent::WeightSet, "set weight {weight} (was {before}) of destination {destination} in {service}"),
    Sentence::new(LogEvent::SyncStarted, "start connection synchronisation as {role}"),
    Sentence::new(LogEvent::SyncStopped, "stop connection synchronisation as {role}"),
    Sentence::with(LogEvent::OperationFailed, "cannot {what}: {reason}", &["operation"]),
    Sentence::new(LogEvent::Drift, "drift: {what}"),
    Sentence::new(LogEvent::InTheWay, "in the way: {object}"),
    Sentence::new(LogEvent::NoLongerInTheWay, "no longer in the way: {object}"),
    Sentence::new(LogEvent::Pass, "pass: {what} in {ms} ms:{times}"),

    Sentence::new(LogEvent::CheckFailed, "check of {check} failed: {reason}; destination is taken out"),
    Sentence::new(LogEvent::CheckSucceeded, "check of {check} succeeded: {effect}"),
    Sentence::new(LogEvent::OwnFault, "own fault: nothing behind {link} answers"),
    Sentence::new(LogEvent::OwnFaultOver, "own fault is over: something behind {link} answers again"),
    Sentence::new(LogEvent::SilenceBegins, "checks say nothing of their targets"),
    Sentence::new(LogEvent::SilenceOver, "checks tell of their targets again"),
    Sentence::new(LogEvent::ChecksSpoke, "({router}) its checks have spoken"),
    Sentence::new(LogEvent::ConnectionsArrived, "({router}) the connections of the Master have arrived"),

    Sentence::new(LogEvent::GuardianGone, "the guardian is gone: starting another"),
    Sentence::new(LogEvent::GuardianHung, "the guardian did not answer for most of a second"),
    Sentence::new(LogEvent::GuardianThere, "another guardian is there"),
    Sentence::inside(REFUSED, LogEvent::LeaseRefused, "the lease of {router}: {vip} is not a VIP of the plan"),
    Sentence::new(LogEvent::LeaseRanOut, "guardian: lease of {router} ran out"),
    Sentence::new(LogEvent::ServicesRemoved, "guardian: removed the virtual services that only the Master of {router} has"),
];
