//! Plans that are there against plans that are wanted: what changes, why, in which stages, and whom
//! it hurts. One file a question; who shows the answers is `render`, who reads and writes is `cli`.
//!
//! A [`Comparison`] refers to the plans. What is said of a single object is made when it is written, one
//! after the other: a change of a large cluster is many times the size of its plans.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use evenkeel_schemas::change::{self as document, Action, Change, ChangeSummary, Refusal};
use evenkeel_schemas::plain;
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::seal;

use crate::emit::HostPlan;
use crate::resolve::Resolved;

mod apply;
mod checks;
mod compare;
mod document_of;
mod fields;
mod groups;
mod guard;
mod implied;
mod objects;
mod origin;
mod places;
pub mod rules;
pub mod saved;
mod stages;
mod warnings;

pub use apply::{apply, normal};
pub(crate) use compare::{Delta, HostDelta};
pub use document_of::PlanDocument;
pub(crate) use fields::{FieldTeller, ToldField};
pub(crate) use groups::{HostBlock, blocks, names};
pub use guard::{Guards, Override, refusals};
pub(crate) use implied::is_implied;
pub use places::Origins;
pub(crate) use stages::does;
pub use stages::{HostStep, Stage, Take, stages};
pub(crate) use warnings::Warned;

/// All plans of a cluster, by host.
pub type Fleet = BTreeMap<Name, HostState>;

/// Plan of a host, and the secrets that were compiled for it.
#[derive(Clone)]
pub struct HostState {
    /// The plan.
    pub plan: Plan,
    /// The plan's file, byte for byte; none when that is what this version writes of the plan.
    text: Option<String>,
    /// Compiled secrets by name.
    pub secrets: BTreeMap<String, String>,
}

/// Byte for byte.
impl PartialEq for HostState {
    fn eq(&self, other: &Self) -> bool {
        self.is_like(other) && (self.text == other.text || self.text() == other.text())
    }
}

impl Eq for HostState {}

impl fmt::Debug for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets: Vec<_> = self.secrets.keys().collect();
        f.debug_struct("HostState").field("plan", &self.plan).field("secrets", &secrets).finish()
    }
}

/// Why a file is no plan that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPlan(String);

impl fmt::Display for BadPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadPlan {}

impl HostState {
    /// A plan of this version.
    pub(crate) const fn new(plan: Plan, secrets: BTreeMap<String, String>) -> Self {
        Self { plan, text: None, secrets }
    }

    /// From the plan's file and the file of secrets beside it.
    ///
    /// # Errors
    /// When a file was cut off, edited, or written by a version that knows more.
    pub fn read(plan: &[u8], secrets: Option<&str>) -> Result<Self, BadPlan> {
        let (_, body) = seal::open(plan).map_err(|error| BadPlan(error.to_string()))?;
        let parsed = match plain::plan(body) {
            Some(plan) => plan,
            None => toml::from_str(body).map_err(|error| {
                BadPlan(format!(
                    "this version cannot read it ({}); was a newer one at work?",
                    error.message()
                ))
            })?,
        };
        if parsed.format != evenkeel_schemas::plan::FORMAT {
            return Err(BadPlan(format!(
                "its format is {}, which this version does not know",
                parsed.format
            )));
        }
        let secrets = match secrets {
            None => BTreeMap::new(),
            // The parser's message would show the line.
            Some(text) => toml::from_str(text)
                .map_err(|_| BadPlan("the file of secrets beside it is not valid TOML".to_owned()))?,
        };
        // Sealed, so it is text.
        let text = Some(String::from_utf8_lossy(plan).into_owned());
        Ok(Self { plan: parsed, text, secrets })
    }

    /// Whether the host does the same by both, whatever bytes say so.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.secrets == other.secrets && self.plan == other.plan
    }

    /// Forgets the bytes of the file, for who only compares plans: of a large cluster they are most of the
    /// memory.
    #[must_use]
    pub fn without_text(mut self) -> Self {
        self.text = None;
        self
    }

    /// The plan alone.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        self.secrets.clear();
        self
    }

    /// The plan's file, byte for byte.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        self.text.as_deref().map_or_else(|| Cow::Owned(crate::emit::write(&self.plan)), Cow::Borrowed)
    }

    /// The plan's digest.
    #[must_use]
    pub fn generation(&self) -> String {
        digest(&self.text()).to_owned()
    }
}

/// The digest in the first line of a sealed text.
fn digest(text: &str) -> &str {
    text.split('"').nth(1).and_then(|digest| digest.strip_prefix("sha256:")).unwrap_or_default()
}

/// Plans and secrets of a cluster, to be compared.
#[must_use]
pub fn compiled(cluster: &Resolved) -> Fleet {
    let state = |made: crate::emit::Made| (made.plan.host.clone(), HostState::new(made.plan, made.secrets));
    crate::emit::make(cluster, state).into_iter().collect()
}

/// Files that the compiler has written, as something to compare.
///
/// # Errors
/// Never for plans of this compiler; a test holds that up.
pub fn fleet(plans: &[HostPlan]) -> Result<Fleet, BadPlan> {
    let read = |plan: &HostPlan| {
        let state = HostState::read(plan.text.as_bytes(), plan.secrets.as_deref())?;
        Ok((plan.host.clone(), state))
    };
    plans.iter().map(read).collect()
}

/// Takes secrets that `before` names and does not have for those of `after`: who delivers plans
/// without their secrets has them elsewhere, and a change of them cannot be seen.
pub fn assume_secrets(before: &mut Fleet, after: &Fleet) {
    for (host, state) in before {
        if let Some(after) = after.get(host) {
            assume_secrets_of(state, after);
        }
    }
}

/// The same for one host.
pub fn assume_secrets_of(before: &mut HostState, after: &HostState) {
    for name in stages::secret_names(&before.plan) {
        if let (false, Some(text)) = (before.secrets.contains_key(&name), after.secrets.get(&name)) {
            before.secrets.insert(name, text.clone());
        }
    }
}

/// A host's files as they are written.
#[must_use]
pub fn host_plan(host: &Name, state: &HostState) -> HostPlan {
    HostPlan {
        host: host.clone(),
        file_name: evenkeel_schemas::plan::file_name(host),
        text: state.text().into_owned(),
        secrets: crate::emit::secrets_file(&state.plan.cluster, &state.secrets),
    }
}

/// Name of a kind of object for people.
pub(crate) fn word(kind: &str) -> Cow<'_, str> {
    match kind {
        "router" => "virtual router".into(),
        "sysctl" => "setting".into(),
        kind if kind.contains('_') => kind.replace('_', " ").into(),
        kind => kind.into(),
    }
}

/// Fleets that are compared, and the places of their objects.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Name of the cluster.
    pub cluster: &'a Name,
    /// Name of `before`, as given.
    pub against: &'a str,
    /// The plans that are there.
    pub before: &'a Fleet,
    /// The plans that are wanted.
    pub after: &'a Fleet,
    /// Lines of the cluster file that `before` was compiled from, if it is at hand.
    pub old_origins: Option<&'a Origins>,
    /// Lines of the cluster file that `after` was compiled from.
    pub new_origins: Option<&'a Origins>,
    /// `policy.max_change` of the new cluster file.
    pub max_change: Option<u8>,
}

/// Everything there is to say about a change.
pub struct Comparison<'a> {
    pub(crate) inputs: Inputs<'a>,
    /// Hosts that differ, by name.
    pub(crate) hosts: Vec<HostDelta<'a>>,
    pub(crate) summary: ChangeSummary,
    /// The way from one to the other.
    way: Vec<Stage>,
    pub(crate) stages: Vec<document::Stage>,
    pub(crate) warnings: Vec<Warned>,
    pub(crate) refusals: Vec<Refusal>,
    causes: origin::Causes<'a>,
}

impl<'a> Comparison<'a> {
    /// Compares.
    #[must_use]
    pub fn new(inputs: &Inputs<'a>) -> Self {
        let hosts = compare::hosts(inputs);
        let way = stages(inputs.before, inputs.after);
        Self {
            inputs: *inputs,
            summary: summary(inputs, &hosts),
            stages: stages::describe(inputs, &way, &hosts),
            warnings: warnings::warnings(inputs.before, inputs.after, &way),
            refusals: guard::of_deltas(inputs.before, inputs.after, &hosts, inputs.max_change),
            hosts,
            way,
            causes: origin::Causes::new(inputs),
        }
    }

    /// Numbers of changes.
    #[must_use]
    pub const fn summary(&self) -> &ChangeSummary {
        &self.summary
    }

    /// The stages from one to the other.
    #[must_use]
    pub fn way(&self) -> &[Stage] {
        &self.way
    }

    /// The line that an object of a host comes from.
    pub(crate) fn origin(&self, host: &'a Name, delta: &Delta<'a>) -> Option<document::Origin> {
        self.causes.of_object(host.as_str(), delta)
    }

    /// The line that a field of it comes from, when that is not the object's.
    pub(crate) fn origin_of_field(
        &self,
        host: &'a Name,
        delta: &Delta<'a>,
        field: &str,
        object: Option<&document::Origin>,
    ) -> Option<document::Origin> {
        self.causes.of_field(host.as_str(), delta, field, object)
    }
}

/// The same as one document.
#[must_use]
pub fn change(inputs: &Inputs<'_>) -> Change {
    Comparison::new(inputs).document()
}

fn summary(inputs: &Inputs<'_>, hosts: &[HostDelta<'_>]) -> ChangeSummary {
    let mut summary = ChangeSummary {
        hosts_changed: hosts.len() as u64,
        hosts: compare::names(inputs.before, inputs.after).len() as u64,
        ..ChangeSummary::default()
    };
    for delta in hosts.iter().flat_map(|host| &host.deltas) {
        match delta.action() {
            Action::Add => summary.add += 1,
            Action::Change => summary.change += 1,
            Action::Remove => summary.remove += 1,
        }
    }
    summary
}
