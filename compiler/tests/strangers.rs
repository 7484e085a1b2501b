//! `--untrusted`: what CI runs on pull requests of strangers. Whatever they send, it reads nothing
//! else of the machine, runs nothing of theirs, shows no secret, and ends soon.
#![allow(clippy::disallowed_methods, reason = "runs the command on files")]

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const CLUSTER: &str = include_str!("../../examples/lvs-dr/cluster.toml");

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().expect("directory") };
        place.write("repo/cluster.toml", CLUSTER);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().expect("parent")).expect("directory");
        fs::write(self.path(name), text).expect("write");
    }

    fn link(&self, target: &str, name: &str) {
        let _ = fs::remove_file(self.path(name));
        symlink(target, self.path(name)).expect("link");
    }

    #[track_caller]
    fn evenkeel(&self, directory: &str, arguments: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(arguments)
            .current_dir(self.path(directory))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .output()
            .expect("run evenkeel");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (status.code().expect("not killed"), text(stdout) + &text(stderr))
    }

    /// Of all formats, from the repository; each must refuse.
    #[track_caller]
    fn refused(&self, file: &str, words: &str) {
        for format in ["human", "json", "github", "sarif"] {
            let (code, said) = self.evenkeel("repo", &["validate", "--untrusted", file, "--format", format]);
            assert!(code == 1 && said.contains(words), "{file}: {said}");
            assert!(!said.contains("hush"), "{said}");
        }
    }

    #[track_caller]
    fn sh(&self, directory: &str, script: &str) {
        let output = Command::new("sh").args(["-ec", script]).current_dir(self.path(directory)).output();
        let output = output.expect("run sh");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn nothing_outside_the_directory_is_read() {
    let place = Place::new();
    place.write("outside/cluster.toml", "VI_1 = \"hush-hush\"\nx\n");
    place.write("repo/above.toml", "hush = \"hush-hush\"\nx\n");
    place.write("repo/site/cluster.toml", CLUSTER);
    let (code, said) = place.evenkeel("repo", &["validate", "--untrusted", "site/cluster.toml"]);
    assert_eq!(code, 0, "{said}");
    let here = place.path("repo/site/cluster.toml").display().to_string();
    assert_eq!(place.evenkeel("/", &["validate", "--untrusted", &here]).0, 0);
    for target in
        ["../above.toml", "../../outside/cluster.toml", "/dev/zero", "/dev/stdin", "/proc/self/environ"]
    {
        place.link(target, "repo/site/cluster.toml");
        place.refused("site/cluster.toml", "symbolic link");
        place.link(target, "repo/site/more.toml");
        place.write("repo/site/with.toml", "include = [\"more.toml\"]\n");
        place.refused("site/with.toml", "symbolic link");
    }
    place.link("../outside", "repo/away");
    place.refused("away/cluster.toml", "symbolic link");
    place.sh("repo", "git init --quiet");
    let away = place.path("repo/away/cluster.toml").display().to_string();
    place.refused(&away, "symbolic link");
    for include in ["../above.toml", "/etc/passwd.toml", "site/../../outside/cluster.toml"] {
        place.write("repo/with.toml", &format!("include = [\"{include}\"]\n"));
        place.refused("with.toml", "EK0009");
    }
    place.write("repo/.cargo/credentials.toml", "token = \"hush-hush\"\nx\n");
    place.write("repo/with.toml", "include = [\".cargo/credentials.toml\"]\n");
    place.refused("with.toml", "begins with a dot");
    let fifo = place.path("repo/fifo.toml");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    place.refused("fifo.toml", "it is a device or a pipe");
}

#[test]
fn no_line_with_a_secret_is_shown() {
    let place = Place::new();
    let wrong =
        CLUSTER.replace("secret = { literal = \"hell>com\" }", "secret = { literal = \"hush-hush-hush\" }");
    assert_ne!(wrong, CLUSTER);
    place.write("repo/long.toml", &wrong);
    place.refused("long.toml", "EK0405");
    let (_, said) = place.evenkeel("repo", &["validate", "--untrusted", "long.toml"]);
    assert!(!said.contains("literal") && !said.contains("****"), "not even how long it is: {said}");
    assert!(said.contains("long.toml:"), "{said}");
    place.write("repo/open.toml", "auth = { secret = \"hush-hush\nx y\n");
    place.refused("open.toml", "EK0006");
    // Other lines are.
    place.write("repo/other.toml", &CLUSTER.replace("vrid = 51", "vrid = 0"));
    let (_, said) = place.evenkeel("repo", &["validate", "--untrusted", "other.toml"]);
    assert!(said.contains("vrid = 0"), "{said}");
}

#[test]
fn what_takes_much_is_refused_soon() {
    let place = Place::new();
    let soon = Instant::now();
    place.write("repo/large.toml", &"# x\n".repeat(300_000));
    place.refused("large.toml", "EK0005");
    place.write("repo/many.toml", "include = [\"parts/*.toml\"]\n");
    for number in 0..150 {
        place.write(&format!("repo/parts/{number}.toml"), &format!("[services.s{number}]\n"));
    }
    place.refused("many.toml", "more than 100 files");
    // A few lines that stand for millions of destinations.
    let mut ports = CLUSTER.to_owned();
    for number in 0..40 {
        let _ = write!(
            ports,
            "[services.s{number}]\nrouter = \"VI_1\"\nprotocol = \"tcp\"\nports = [\"{}-{}\"]\nreal_servers \
            = [{{ pool = \"p\" }}]\n",
            1000 + number * 1000,
            1999 + number * 1000
        );
    }
    ports.push_str("[pools.p]\nreal_servers = [");
    for _ in 0..100 {
        ports.push_str("{ host = \"rs1\" },");
    }
    ports.push_str("]\n");
    place.write("repo/ports.toml", &ports);
    place.refused("ports.toml", "EK0012");
    // And a few that stand for as many defaults.
    let mut defaults = CLUSTER.to_owned();
    for number in 0..3000 {
        let _ = writeln!(defaults, "[services.d{number}]\nrouter = \"VI_1\"");
    }
    let list = "{ host = \"rs1\" },".repeat(1000);
    let _ = writeln!(defaults, "[defaults.service]\nreal_servers = [{list}]");
    place.write("repo/defaults.toml", &defaults);
    place.refused("defaults.toml", "EK0012");
    assert!(soon.elapsed() < Duration::from_secs(60), "{:?}", soon.elapsed());
}

/// A repository whose configuration and attributes are the stranger's: whatever git could be made to run
/// leaves a trace.
#[test]
fn nothing_of_a_strangers_repository_is_run() {
    let place = Place::new();
    let trap = place.path("trap");
    place.write("trap", &format!("#!/bin/sh\necho run >> {}\nexit 1\n", place.path("trace").display()));
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).expect("mode");
    let trap = trap.display().to_string();
    place.write("repo/.gitattributes", "*.toml filter=trap diff=trap\n");
    place.sh(
        "repo",
        "git init --quiet && git add . && git -c user.name=t -c user.email=t@example.org commit --quiet -m x",
    );
    for setting in [
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "core.gitProxy",
        "core.askPass",
        "core.alternateRefsCommand",
        "credential.helper",
        "diff.external",
        "diff.trap.textconv",
        "diff.trap.command",
        "filter.trap.smudge",
        "filter.trap.clean",
        "filter.trap.process",
        "gpg.program",
        "uploadpack.packObjectsHook",
        "remote.origin.uploadpack",
        "remote.origin.vcs",
        "pager.cat-file",
        "pager.rev-parse",
        "pager.ls-tree",
        "alias.cat-file",
    ] {
        let value = match setting {
            "remote.origin.vcs" => "ext".to_owned(),
            "alias.cat-file" => format!("!{trap}"),
            _ => trap.clone(),
        };
        place.sh("repo", &format!("git config {setting} '{value}'"));
    }
    for hook in ["post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"] {
        place.write(&format!("repo/.git/hooks/{hook}"), &fs::read_to_string(&trap).expect("trap"));
        place.sh("repo", &format!("chmod 755 .git/hooks/{hook}"));
    }
    let plan = ["plan", "--untrusted", "cluster.toml", "--against", "git:HEAD"];
    let (code, said) = place.evenkeel("repo", &plan);
    assert_eq!(code, 0, "{said}");
    // A partial clone brings what is missing, with whatever command its configuration names.
    place.sh(
        "repo",
        &format!(
            "git config --unset remote.origin.vcs; git config core.repositoryFormatVersion 1; \
             git config extensions.partialClone origin; git config remote.origin.promisor true; \
             git config protocol.allow always; git config remote.origin.url 'ext::{trap}'; \
             object=$(git rev-parse HEAD:cluster.toml); \
             rm -f .git/objects/$(echo $object | cut -c1-2)/$(echo $object | cut -c3-)"
        ),
    );
    let (code, said) = place.evenkeel("repo", &plan);
    assert_eq!(code, 1, "{said}");
    for url in ["ssh://example.org/x", &place.path("elsewhere").display().to_string()] {
        place.sh("repo", &format!("git config remote.origin.url '{url}'"));
        let (code, said) = place.evenkeel("repo", &plan);
        assert_eq!(code, 1, "{said}");
    }
    assert!(!place.path("trace").exists(), "something of the repository's was run");
    // The trap works: without --untrusted a partial clone is filled.
    place.sh("repo", &format!("git config remote.origin.url 'ext::{trap}'"));
    assert_eq!(place.evenkeel("repo", &["plan", "cluster.toml", "--against", "git:HEAD"]).0, 1);
    assert!(place.path("trace").exists(), "the trap does not work");
}

#[test]
fn no_file_of_secrets_is_opened() {
    let place = Place::new();
    assert_eq!(place.evenkeel("repo", &["compile", "cluster.toml", "--out", "plans"]).0, 0);
    // Would be an error if it were read.
    place.write("repo/plans/dir1.secrets.toml", "VI_1 = hush\u{0}hush");
    let against = ["cluster.toml", "--against", "plans"];
    let (code, said) = place.evenkeel("repo", &[&["plan", "--untrusted"], &against[..]].concat());
    assert!(code == 0 && said.contains("No changes") && !said.contains("hush"), "{said}");
    assert_eq!(place.evenkeel("repo", &[&["plan"], &against[..]].concat()).0, 1);
}
