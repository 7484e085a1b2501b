//! Parsing of a plan's text: TOML, JSON Schema, types. No other part of the daemon reads TOML or a schema.
//!
//! For texts that `plain` does not accept: mistakes in them are reported here.
//!
//! Runs in the process `evenkeeld-plan` (see `helper`), since it needs several times the daemon's code and
//! memory, and since the text comes from outside. Virtual servers are parsed one by one: the tree of a whole
//! large plan takes twenty times its text.

use evenkeel_schemas::plan::{Plan, VirtualServer};
use jsonschema::Validator;
use serde_json::{Value, json};

use super::pieces::pieces;
use evenkeel_host::loaded::PlanRefusal as Refusal;

/// Most schema errors that are reported for one plan.
const MAX_SCHEMA_ERRORS: usize = 5;
/// Longest schema error that is reported, characters.
const MAX_ERROR_CHARS: usize = 300;
/// Number of virtual servers from which on they are parsed one by one. For fewer a second validator costs
/// more than it saves.
const MANY: usize = 64;
/// Key of virtual servers.
const SERVERS: &str = "virtual_server";

/// A part of a plan that was parsed.
#[derive(Debug)]
pub(super) enum Part {
    /// The next virtual server.
    Server(Box<VirtualServer>),
    /// All virtual servers so far are void: they come again.
    Anew,
}

/// Parses a text without its seal: hands over each virtual server and returns the plan without them.
///
/// When the text is not TOML, does not follow the schema, or has a value that its type does not have. Virtual
/// servers that were handed over are then void.
pub(super) fn understand(body: &str, mut take: impl FnMut(Part)) -> Result<Plan, Refusal> {
    let schema = evenkeel_schemas::json::plan();
    if let Some(plan) = one_by_one(body, &schema, &mut take)? {
        return Ok(plan);
    }
    // The text is small, or has a mistake, or is written unlike any plan of ours: parsed as a whole, a
    // mistake has its place in the file.
    let mut plan = whole(body, &validator(&schema)?)?;
    take(Part::Anew);
    let servers = std::mem::take(&mut plan.virtual_servers);
    servers.into_iter().for_each(|server| take(Part::Server(Box::new(server))));
    Ok(plan)
}

pub(super) fn whole(body: &str, validator: &Validator) -> Result<Plan, Refusal> {
    let value: Value = toml::from_str(body).map_err(|error: toml::de::Error| {
        Refusal::new(format!("the plan is not valid TOML: {}", error.message()))
    })?;
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .take(MAX_SCHEMA_ERRORS)
        .map(|error| shortened(&format!("{}: {}", error.instance_path(), error.masked())))
        .collect();
    if !errors.is_empty() {
        return Err(Refusal::new(format!("the plan does not follow its schema: {}", errors.join("; "))));
    }
    serde_json::from_value(value)
        .map_err(|error| Refusal::new(format!("the plan cannot be understood: {error}")))
}

/// The whole plan, without another process.
#[cfg(test)]
pub(super) fn here(body: &str) -> Result<Plan, Refusal> {
    let mut servers = Vec::new();
    let plan = understand(body, |part| match part {
        Part::Server(server) => servers.push(*server),
        Part::Anew => servers.clear(),
    })?;
    Ok(Plan { virtual_servers: servers, ..plan })
}

/// The plan without its virtual servers, when all of it is valid and can be taken apart. The schema of a
/// virtual server is the same in the whole and alone, which a test checks.
fn one_by_one(body: &str, schema: &Value, take: &mut impl FnMut(Part)) -> Result<Option<Plan>, Refusal> {
    let Some(pieces) = pieces(body).filter(|pieces| pieces.servers.len() >= MANY) else { return Ok(None) };
    let Ok(rest) = toml::from_str::<Value>(&pieces.rest) else { return Ok(None) };
    if rest.get(SERVERS).is_some() || !validator(schema)?.is_valid(&rest) {
        return Ok(None);
    }
    let Ok(plan) = serde_json::from_value(rest) else { return Ok(None) };
    let of_server = validator(&server_schema(schema))?;
    for piece in pieces.servers {
        match server(piece, &of_server) {
            Some(server) => take(Part::Server(Box::new(server))),
            None => return Ok(None),
        }
    }
    Ok(Some(plan))
}

/// The virtual server of a text that has nothing else.
fn server(piece: &str, validator: &Validator) -> Option<VirtualServer> {
    let mut table: serde_json::Map<String, Value> = toml::from_str(piece).ok()?;
    let Some(Value::Array(mut servers)) = table.remove(SERVERS) else { return None };
    let server = servers.pop()?;
    (table.is_empty() && servers.is_empty() && validator.is_valid(&server))
        .then(|| serde_json::from_value(server).ok())
        .flatten()
}

/// Schema of one virtual server.
fn server_schema(plan: &Value) -> Value {
    json!({ "$schema": plan["$schema"], "$defs": plan["$defs"], "$ref": "#/$defs/VirtualServer" })
}

/// The first [`MAX_ERROR_CHARS`] characters of a text.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_ERROR_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(super) fn validator(schema: &Value) -> Result<Validator, Refusal> {
    let mut options = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .with_pattern_options(jsonschema::PatternOptions::regex());
    for (name, check) in evenkeel_schemas::json::FORMATS {
        options = options.with_format(name, check);
    }
    options
        .build(schema)
        .map_err(|error| Refusal::new(format!("the plan schema of this daemon is broken: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_a_virtual_server_is_the_same_wherever_it_stands() {
        let schema = evenkeel_schemas::json::plan();
        let servers = schema["properties"][SERVERS].as_object().expect("an object");
        assert_eq!(servers["items"], json!({ "$ref": "#/$defs/VirtualServer" }));
        assert_eq!(servers["type"], "array");
        // No rule concerns several of them.
        let known = ["description", "type", "items", "default"];
        assert_eq!(servers.keys().find(|key| !known.contains(&key.as_str())), None);
        assert!(schema["required"].as_array().expect("a list").iter().all(|key| key != SERVERS));
    }
    #[test]
    fn many_virtual_servers_parse_the_same_one_by_one_and_together() {
        let head = "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n[policy]\nresync = \
            \"5s\"\nexclusive_ipvs = false\n";
        let server = |n: usize| {
            format!(
                "[[virtual_server]]\nname = \"s{n}\"\naddress = \"192.0.2.9\"\nport = {}\n\
                 protocol = \"tcp\"\nscheduler = \"wlc\"\none_packet = false\n\
                 [[virtual_server.destination]]\nhost = \"rs\"\naddress = \"192.0.2.7\"\nport = 1\n\
                 weight = 1\nforwarding = \"dr\"\n",
                n + 1
            )
        };
        let body: String = std::iter::once(head.to_owned()).chain((0..MANY).map(server)).collect();
        let schema = evenkeel_schemas::json::plan();
        let mut count = 0;
        let alone = one_by_one(&body, &schema, &mut |_| count += 1).expect("a schema").expect("one by one");
        assert_eq!((alone.virtual_servers.len(), count), (0, MANY));
        let together = whole(&body, &validator(&schema).expect("a schema")).expect("good");
        assert_eq!(here(&body).expect("good"), together);
        let bad = body.replace("port = 7\n", "port = 70000\n");
        let why = here(&bad).expect_err("no port").to_string();
        assert!(why.contains("/virtual_server/6/port"), "{why}");
    }
}
