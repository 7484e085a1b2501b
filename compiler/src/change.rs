//! Plans that are there against plans that are wanted: what changes, why, in which stages, and whom
//! it hurts. One file a question; who shows the answers is `render`, who reads and writes is `cli`.

use std::collections::BTreeMap;
use std::fmt;

use evenkeel_schemas::change::{self as document, Action, Change, HostChange, Summary};
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::seal;

use crate::emit::HostPlan;

mod apply;
mod compare;
mod guard;
mod objects;
mod origin;
pub mod rules;
pub mod saved;
mod stages;
mod warnings;

pub use apply::{apply, normal};
pub use guard::{Override, refusals};
pub use origin::Origins;
pub use stages::{Stage, Step, stages};

/// All plans of a cluster, by host.
pub type Fleet = BTreeMap<Name, HostState>;

/// What a host is told to do, and the secrets that were compiled for it.
#[derive(Clone, PartialEq, Eq)]
pub struct HostState {
    /// The plan.
    pub plan: Plan,
    /// The plan's file, byte for byte.
    pub text: String,
    /// Compiled secrets by name.
    pub secrets: BTreeMap<String, String>,
}

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
    /// From the plan's file and the file of secrets beside it.
    ///
    /// # Errors
    /// When a file was cut off, edited, or written by a version that knows more.
    pub fn read(plan: &[u8], secrets: Option<&str>) -> Result<Self, BadPlan> {
        let (_, body) = seal::open(plan).map_err(|error| BadPlan(error.to_string()))?;
        let parsed: Plan = toml::from_str(body).map_err(|error| {
            BadPlan(format!("this version cannot read it ({}); was a newer one at work?", error.message()))
        })?;
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
        Ok(Self { plan: parsed, text: String::from_utf8_lossy(plan).into_owned(), secrets })
    }

    /// The plan's digest.
    #[must_use]
    pub fn generation(&self) -> &str {
        digest(&self.text)
    }
}

/// The digest in the first line of a sealed text.
fn digest(text: &str) -> &str {
    text.split('"').nth(1).and_then(|digest| digest.strip_prefix("sha256:")).unwrap_or_default()
}

/// What the compiler has made, as something to compare.
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
        let Some(after) = after.get(host) else {
            continue;
        };
        for name in stages::secret_names(&state.plan) {
            if let (false, Some(text)) = (state.secrets.contains_key(&name), after.secrets.get(&name)) {
                state.secrets.insert(name, text.clone());
            }
        }
    }
}

/// A host's files as they are written.
#[must_use]
pub fn host_plan(host: &Name, state: &HostState) -> HostPlan {
    HostPlan {
        host: host.clone(),
        file_name: evenkeel_schemas::plan::file_name(host),
        text: state.text.clone(),
        secrets: crate::emit::secrets_file(&state.plan.cluster, &state.secrets),
    }
}

/// What a kind of object is called.
pub(crate) fn word(kind: &str) -> String {
    match kind {
        "router" => "virtual router".to_owned(),
        "sysctl" => "setting".to_owned(),
        kind => kind.replace('_', " "),
    }
}

/// What is compared, and where it was written.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Name of the cluster.
    pub cluster: &'a Name,
    /// What `before` is, as it was given.
    pub against: &'a str,
    /// The plans that are there.
    pub before: &'a Fleet,
    /// The plans that are wanted.
    pub after: &'a Fleet,
    /// Lines of the cluster file that `before` was compiled from, if it is at hand.
    pub old_origins: Option<&'a Origins<'a>>,
    /// Lines of the cluster file that `after` was compiled from.
    pub new_origins: Option<&'a Origins<'a>>,
    /// `policy.max_change` of the new cluster file.
    pub max_change: Option<u8>,
}

/// Everything there is to say about a change.
#[must_use]
pub fn change(inputs: &Inputs<'_>) -> Change {
    let hosts = compare::hosts(inputs);
    let summary = summary(inputs, &hosts);
    let stages = stages(inputs.before, inputs.after);
    let warnings = warnings::warnings(inputs.before, inputs.after, &stages);
    let refusals = refusals(inputs.before, inputs.after, inputs.max_change);
    Change {
        format: document::FORMAT,
        cluster: inputs.cluster.clone(),
        against: inputs.against.to_owned(),
        summary,
        stages: stages::describe(inputs.before, inputs.after, &stages),
        hosts,
        warnings,
        refusals,
    }
}

fn summary(inputs: &Inputs<'_>, hosts: &[HostChange]) -> Summary {
    let mut summary = Summary {
        hosts_changed: hosts.len() as u64,
        hosts: inputs
            .before
            .keys()
            .chain(inputs.after.keys())
            .collect::<std::collections::BTreeSet<_>>()
            .len() as u64,
        ..Summary::default()
    };
    for object in hosts.iter().flat_map(|host| &host.objects) {
        match object.action {
            Action::Add => summary.add += 1,
            Action::Change => summary.change += 1,
            Action::Remove => summary.remove += 1,
        }
    }
    summary
}
