//! Plans from git: a host that pulls a signed commit converges to it, and to no other.

use std::path::Path;

use lab::{Lab, LogEvent, Reference, eventually, guest, mark};

use crate::support::{NO_ELECTION, PATIENCE, TABLE, steady_client};

/// A bare repository that all hosts reach, and a work tree with a key that signs.
struct Upstream<'l> {
    lab: &'l Lab,
}

impl<'l> Upstream<'l> {
    fn new(lab: &'l Lab) -> Self {
        let upstream = Self { lab };
        upstream.run(&["git", "init", "--quiet", "--bare", "--initial-branch=main", "up.git"], ".");
        upstream.run(&["git", "init", "--quiet", "--initial-branch=main", "work"], ".");
        upstream.run(&["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key"], ".");
        let key = std::fs::read_to_string(lab.path("key.pub")).expect("a key");
        lab.write("signers", format!("a@example {key}"));
        upstream
    }

    fn run(&self, argv: &[&str], directory: &str) {
        let directory = self.lab.path(directory).display().to_string();
        let home = format!("HOME={}", self.lab.path(".").display());
        let names = ["GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example", "GIT_COMMITTER_NAME=a"];
        let mut words = vec!["env", "-C", &directory, &home, "GIT_COMMITTER_EMAIL=a@example"];
        words.extend(names);
        words.extend(argv);
        self.lab.run(words);
    }

    /// Commits what a cluster file is compiled to, and pushes it.
    fn commit(&self, text: &str, signed: bool) {
        self.lab.plans("work/plans").compile_text(text);
        // Passwords are in no repository.
        self.run(
            &["sh", "-c", "mkdir -p ../etc && mv plans/*.secrets.toml ../etc/ 2>/dev/null || true"],
            "work",
        );
        self.run(&["git", "add", "--all"], "work");
        let key = format!("user.signingKey={}", self.lab.path("key").display());
        let sign = if signed { "--gpg-sign" } else { "--no-gpg-sign" };
        let head = ["git", "-c", "gpg.format=ssh", "-c", &key];
        self.run(&[&head[..], &["commit", "--quiet", sign, "--message=change"]].concat(), "work");
        let bare = self.lab.path("up.git").display().to_string();
        self.run(&["git", "push", "--quiet", &bare, "HEAD:main"], "work");
    }
}

fn weight(of_rs1: u16) -> String {
    let rs1 = format!("host = \"rs1\", weight = {of_rs1}");
    Reference::cluster_file().replace("host = \"rs1\", weight = 100", &rs1)
}

#[test]
fn a_signed_commit_that_changes_a_weight_reaches_the_kernel_and_an_unsigned_one_does_not() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let upstream = Upstream::new(lab);
        upstream.commit(&Reference::cluster_file(), true);
        let (hosts, etc) = (&reference.hosts, lab.path("etc"));
        std::fs::create_dir_all(&etc).expect("etc");
        let source = format!("git+file://{}#main:plans", lab.path("up.git").display());
        let signers = lab.path("signers").display().to_string();
        let options = ["--source", &source, "--allowed-signers", &signers, "--poll", "1h"];
        let start = |host: &lab::Host| host.evenkeeld::<&str>(Path::new(&etc), options);
        let daemons = [&hosts.rs1, &hosts.rs2, &hosts.dir1, &hosts.dir2].map(start);
        let [_, _, dir1, dir2] = &daemons;
        dir1.wait_told(LogEvent::Master, PATIENCE);
        dir2.wait_told(LogEvent::Backup, PATIENCE);
        for real_server in [&hosts.rs1, &hosts.rs2] {
            eventually(PATIENCE, "the VIP is there", || real_server.has_address("lo", hosts.vip));
        }
        assert_eq!(hosts.dir1.ipvsadm(), TABLE);
        let client = steady_client(&reference);

        let pushed = mark();
        upstream.commit(&weight(60), true);
        let pull = || {
            for host in [&hosts.dir1, &hosts.dir2] {
                let socket = host.scratch().join("evenkeeld.sock").display().to_string();
                // The guest is slow: a look may take longer than the command waits.
                reference.evenkeeld(host, "pull", &["--socket", &socket]);
            }
        };
        pull();
        let changed = |weight: u16| {
            move || {
                let want = format!("192.168.188.107:80 -g -w {weight}");
                [&hosts.dir1, &hosts.dir2]
                    .iter()
                    .all(|host| host.ipvsadm().iter().any(|line| line.ends_with(&want)))
            }
        };
        eventually(PATIENCE, "the new weight is in both tables", changed(60));
        lab.log(format!("from push to both tables: {:?}", mark().saturating_duration_since(pushed)));

        upstream.commit(&weight(1), false);
        pull();
        for host in [&hosts.dir1, &hosts.dir2] {
            eventually(PATIENCE, "it is refused", || {
                let git = reference.status(host)["source"]["git"].clone();
                git["trouble"]["reason"].as_str().is_some_and(|why| why.contains("has no SSH signature"))
            });
        }
        assert!(changed(60)(), "what was taken before stays");
        let gap = client.gap_since(pushed);
        lab.assert_within("nobody felt it", gap, NO_ELECTION, pushed);
    });
}
