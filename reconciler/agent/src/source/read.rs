//! Reading a plan: from bytes to a plan that may be put in force, or to the reason why not.
//!
//! Order of the checks: size, seal, TOML, JSON Schema, types, host, contradictions, secrets. A plan as the
//! compiler wrote it is read by `plain` in one go, a large one through a `window`. TOML and JSON Schema of
//! any other text are another process's work: `helper` asks it, `understand` is what it does. `files` decides
//! whose files are read. Nothing here changes anything.

mod helper;
mod pieces;
#[cfg(test)]
pub(crate) mod plain_tests;
mod text;
mod understand;
mod window;

use evenkeel_host::loaded::{LoadedPlan, PlanRefusal as Refusal, PlanText, RouterSecret};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evenkeel_kernel::clock;
use evenkeel_schemas::plain;
use evenkeel_schemas::plan::{self, Auth, Plan, SecretReference};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::seal::{self, Generation, Opening};
use evenkeel_vrrp::{HmacKey, Secret};
use tracing::debug;

use crate::system::files::{self, FileError, Opened, Trust, limit};
use crate::system::scheduling;
use crate::system::times::{self, Times};

pub use helper::main;
pub(crate) use text::Text;

// Unit tests have no other process.
#[cfg(not(test))]
use helper::ask;
#[cfg(test)]
use understand::here as ask;

/// Longest password of VRRP version 2, bytes (RFC 2338 §5.3.10).
const PASS_MAX: usize = 8;
/// Size from which a plan is read through a window, bytes.
const LARGE: u64 = 256 * 1024;
/// Most of a file that is read at a time, bytes.
const PIECE: usize = 64 * 1024;

/// Decision about the text of a large plan; the text of a small one stays in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keep<'a> {
    /// The text is dropped.
    Nothing,
    /// The text stays in memory, since the disk fails.
    InMemory,
    /// The text is copied to a file without a name in this directory.
    CopyIn(&'a Path),
}

/// The plan file that `--plan` means: the file itself, or the host's file in a directory.
pub(crate) fn plan_path(path: &Path, host: &Name) -> PathBuf {
    if path.is_dir() { path.join(plan::file_name(host)) } else { path.to_owned() }
}

/// Compiled secrets beside a plan.
pub(crate) fn secrets_beside(path: &Path, host: &Name) -> PathBuf {
    path.with_file_name(plan::secrets_file_name(host))
}

/// Reads the plan at `path` (a file) for `host`, with its secrets, of which the compiled ones are in the file
/// `secrets_path`. Files are read only from owners that `trust` allows.
///
/// # Errors
/// A [`Refusal`] for everything that is wrong with it; never a panic.
pub(crate) fn load(
    path: &Path,
    secrets_path: &Path,
    host: &Name,
    keep: Keep<'_>,
    trust: Trust,
) -> Result<LoadedPlan, Refusal> {
    let started = clock::now();
    let mut times = Times::new(started);
    let (generation, plan, text) = read(path, host, keep, trust, &mut times)?;
    let secrets_bytes = match files::read(secrets_path, limit::SECRETS, trust) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.is_absence() => None,
        Err(error) => return Err(unreadable(secrets_path, &error)),
    };
    let secrets = secrets(&plan, secrets_bytes.as_deref(), trust)?;
    times.lap("check");
    let took = times::milliseconds(clock::now().since(started));
    debug!(plan = %path.display(), "read: {} in {took:.1} ms:{times}", path.display());
    Ok(LoadedPlan { generation, plan, secrets, text: PlanText::new(text) })
}

/// [`load`] in a thread that gives way to all others: other programs on this host do not wait for a daemon
/// that starts.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_aside(
    path: &Path,
    secrets_path: &Path,
    host: &Name,
    keep: Keep<'_>,
    trust: Trust,
) -> Result<LoadedPlan, Refusal> {
    let aside = || {
        scheduling::give_way();
        load(path, secrets_path, host, keep, trust)
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

/// Reads a plan at `path` that only this daemon writes, whose secrets were kept with it: `secrets` finds them
/// by the plan's generation, or in another way.
///
/// As [`load`], and the errors of `secrets`.
pub(crate) fn load_kept(
    path: &Path,
    host: &Name,
    keep: Keep<'_>,
    trust: Trust,
    secrets: impl FnOnce(&Generation) -> Result<BTreeMap<Name, RouterSecret>, Refusal>,
) -> Result<LoadedPlan, Refusal> {
    let (generation, plan, text) = read(path, host, keep, trust, &mut Times::new(clock::now()))?;
    let secrets = secrets(&generation)?;
    // A router without its keys would take what everybody sends.
    let kept = |router: &plan::Router| match (&router.auth, secrets.get(&router.name)) {
        (None, _)
        | (Some(Auth::Pass { .. }), Some(RouterSecret::Password(_)))
        | (Some(Auth::Hmac { .. }), Some(RouterSecret::Keys(_))) => true,
        (Some(_), _) => false,
    };
    let lacking = plan.routers.iter().find(|router| !kept(router));
    if let Some(router) = lacking {
        return Err(Refusal::new(format!("the secrets of router {} were not kept with it", router.name)));
    }
    Ok(LoadedPlan { generation, plan, secrets, text: PlanText::new(text) })
}

/// Generation of the plan in a file, by its seal alone; none when the seal is broken.
pub(crate) fn generation_of(path: &Path) -> Option<Generation> {
    let Opened { file, .. } = files::open(path, limit::PLAN, Trust::Anybody).ok()?;
    let mut file = BufReader::with_capacity(PIECE, file.take(limit::PLAN));
    let mut line = Vec::new();
    file.by_ref().take(PIECE as u64).read_until(b'\n', &mut line).ok()?;
    let mut opening = Opening::begin(&line)?;
    loop {
        let piece = file.fill_buf().ok()?;
        if piece.is_empty() {
            return opening.finish();
        }
        opening.take(piece);
        let count = piece.len();
        file.consume(count);
    }
}

/// Reads a plan and checks everything but its secrets.
fn read(
    path: &Path,
    host: &Name,
    keep: Keep<'_>,
    trust: Trust,
    times: &mut Times,
) -> Result<(Generation, Plan, Text), Refusal> {
    let refused = |error: FileError| unreadable(path, &error);
    let Opened { file, length } = files::open(path, limit::PLAN, trust).map_err(refused)?;
    let through_window = (length > LARGE).then(|| windowed(&file, length, keep));
    let (generation, plan, text) = match through_window {
        // The copy failed, as on a full disk: the plan can still be read as a whole.
        Some(Ok(Some(read))) => read,
        Some(Ok(None) | Err(_)) | None => {
            let bytes = files::read(path, limit::PLAN, trust).map_err(refused)?;
            times.lap("file");
            let (generation, plan) = understood(&bytes, times)?;
            (generation, plan, Text::Bytes(bytes.into()))
        }
    };
    times.lap("text");
    if plan.host != *host {
        return Err(Refusal::new(format!("the plan is for host {}, this host is {host}", plan.host)));
    }
    if let Some(contradiction) = evenkeel_host::first_contradiction(&plan) {
        return Err(Refusal::new(format!("the plan contradicts itself: {contradiction}")));
    }
    Ok((generation, plan, text))
}

/// Reads a large plan as the compiler wrote it; none for any other text.
fn windowed(file: &File, length: u64, keep: Keep<'_>) -> io::Result<Option<(Generation, Plan, Text)>> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let with = |text: Text| move |(generation, plan)| (generation, plan, text);
    Ok(match keep {
        Keep::Nothing => window::read(file, io::sink(), length)?.map(with(Text::Gone)),
        Keep::InMemory => None,
        Keep::CopyIn(directory) => {
            let copy = Text::nameless(directory)?;
            window::read(file, &copy, length)?.map(with(Text::File(Arc::new(copy))))
        }
    })
}

/// Parses a whole text.
fn understood(bytes: &[u8], times: &mut Times) -> Result<(Generation, Plan), Refusal> {
    let (generation, body) = seal::open(bytes).map_err(|error| Refusal::new(error.to_string()))?;
    times.lap("seal");
    match plain::plan(body) {
        Some(plan) => Ok((generation, plan)),
        None => Ok((generation, ask(body)?)),
    }
}

fn secrets(
    plan: &Plan,
    compiled: Option<&[u8]>,
    trust: Trust,
) -> Result<BTreeMap<Name, RouterSecret>, Refusal> {
    let mut found = BTreeMap::new();
    for router in &plan.routers {
        let text = |secret: &SecretReference| match secret {
            SecretReference::Compiled(key) => compiled_secret(compiled, key, &plan.host),
            SecretReference::File(path) => secret_file(Path::new(path), trust),
            SecretReference::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    Refusal::new(format!(
                        "router {} wants systemd credential {name}, but the daemon was given none \
                            (LoadCredential= in its unit)",
                        router.name
                    ))
                })?;
                secret_file(&Path::new(&directory).join(name.as_str()), trust)
            }
        };
        let secret = match &router.auth {
            None => continue,
            Some(Auth::Pass { secret }) => {
                let password = password(&text(secret)?)
                    .map_err(|why| Refusal::new(format!("the password of router {} {why}", router.name)))?;
                RouterSecret::Password(password)
            }
            Some(Auth::Hmac { keys, active, .. }) => {
                let mut found = BTreeMap::new();
                for key in keys {
                    let bytes = HmacKey::parse(&text(&key.secret)?).map_err(|why| {
                        Refusal::new(format!("key {} of router {} {why}", key.id, router.name))
                    })?;
                    if found.insert(key.id, bytes).is_some() {
                        let why = format!("router {} has two keys {}", router.name, key.id);
                        return Err(Refusal::new(why));
                    }
                }
                if !found.contains_key(active) {
                    let why = format!("router {} has no key {active}, which is to be active", router.name);
                    return Err(Refusal::new(why));
                }
                RouterSecret::Keys(found)
            }
        };
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
    // The parser's error is not shown: it would quote the text.
    let table: BTreeMap<Name, String> = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| toml::from_str(text).ok())
        .ok_or_else(|| Refusal::new(format!("{file} is not a table of secrets")))?;
    table.get(key).cloned().ok_or_else(|| Refusal::new(format!("{file} has no secret {key}")))
}

fn secret_file(path: &Path, trust: Trust) -> Result<String, Refusal> {
    let bytes = files::read(path, limit::SECRETS, trust)
        .map_err(|error| Refusal::new(format!("cannot read secret {}: {error}", path.display())))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Refusal::new(format!("secret {} is not UTF-8 text", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn unreadable(path: &Path, error: &FileError) -> Refusal {
    Refusal::new(format!("cannot read {}: {error}", path.display()))
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

    fn loaded(text: &str, secrets: Option<&str>, keep: Keep<'_>) -> Result<LoadedPlan, Refusal> {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join(plan::file_name(&host()));
        std::fs::write(&path, text).expect("write");
        if let Some(secrets) = secrets {
            std::fs::write(path.with_file_name(plan::secrets_file_name(&host())), secrets).expect("write");
        }
        // A file written with any umask is as good here.
        load(&path, &secrets_beside(&path, &host()), &host(), keep, Trust::Anybody)
    }

    fn refusal(text: &str, secrets: Option<&str>) -> String {
        loaded(text, secrets, Keep::Nothing).expect_err("refused").to_string()
    }

    #[test]
    fn a_sealed_plan_with_its_secret_is_taken() {
        let loaded = loaded(&seal::seal(BODY), Some("VI_1 = \"hell>com\"\n"), Keep::Nothing).expect("good");
        assert_eq!(loaded.plan.routers.len(), 1);
        assert!(!format!("{loaded:?} {:?}", loaded.secrets).contains("hell"));
    }

    #[test]
    fn keys_of_hmac_are_read_and_what_is_wrong_with_them_is_said() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let key = |name: &str, text: &str| {
            let path = scratch.path().join(name);
            std::fs::write(&path, text).expect("written");
            format!("{{ file = {path:?} }}")
        };
        let text = key("text", &format!("{}\n", "k".repeat(40)));
        let hexadecimal = key("hexadecimal", &format!("hex:{}\r\n", "0f".repeat(32)));
        let [short, odd] = [key("short", "sesame-31"), key("odd", "hex:sesame")];
        let of = |keys: &str, active: u8| {
            let auth = format!(
                "auth = {{ type = \"hmac\", keys = [{keys}], active = {active}, mode = \"enforce\", \
                 anti_replay = \"time\", window = 5 }}"
            );
            let password = "auth = { type = \"pass\", secret = { compiled = \"VI_1\" } }";
            assert!(BODY.contains(password));
            seal::seal(&BODY.replace(password, &auth))
        };
        let one = |id: u8, secret: &str| format!("{{ id = {id}, secret = {secret} }}");
        let both = format!("{}, {}", one(1, &text), one(2, &hexadecimal));
        let read = loaded(&of(&both, 2), None, Keep::Nothing).expect("good");
        let Some(RouterSecret::Keys(keys)) = read.secrets.get("VI_1") else { panic!("{read:?}") };
        assert_eq!(keys[&1].as_bytes(), "k".repeat(40).as_bytes());
        assert_eq!(keys[&2].as_bytes(), [0x0f; 32]);
        assert_eq!(read.secret_files().len(), 2);
        assert!(!format!("{:?}", read.secrets).contains("kkk"));
        for (plan, expected) in [
            (of(&both, 3), "router VI_1 has no key 3, which is to be active"),
            (of(&format!("{}, {}", one(1, &text), one(1, &text)), 1), "router VI_1 has two keys 1"),
            (of(&one(1, &short), 1), "key 1 of router VI_1 has 9 bytes, must have 32 to 64"),
            (of(&one(1, &odd), 1), "key 1 of router VI_1 begins with hex: and goes on with other than pairs"),
            (of(&one(1, "{ file = \"/nowhere/key\" }"), 1), "cannot read secret /nowhere/key"),
        ] {
            let why = refusal(&plan, None);
            assert!(why.contains(expected) && !why.contains("sesame"), "{why}");
        }
        for wrong in [of("", 1), of(&one(0, &text), 1), of(&both, 0), of(&both, 1).replace("= 5", "= 301")] {
            assert!(loaded(&wrong, None, Keep::Nothing).is_err(), "{wrong}");
        }
    }

    /// Each file that a plan is made of, by itself, and the directory of each.
    #[test]
    fn a_plan_or_secret_that_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let scratch = tempfile::tempdir().expect("tempdir");
        let [plans, elsewhere] = ["plans", "elsewhere"].map(|name| scratch.path().join(name));
        let [file, compiled, secret] = [
            plans.join(plan::file_name(&host())),
            plans.join(plan::secrets_file_name(&host())),
            elsewhere.join("secret"),
        ];
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
        };
        for directory in [&plans, &elsewhere] {
            std::fs::create_dir(directory).expect("made");
            mode(directory, 0o755);
        }
        let by_file = BODY.replace("{ compiled = \"VI_1\" }", &format!("{{ file = {secret:?} }}"));
        for (path, text) in [(&compiled, "VI_1 = \"hell>com\"\n"), (&secret, "hell>com\n")] {
            std::fs::write(path, text).expect("written");
            mode(path, 0o600);
        }
        let large = large();
        for (body, files) in [
            (BODY, &[&file, &compiled, &plans][..]),
            (&by_file, &[&file, &secret, &elsewhere]),
            (&large, &[&file, &compiled]),
        ] {
            std::fs::write(&file, seal::seal(body)).expect("written");
            mode(&file, 0o644);
            let taken = |trust| {
                load(&file, &compiled, &host(), Keep::Nothing, trust).map(drop).map_err(|why| why.to_string())
            };
            assert_eq!(taken(Trust::Owned), Ok(()));
            for path in files {
                let before = std::fs::metadata(path).expect("there").permissions().mode();
                mode(path, before | 0o022);
                let why = taken(Trust::Owned).expect_err("refused");
                assert!(
                    why.contains(&format!("`chmod go-w {}`", path.display())) && !why.contains("hell"),
                    "{why}"
                );
                assert_eq!(taken(Trust::Anybody), Ok(()));
                mode(path, before);
            }
        }
    }

    #[test]
    fn refusals_say_why_and_never_show_a_secret() {
        let sealed = seal::seal(BODY);
        for (text, secrets, want) in [
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
            let text = refusal(&text, secrets);
            assert!(text.contains(want), "{text:?} does not say {want:?}");
            assert!(!text.contains("hell"), "{text:?} shows the secret");
        }
    }

    /// A body over the size from which on texts are read through a window.
    fn large() -> String {
        let server = |n: u32| {
            format!(
                "\n[[virtual_server]]\nname = \"s{n}\"\naddress = \"192.0.2.9\"\nport = {}\n\
                 protocol = \"tcp\"\nscheduler = \"wlc\"\none_packet = false\n\n\
                 [[virtual_server.destination]]\nhost = \"rs\"\naddress = \"192.0.2.7\"\nport = 1\n\
                 weight = 1\nforwarding = \"dr\"\n",
                n + 1
            )
        };
        BODY.replace("[[router]]", "\n[[router]]").replace("[policy]", "\n[policy]")
            + &(0..1500).map(server).collect::<String>()
    }

    #[test]
    fn a_large_plan_is_the_same_with_or_without_its_text_in_memory() {
        let (secrets, sealed) = (Some("VI_1 = \"hell>com\"\n"), seal::seal(&large()));
        assert!(sealed.len() as u64 > LARGE);
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("it");
        std::fs::write(&path, &sealed).expect("write");
        let nothing = loaded(&sealed, secrets, Keep::Nothing).expect("good");
        assert!(matches!(Text::of(&nothing), Text::Gone) && nothing.plan.virtual_servers.len() == 1500);
        let copied = loaded(&sealed, secrets, Keep::CopyIn(scratch.path())).expect("good");
        assert!(matches!(Text::of(&copied), Text::File(_)) && Text::of(&copied).is_in(&path));
        // Where nothing can be written the text stays in memory.
        let none = Keep::CopyIn(Path::new("/nowhere"));
        let whole = loaded(&sealed, secrets, none).expect("good");
        assert!(matches!(Text::of(&whole), Text::Bytes(_)) && Text::of(&whole).is_in(&path));
        assert_eq!((&whole.plan, &whole.generation), (&copied.plan, &copied.generation));
        assert_eq!((nothing.plan, nothing.generation), (copied.plan, copied.generation.clone()));
        assert_eq!(generation_of(&path), Some(copied.generation));
        // Mistakes in a large plan are reported as those in a small one.
        assert!(refusal(&sealed.replacen("port = 1500", "port = 1", 1), secrets).contains("incomplete"));
        let high = seal::seal(&large().replacen("port = 1500", "port = 70000", 1));
        assert!(refusal(&high, secrets).contains("/virtual_server/1499/port"), "{}", refusal(&high, secrets));
        assert_eq!(generation_of(&scratch.path().join("none")), None);
    }
}
