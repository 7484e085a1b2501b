//! `evenkeel import`: keepalived's configurations become a cluster file.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use evenkeel::import::{Director, Files, Request, import, report};
use evenkeel::render;
use evenkeel_schemas::scalars::{Cidr, InterfaceName, Name};

use super::terminal::Shown;
use super::{Import, ReportFormat, Terminal, disk};

/// How every imported cluster file begins.
const FIRST_WORDS: &str = "# Imported from keepalived by `evenkeel import`";

/// Largest configuration file.
const MAX_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn run(arguments: &Import, terminal: &Terminal) -> bool {
    let request = match request(arguments) {
        Ok(request) => request,
        Err(error) => {
            terminal.fail(render::plain(&error));
            return false;
        }
    };
    let done = match import(&request, &Disk { named: &request.directors }) {
        Ok(done) => done,
        Err(error) => {
            terminal.fail(format_args!("cannot read {}", render::plain(&error)));
            return false;
        }
    };
    if let Some(path) = &arguments.out
        && let Err(error) = write(path, done.cluster.text())
    {
        terminal.fail(error);
        return false;
    }
    match (arguments.format, &arguments.out) {
        (ReportFormat::Json, out) => terminal.say(report::json(&request, &done, out.is_none())),
        (ReportFormat::Human, Some(path)) => {
            terminal.say(report::human(&request, &done, true).trim_end());
            terminal.say(format_args!("Written: {}", path.shown()));
        }
        (ReportFormat::Human, None) => {
            terminal.complain(report::human(&request, &done, true).trim_end());
            terminal.document(done.cluster.text());
        }
    }
    done.compilation.cluster.is_some()
}

/// Replaces the file whole. One that was not written by an import is somebody's work and stays.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let told = |error: io::Error| format!("cannot write {}: {error}", path.shown());
    match disk::read(path, FIRST_WORDS.len()) {
        Ok(old) if !old.starts_with(FIRST_WORDS.as_bytes()) => {
            return Err(format!(
                "{} was not written by `evenkeel import`; name another file, or remove it",
                path.shown()
            ));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(told(error)),
    }
    // It may hold the passwords of what was imported.
    disk::replace(path, text.as_bytes(), disk::PRIVATE).map_err(told)
}

fn request(arguments: &Import) -> Result<Request, String> {
    let mut request = Request {
        name: arguments.name.clone(),
        secret_file: arguments.secret_file.clone(),
        output: arguments
            .out
            .as_ref()
            .map_or_else(|| "cluster.toml".to_owned(), |path| path.display().to_string()),
        ..Request::default()
    };
    request.name.parse::<Name>().map_err(|error| format!("--name: {error}"))?;
    for (number, director) in arguments.directors.iter().enumerate() {
        let (name, path) = match director.split_once('=') {
            Some((name, path)) => (name.to_owned(), path.to_owned()),
            None => (format!("dir{}", number + 1), director.clone()),
        };
        name.parse::<Name>().map_err(|error| format!("{director}: {error}"))?;
        if request.directors.iter().any(|other| other.name == name) {
            return Err(format!("the director {name} is named twice"));
        }
        request.directors.push(Director { id: name.clone(), name, path, addresses: Vec::new() });
    }
    for given in &arguments.id {
        let (name, id) = pair("--id", given)?;
        director(&mut request, "--id", name)?.id = id.to_owned();
    }
    for given in &arguments.address {
        let (name, address) = pair("--address", given)?;
        let (name, interface) = match name.split_once('/') {
            Some((name, interface)) => {
                interface.parse::<InterfaceName>().map_err(|error| format!("--address: {error}"))?;
                (name, Some(interface.to_owned()))
            }
            None => (name, None),
        };
        let address = address_of("--address", address)?;
        director(&mut request, "--address", name)?.addresses.push((interface, address));
    }
    for given in &arguments.real_server {
        let (name, address) = pair("--real-server", given)?;
        name.parse::<Name>().map_err(|error| format!("--real-server: {error}"))?;
        request.real_servers.push((name.to_owned(), address_of("--real-server", address)?));
    }
    for given in &arguments.service {
        let (name, at) = pair("--service", given)?;
        name.parse::<Name>().map_err(|error| format!("--service: {error}"))?;
        let (address, port) =
            at.rsplit_once(':').ok_or_else(|| format!("--service {given}: NAME=VIP:PORT"))?;
        let address = address_of("--service", address.trim_matches(['[', ']']))?;
        let port = port.parse().map_err(|_| format!("--service {given}: `{port}` is no port"))?;
        request.services.push((name.to_owned(), address, port));
    }
    for given in &arguments.subnet {
        request.subnets.push(given.parse::<Cidr>().map_err(|error| format!("--subnet: {error}"))?);
    }
    Ok(request)
}

fn pair<'a>(option: &str, given: &'a str) -> Result<(&'a str, &'a str), String> {
    given.split_once('=').ok_or_else(|| format!("{option} {given}: write NAME=VALUE"))
}

fn address_of(option: &str, text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{option}: `{text}` is no IP address"))
}

fn director<'a>(request: &'a mut Request, option: &str, name: &str) -> Result<&'a mut Director, String> {
    let found = request.directors.iter_mut().find(|director| director.name == name);
    found.ok_or_else(|| format!("{option}: `{name}` is none of the directors"))
}

/// Files of this machine. Those that the command line names may be pipes.
struct Disk<'a> {
    named: &'a [Director],
}

impl Disk<'_> {
    fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let named = self.named.iter().any(|director| director.path == path);
        let read = if named { disk::read_argument } else { disk::read };
        read(Path::new(path), MAX_BYTES + 1)
    }
}

impl Files for Disk<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = self.bytes(path).map_err(|error| match error.kind() {
            io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
            _ => error.to_string(),
        })?;
        if bytes.len() > MAX_BYTES {
            return Err(format!("more than {} MiB", MAX_BYTES / 1024 / 1024));
        }
        Ok(bytes)
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        if Path::new(pattern).is_file() {
            return Ok(vec![pattern.to_owned()]);
        }
        let paths = glob::glob(pattern).map_err(|error| error.to_string())?;
        // What cannot be listed is told when it is read.
        Ok(paths
            .filter_map(Result::ok)
            .filter(|path| path.is_file())
            .map(|path| path.display().to_string())
            .collect())
    }
}
