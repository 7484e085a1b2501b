//! A plan as it was read: its content, secrets and text; or its refusal.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use evenkeel_schemas::plan::{Plan, SecretReference};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::seal::Generation;
use evenkeel_vrrp::{HmacKey, Secret};

/// The text of a plan as its reader holds it: in memory, or in a file. Nothing here looks into it; it comes
/// back with the order to keep the plan.
#[derive(Clone)]
pub struct PlanText(Arc<dyn Any + Send + Sync>);

impl PlanText {
    /// Wraps the reader's text.
    #[must_use]
    pub fn new(text: impl Any + Send + Sync) -> Self {
        Self(Arc::new(text))
    }

    /// The text that the reader put in; none when it was of another type.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

/// Secret of a router. Its `Debug` does not show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouterSecret {
    /// Password of VRRP version 2.
    Password(Secret),
    /// Keys of HMAC by number.
    Keys(BTreeMap<u8, HmacKey>),
}

/// A plan that may be put in force. Its `Debug` shows the generation only, because a plan holds secrets.
#[derive(Clone)]
pub struct LoadedPlan {
    /// Identity of the plan.
    pub generation: Generation,
    /// Content of the plan.
    pub plan: Plan,
    /// Secrets by router name.
    pub secrets: BTreeMap<Name, RouterSecret>,
    /// Text that the plan was read from, to keep as the last good plan.
    pub text: PlanText,
}

impl LoadedPlan {
    /// Files of secrets that the plan names.
    #[must_use]
    pub fn secret_files(&self) -> Vec<PathBuf> {
        let auths = self.plan.routers.iter().filter_map(|router| router.auth.as_ref());
        auths
            .flat_map(|auth| auth.secrets())
            .filter_map(|secret| match secret {
                SecretReference::File(path) => Some(PathBuf::from(path)),
                SecretReference::Compiled(_) | SecretReference::Credential(_) => None,
            })
            .collect()
    }
}

impl fmt::Debug for LoadedPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadedPlan({})", self.generation.short())
    }
}

/// Reason why a plan is not put in force: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRefusal(String);

impl PlanRefusal {
    /// A refusal with a reason that people read.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for PlanRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanRefusal {}
