//! Import: configurations of keepalived's directors in, one cluster file out, and what became of each thing.
//!
//! ```text
//! files -> expand -> tree -> read -> model, one a director
//!                                      \-> merge -> write -> cluster.toml -> the compiler
//! ```
//! Pure: files come through the trait [`Files`]. keepalived's words stand in `keywords` and `read`, ours in `merge`
//! and `write`; nothing else knows either language.

mod expand;
pub mod keywords;
mod merge;
mod model;
mod notes;
mod read;
pub mod report;
mod sequence;
mod source;
mod tree;
mod words;
mod write;

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_schemas::scalars::Cidr;

pub use notes::{Fate, Finding, Item};
use notes::{Notes, Owner};
pub use source::{Files, FilesInMemory, Source, Spot};

use crate::source::SourceFile;
use crate::{Compilation, compile};

/// What is to be imported.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Name of the cluster.
    pub name: String,
    /// The directors.
    pub directors: Vec<Director>,
    /// Names of real servers.
    pub real_servers: Vec<(String, IpAddr)>,
    /// Names of services, by VIP and port.
    pub services: Vec<(String, IpAddr, u16)>,
    /// Networks, where the configurations do not say how large they are.
    pub subnets: Vec<Cidr>,
    /// File on the directors that has the VRRP password; without it the password is written down.
    pub secret_file: Option<String>,
    /// What the cluster file is called in messages.
    pub output: String,
}

/// A director and its configuration.
#[derive(Debug, Clone, Default)]
pub struct Director {
    /// Its name in the cluster file.
    pub name: String,
    /// Its main configuration file.
    pub path: String,
    /// What its conditional lines are compared with.
    pub id: String,
    /// Addresses of it that no configuration says, with their interface; without one the main interface.
    pub addresses: Vec<(Option<String>, IpAddr)>,
}

/// What came of it.
#[derive(Debug)]
pub struct Import {
    /// The cluster file.
    pub cluster: SourceFile,
    /// What the compiler says of it.
    pub compilation: Compilation,
    /// What became of each thing, the most urgent first.
    pub items: Vec<Item>,
    /// What is wrong in the input.
    pub findings: Vec<Finding>,
    /// The files that were read.
    pub sources: Vec<Source>,
}

/// Imports the directors' configurations.
///
/// # Errors
/// Why a director's main file cannot be read, with its path.
pub fn import(request: &Request, files: &dyn Files) -> Result<Import, String> {
    let mut notes = Notes::default();
    let mut sources = Vec::new();
    let mut configs = Vec::new();
    for (number, director) in request.directors.iter().enumerate() {
        let whose = expand::Whose { director: number, id: &director.id };
        let lines = expand::expand(files, &director.path, whose, &mut sources, &mut notes)
            .map_err(|error| format!("{}: {error}", director.path))?;
        let statements = tree::statements(&lines, &mut notes);
        configs.push(read::read(number, &statements, &mut notes));
    }
    let merged = merge::merge(request, &configs, &mut notes);
    let text = write::write(&head(request), &merged.cluster, &merged.comments);
    let cluster = SourceFile::new(&request.output, text);
    let compilation = compile(&cluster);
    let items = finish(request, &sources, notes.items, &merged.names);
    Ok(Import { cluster, compilation, items, findings: notes.findings, sources })
}

fn head(request: &Request) -> String {
    let from: Vec<String> =
        request.directors.iter().map(|director| format!("{} = {}", director.name, director.path)).collect();
    let from = from.join(", ").replace(char::is_control, " ");
    format!("Imported from keepalived by `evenkeel import`: {from}.")
}

/// Places in the cluster file get their names; things that are said alike become one.
fn finish(
    request: &Request,
    sources: &[Source],
    items: Vec<(Owner, Item)>,
    names: &BTreeMap<Owner, String>,
) -> Vec<Item> {
    let mut all: Vec<Item> = Vec::new();
    let mut seen: BTreeMap<(Fate, String, Option<String>, Option<String>), usize> = BTreeMap::new();
    for (owner, mut item) in items {
        let section = match owner {
            Owner::Cluster => "",
            Owner::Router(..) => "virtual_routers",
            Owner::Group(..) => "sync_groups",
            Owner::Tracker(..) => "trackers",
            Owner::Service(..) => "services",
        };
        let name = names.get(&owner);
        let gone = owner != Owner::Cluster && name.is_none();
        if gone && item.fate != Fate::NotCarried && item.fate != Fate::Decide {
            item.fate = Fate::NotCarried;
            item.why = Some("its block is not carried".to_owned());
            item.ours = None;
        }
        let director =
            item.spots.first().and_then(|spot| sources.get(spot.file)).map(|source| source.director);
        item.ours = item.ours.take().map(|key| match (key.as_str(), name) {
            (key, _) if key.starts_with("hosts.") => {
                let host = director.map_or("*", |director| request.directors[director].name.as_str());
                key.replace('*', host)
            }
            (key, None) => key.to_owned(),
            (key, _) if key.contains('*') => key.to_owned(),
            // A file that only checks read is in the checks.
            (_, Some(name)) if name.is_empty() => "services.*.check.file".to_owned(),
            ("", Some(name)) => format!("{section}.{name}"),
            (key, Some(name)) => format!("{section}.{name}.{key}"),
        });
        let key = (item.fate, item.what.clone(), item.ours.clone(), item.why.clone());
        match seen.get(&key).and_then(|at| all.get_mut(*at)) {
            Some(same) => {
                for spot in item.spots {
                    if !same.spots.contains(&spot) {
                        same.spots.push(spot);
                    }
                }
            }
            None => {
                seen.insert(key, all.len());
                all.push(item);
            }
        }
    }
    all.sort_by_key(|item| (item.fate, item.spots.is_empty(), item.spots.first().copied()));
    all
}
