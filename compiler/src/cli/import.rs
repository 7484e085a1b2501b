//! `evenkeel import`: keepalived's configurations become a cluster file.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use evenkeel::import::report::{self, Detail};
use evenkeel::import::{Director, ImportFiles, Outcome, Request, import};
use evenkeel::render;
use evenkeel_schemas::scalars::{Cidr, InterfaceName, Name};

use super::terminal::Shown;
use super::{ImportArguments, ReportFormat, Terminal, disk};

/// First words of every imported cluster file.
const FIRST_WORDS: &str = "# Imported from keepalived by `evenkeel import`";

/// Largest configuration file.
const MAX_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn run(arguments: &ImportArguments, terminal: &Terminal) -> ExitCode {
    match carry(arguments, terminal) {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(error) => {
            terminal.fail(render::plain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Imports, writes and reports.
///
/// # Errors
/// An option that is wrong, a main file that cannot be read, a cluster file that cannot be written.
fn carry(arguments: &ImportArguments, terminal: &Terminal) -> Result<Outcome, String> {
    let request = request(arguments)?;
    let done = import(&request, &Disk).map_err(|error| format!("cannot read {error}"))?;
    let out = arguments.out.as_ref().filter(|_| !done.is_empty());
    if let Some(path) = out {
        write(path, done.cluster.text())?;
    }
    let detail = if arguments.full { Detail::Full } else { Detail::Short };
    let human = || report::human(&request, &done, detail, true);
    match (arguments.format, &arguments.out) {
        (ReportFormat::Json, out) => terminal.say(report::json(&request, &done, out.is_none())),
        (ReportFormat::Human, Some(_)) => terminal.say(human().trim_end()),
        (ReportFormat::Human, None) => terminal.complain(human().trim_end()),
    }
    match (arguments.format, out, &arguments.out) {
        (ReportFormat::Human, Some(path), _) => terminal.say(format_args!("Written: {}", path.shown())),
        (ReportFormat::Human, None, None) if !done.is_empty() => terminal.document(done.cluster.text()),
        _ => {}
    }
    Ok(done.outcome())
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

fn request(arguments: &ImportArguments) -> Result<Request, String> {
    let mut request = Request {
        name: arguments.name.clone(),
        secret_file: arguments.secret_file.clone(),
        script_user: arguments.script_user.clone(),
        checks_as_tcp: arguments.checks_as_tcp,
        keepalived: arguments.keepalived_version,
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
        let (name, interface) = interface_of("--address", name)?;
        let address = address_of("--address", address)?;
        director(&mut request, "--address", name)?.addresses.push((interface, address));
    }
    for given in &arguments.real_server {
        let (name, address) = pair("--real-server", given)?;
        let (name, interface) = interface_of("--real-server", name)?;
        name.parse::<Name>().map_err(|error| format!("--real-server: {error}"))?;
        let address = address_of("--real-server", address)?;
        request.real_servers.push((name.to_owned(), address));
        request.real_interfaces.extend(interface.map(|interface| (address, interface)));
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
    if let Some(user) = request.script_user.as_deref().filter(|user| !is_user(user)) {
        return Err(format!("--script-user: `{user}` can be no user"));
    }
    for given in &arguments.program {
        let (name, path) = pair("--program", given)?;
        if !path.starts_with('/') {
            return Err(format!("--program: `{path}` is no absolute path"));
        }
        request.programs.push((name.to_owned(), path.to_owned()));
    }
    for given in &arguments.subnet {
        request.subnets.push(given.parse::<Cidr>().map_err(|error| format!("--subnet: {error}"))?);
    }
    Ok(request)
}

fn pair<'a>(option: &str, given: &'a str) -> Result<(&'a str, &'a str), String> {
    given.split_once('=').ok_or_else(|| format!("{option} {given}: write NAME=VALUE"))
}

/// `NAME` or `NAME/INTERFACE`.
fn interface_of<'a>(option: &str, name: &'a str) -> Result<(&'a str, Option<String>), String> {
    let Some((name, interface)) = name.split_once('/') else { return Ok((name, None)) };
    interface.parse::<InterfaceName>().map_err(|error| format!("{option}: {error}"))?;
    Ok((name, Some(interface.to_owned())))
}

fn address_of(option: &str, text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{option}: `{text}` is no IP address"))
}

fn director<'a>(request: &'a mut Request, option: &str, name: &str) -> Result<&'a mut Director, String> {
    let found = request.directors.iter_mut().find(|director| director.name == name);
    found.ok_or_else(|| format!("{option}: `{name}` is none of the directors"))
}

/// Whether a text can be the name of a user.
fn is_user(text: &str) -> bool {
    !text.is_empty() && !text.contains(|char: char| char.is_whitespace() || char.is_control() || char == ':')
}

/// Files of this machine: regular ones, since a pipe waits for whoever writes into it and a device never
/// ends.
struct Disk;

impl ImportFiles for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = disk::read(Path::new(path), MAX_BYTES + 1).map_err(|error| match error.kind() {
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
