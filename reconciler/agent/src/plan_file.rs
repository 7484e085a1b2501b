//! Reading a plan: bytes to a plan that may be put in force, or the reason why not.
//!
//! Order of the checks: size, seal, TOML, JSON Schema, types, whose plan it is, contradictions, its secrets. A plan as the compiler
//! wrote it is read by `plain` in one go. Of any other text TOML and JSON Schema are another process's work: `helper` asks it,
//! `understand` is what it does. Nothing here changes anything.

mod contradictions;
mod helper;
mod pieces;
#[cfg(test)]
mod plain_tests;
mod understand;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use evenkeel_kernel::clock;
use evenkeel_schemas::plain;
use evenkeel_schemas::plan::{self, Auth, Plan, SecretReference};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::seal::{self, Generation};
use evenkeel_vrrp::Secret;
use tracing::debug;

use crate::scheduling;
use crate::times::{self, Times};

pub use helper::main;

// Unit tests have no other process.
#[cfg(not(test))]
use helper::ask;
#[cfg(test)]
use understand::here as ask;

/// Longest password of VRRP version 2, bytes (RFC 2338 §5.3.10).
const PASS_MAX: usize = 8;
/// Largest secrets file or secret file, bytes.
const MAX_SECRET_FILE: u64 = 1024 * 1024;

/// A plan that may be put in force. Its `Debug` shows which, not what: it holds secrets.
#[derive(Clone)]
pub(crate) struct LoadedPlan {
    /// Its identity.
    pub(crate) generation: Generation,
    /// What it says.
    pub(crate) plan: Plan,
    /// Router passwords by router name.
    pub(crate) secrets: BTreeMap<Name, Secret>,
    /// The bytes it was read from, to keep as the last good plan.
    pub(crate) bytes: Vec<u8>,
}

impl LoadedPlan {
    /// The files of secrets that the plan names.
    pub(crate) fn secret_files(&self) -> Vec<PathBuf> {
        let secrets = self.plan.routers.iter().filter_map(|router| router.auth.as_ref());
        secrets
            .filter_map(|Auth::Pass { secret }| match secret {
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

/// Why a plan is not put in force: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(String);

impl Refusal {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The plan file that `--plan` means: the file itself, or the host's file in a directory.
pub(crate) fn plan_path(path: &Path, host: &Name) -> PathBuf {
    if path.is_dir() { path.join(plan::file_name(host)) } else { path.to_owned() }
}

/// Reads the plan at `path` (a file) for `host`, with its secrets.
///
/// # Errors
/// A [`Refusal`] for everything that is wrong with it; never a panic.
pub(crate) fn load(path: &Path, host: &Name) -> Result<LoadedPlan, Refusal> {
    let started = clock::now();
    let mut times = Times::new(started);
    let bytes = read_bounded(path, seal::MAX_BYTES as u64)
        .map_err(|error| Refusal::new(format!("cannot read {}: {}", path.display(), io_words(&error))))?;
    let secrets_path = path.with_file_name(plan::secrets_file_name(host));
    let secrets_bytes = match read_bounded(&secrets_path, MAX_SECRET_FILE) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            let words = io_words(&error);
            return Err(Refusal::new(format!("cannot read {}: {words}", secrets_path.display())));
        }
    };
    times.note("file");
    let loaded = check(bytes, secrets_bytes.as_deref(), host, &mut times)?;
    times.note("check");
    let took = times::milliseconds(clock::now().since(started));
    debug!("read: {} bytes in {took:.1} ms:{times}", loaded.bytes.len());
    Ok(loaded)
}

/// [`load`] in a thread that gives way to all others: clients of other programs on this host do not wait for a daemon that starts.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_aside(path: &Path, host: &Name) -> Result<LoadedPlan, Refusal> {
    let aside = || {
        scheduling::give_way();
        load(path, host)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("plan".to_owned()).spawn_scoped(scope, aside);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_)) => Err(Refusal::new("reading the plan ended with a panic")),
            Err(error) => Err(Refusal::new(format!("the plan cannot be read: {error}"))),
        }
    })
}

/// Checks the bytes of a plan and of the secrets file beside it.
///
/// # Errors
/// As [`load`].
fn check(
    bytes: Vec<u8>,
    secrets_bytes: Option<&[u8]>,
    host: &Name,
    times: &mut Times,
) -> Result<LoadedPlan, Refusal> {
    let (generation, plan) = opened(&bytes, host, times)?;
    let secrets = secrets(&plan, secrets_bytes)?;
    Ok(LoadedPlan { generation, plan, secrets, bytes })
}

/// Checks the bytes of a plan whose secrets were kept with it.
///
/// # Errors
/// As [`load`].
pub(crate) fn check_kept(
    bytes: Vec<u8>,
    secrets: BTreeMap<Name, Secret>,
    host: &Name,
) -> Result<LoadedPlan, Refusal> {
    let (generation, plan) = opened(&bytes, host, &mut Times::new(clock::now()))?;
    let lacking = plan.routers.iter().find(|r| r.auth.is_some() && !secrets.contains_key(&r.name));
    if let Some(router) = lacking {
        return Err(Refusal::new(format!("the password of router {} was not kept with it", router.name)));
    }
    Ok(LoadedPlan { generation, plan, secrets, bytes })
}

fn opened(bytes: &[u8], host: &Name, times: &mut Times) -> Result<(Generation, Plan), Refusal> {
    let (generation, body) = seal::open(bytes).map_err(|error| Refusal::new(error.to_string()))?;
    times.note("seal");
    let plan = match plain::plan(body) {
        Some(plan) => plan,
        None => ask(body)?,
    };
    times.note("text");
    if plan.host != *host {
        return Err(Refusal::new(format!("the plan is for host {}, this host is {host}", plan.host)));
    }
    if let Some(contradiction) = contradictions::first(&plan) {
        return Err(Refusal::new(format!("the plan contradicts itself: {contradiction}")));
    }
    Ok((generation, plan))
}

fn secrets(plan: &Plan, compiled: Option<&[u8]>) -> Result<BTreeMap<Name, Secret>, Refusal> {
    let mut found = BTreeMap::new();
    for router in &plan.routers {
        let Some(Auth::Pass { secret }) = &router.auth else { continue };
        let text = match secret {
            SecretReference::Compiled(key) => compiled_secret(compiled, key, &plan.host)?,
            SecretReference::File(path) => secret_file(Path::new(path))?,
            SecretReference::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    Refusal::new(format!(
                        "router {} wants systemd credential {name}, but the daemon was given none (LoadCredential= in its unit)",
                        router.name
                    ))
                })?;
                secret_file(&Path::new(&directory).join(name.as_str()))?
            }
        };
        let secret = password(&text)
            .map_err(|why| Refusal::new(format!("the password of router {} {why}", router.name)))?;
        found.insert(router.name.clone(), secret);
    }
    Ok(found)
}

fn password(text: &str) -> Result<Secret, &'static str> {
    match text.len() {
        0 => Err("is empty"),
        1..=PASS_MAX => Ok(Secret::from_text(text)),
        _ => Err("is longer than 8 bytes"),
    }
}

fn compiled_secret(compiled: Option<&[u8]>, key: &Name, host: &Name) -> Result<String, Refusal> {
    let file = plan::secrets_file_name(host);
    let bytes = compiled.ok_or_else(|| {
        Refusal::new(format!("the plan needs {file} beside it, which `evenkeel compile` wrote with it"))
    })?;
    // The error of the TOML parser would quote the text: not shown.
    let table: BTreeMap<Name, String> = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| toml::from_str(text).ok())
        .ok_or_else(|| Refusal::new(format!("{file} is not a table of secrets")))?;
    table.get(key).cloned().ok_or_else(|| Refusal::new(format!("{file} has no secret {key}")))
}

fn secret_file(path: &Path) -> Result<String, Refusal> {
    let bytes = read_bounded(path, MAX_SECRET_FILE).map_err(|error| {
        Refusal::new(format!("cannot read secret {}: {}", path.display(), io_words(&error)))
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Refusal::new(format!("secret {} is not UTF-8 text", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Reads a file of at most `limit` bytes.
fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // Opening a FIFO would otherwise wait for someone to write to it.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    // One more, to find that there is no more.
    let room = usize::try_from(metadata.len().min(limit)).unwrap_or_default() + 1;
    let mut bytes = Vec::with_capacity(room);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied (under systemd the daemon has no CAP_DAC_OVERRIDE: root must be allowed to read it)".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = concat!(
        "format = 1\ncluster = \"c\"\nhost = \"dir1\"\nhost_addresses = [\"192.0.2.1\"]\n",
        "[policy]\nresync = \"5s\"\nexclusive_ipvs = false\n",
        "[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nsource = \"192.0.2.1\"\nversion = 2\nvrid = 51\n",
        "priority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 5\ngarp_delay = \"5s\"\n",
        "vips = [\"192.0.2.9/32\"]\nauth = { type = \"pass\", secret = { compiled = \"VI_1\" } }\n"
    );

    fn host() -> Name {
        "dir1".parse().expect("name")
    }

    fn refusal(bytes: &[u8], secrets: Option<&str>) -> String {
        check(bytes.to_vec(), secrets.map(str::as_bytes), &host(), &mut Times::new(clock::now()))
            .expect_err("refused")
            .to_string()
    }

    #[test]
    fn a_sealed_plan_with_its_secret_is_taken() {
        let sealed = seal::seal(BODY);
        let loaded = check(
            sealed.into_bytes(),
            Some(b"VI_1 = \"hell>com\"\n"),
            &host(),
            &mut Times::new(clock::now()),
        )
        .expect("good");
        assert_eq!(loaded.plan.routers.len(), 1);
        assert!(!format!("{loaded:?} {:?}", loaded.secrets).contains("hell"));
    }

    #[test]
    fn refusals_say_why_and_never_show_a_secret() {
        let sealed = seal::seal(BODY);
        for (bytes, secrets, want) in [
            (String::new(), None, "empty"),
            (sealed[..sealed.len() / 2].to_owned(), None, "incomplete"),
            (BODY.to_owned(), None, "digest line"),
            (seal::seal(&BODY.replace("dir1", "dir2")), None, "for host dir2"),
            (seal::seal("format = \n"), None, "not valid TOML"),
            (seal::seal(&BODY.replace("vrid = 51", "vrid = 256")), None, "schema"),
            (seal::seal(&BODY.replace("192.0.2.9/32", "192.0.2.9/99")), None, "schema"),
            (sealed.clone(), None, "dir1.secrets.toml"),
            (sealed.clone(), Some("VI_2 = \"hell>com\""), "no secret VI_1"),
            (sealed.clone(), Some("VI_1 = \"hell>com"), "not a table of secrets"),
            (sealed.clone(), Some("VI_1 = \"hell>company\""), "8 bytes"),
        ] {
            let text = refusal(bytes.as_bytes(), secrets);
            assert!(text.contains(want), "{text:?} does not say {want:?}");
            assert!(!text.contains("hell"), "{text:?} shows the secret");
        }
    }
}
