//! Cluster files compiled in the lab as an operator would, and the daemons that obey the plans. What they
//! must do is in the tests.

use std::path::{Path, PathBuf};

use crate::cluster::Lab;
use crate::net::Host;
use crate::process::{Daemon, Output};

/// A directory of compiled plans.
#[derive(Clone)]
pub struct Plans<'l> {
    lab: &'l Lab,
    directory: PathBuf,
}

impl Lab {
    /// A directory for plans in the lab's scratch space, empty as yet.
    pub fn plans(&self, name: &str) -> Plans<'_> {
        Plans { lab: self, directory: self.path(name) }
    }
}

impl<'l> Plans<'l> {
    /// The lab that they are in.
    pub fn lab(&self) -> &'l Lab {
        self.lab
    }

    /// The directory that the daemons watch.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Compiles a cluster file; what the compiler said.
    #[track_caller]
    pub fn compile(&self, file: &Path) -> String {
        self.try_compile(file).expect_success()
    }

    /// Compiles a cluster file given as text.
    #[track_caller]
    pub fn compile_text(&self, text: &str) -> String {
        self.try_compile_text(text).expect_success()
    }

    /// Compiles a cluster file given as text, whatever comes of it.
    #[track_caller]
    pub fn try_compile_text(&self, text: &str) -> Output {
        let name = self.directory.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let file = self.lab.write(format!("{name}.cluster.toml"), text);
        self.try_compile(&file)
    }

    #[track_caller]
    fn try_compile(&self, file: &Path) -> Output {
        let evenkeel = self.lab.program("evenkeel", "evenkeel").display().to_string();
        let (file, plans) = (file.display().to_string(), self.directory.display().to_string());
        self.lab.output([evenkeel.as_str(), "compile", &file, "--out", &plans])
    }

    /// The plan file of a host.
    pub fn plan(&self, host: &Host) -> PathBuf {
        self.directory.join(format!("{}.plan.toml", host.name()))
    }

    /// Changes the plan of a host as no compiler would, sealed again: for what only a later compiler writes.
    #[track_caller]
    pub fn rewrite(&self, host: &Host, change: impl FnOnce(&str) -> String) {
        let plan = self.plan(host);
        let text = std::fs::read_to_string(&plan).expect("the plan");
        let (_, body) = text.split_once('\n').expect("a seal");
        let changed = change(body);
        assert_ne!(changed, body, "nothing was changed");
        let scratch = self.lab.write(format!("{}.rewritten", host.name()), &changed);
        let sum = self.lab.run(["sha256sum", &scratch.display().to_string()]);
        let digest = sum.split_whitespace().next().expect("a digest");
        let sealed = self
            .lab
            .write(format!("{}.sealed", host.name()), format!("digest = \"sha256:{digest}\"\n{changed}"));
        std::fs::rename(sealed, plan).expect("the plan is replaced");
    }

    /// Starts the daemon of one host.
    #[track_caller]
    pub fn start(&self, host: &Host) -> Daemon {
        host.evenkeeld(&self.directory, std::iter::empty::<&str>())
    }

    /// Runs a command of `evenkeeld` on a host, with that host's state directory where it takes one.
    #[track_caller]
    pub fn evenkeeld(&self, host: &Host, command: &str, more: &[&str]) -> Output {
        let program = self.lab.program("evenkeeld", "evenkeel-agent").display().to_string();
        let state = host.scratch().join("state").display().to_string();
        let plans = self.directory.display().to_string();
        let mut argv = vec![program.as_str(), command];
        match command {
            "diff" | "converge" => {
                argv.extend(["--plan", &plans, "--host", host.name(), "--state-dir", &state])
            }
            "cleanup" => argv.extend(["--state-dir", &state]),
            _ => {}
        }
        argv.extend(more);
        host.output(argv)
    }

    /// A host's status document.
    #[track_caller]
    pub fn status(&self, host: &Host) -> serde_json::Value {
        let socket = host.scratch().join("evenkeeld.sock").display().to_string();
        let text = self.evenkeeld(host, "status", &["--json", "--socket", &socket]).expect_success();
        serde_json::from_str(&text).expect("the status document is JSON")
    }

    /// A router in a host's status; panics when it has none of that name.
    #[track_caller]
    pub fn router(&self, host: &Host, name: &str) -> serde_json::Value {
        let status = self.status(host);
        let routers = status["routers"].as_array().cloned().unwrap_or_default();
        match routers.into_iter().find(|router| router["name"] == name) {
            Some(router) => router,
            None => panic!("{} has no router {name}: {status}", host.name()),
        }
    }
}

/// How many advertisements a router of a status document has rejected, of any kind.
pub fn rejected(router: &serde_json::Value) -> u64 {
    let kinds = router["counters"]["rejected"].as_object().cloned().unwrap_or_default();
    kinds.values().filter_map(serde_json::Value::as_u64).sum()
}
