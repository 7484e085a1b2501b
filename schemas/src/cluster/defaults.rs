//! `[defaults]`: what objects have that do not say it themselves.
//!
//! Any key of the object may be there, so none is required. The compiler puts them into the objects
//! before it reads these.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Check, Service, VirtualRouter, is_default};

/// Settings of virtual routers, services and checks that do not have them themselves. A key that an object
/// has replaces the default as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Keys of every virtual router. Absent: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub virtual_router: Partial<VirtualRouter>,
    /// Keys of every service. Absent: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub service: Partial<Service>,
    /// Keys of the check of every service that has one. Absent: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub check: Partial<Check>,
}

/// Some of the keys of a `T`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partial<T> {
    /// The keys as they are written.
    pub keys: Map<String, Value>,
    #[serde(skip)]
    of: PhantomData<fn() -> T>,
}

impl<T> Default for Partial<T> {
    fn default() -> Self {
        Self { keys: Map::new(), of: PhantomData }
    }
}

impl<T> PartialEq for Partial<T> {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl<T> Eq for Partial<T> {}

impl<T: JsonSchema> JsonSchema for Partial<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Partial{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = T::json_schema(generator);
        schema.remove("required");
        schema
    }
}
