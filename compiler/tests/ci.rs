//! The files of `examples/ci/` do what they say: their commands are taken out of them and run, on a
//! real repository with a real `git`. Only the services that comments go to are stood in for.
#![allow(clippy::disallowed_methods, reason = "runs commands on files")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Stands in for `gh`: notes its arguments, and the comment.
const GH: &str = "#!/bin/sh\nprintf '%s\\n' \"gh $*\" >> \"$RECORD\"\ncp plan.md \"$RECORD.md\"\n";

/// Stands in for `curl` and the notes of a merge request: they are in a file, and what is told is noted. The
/// first hundred are other people's, and one of them is like ours.
const CURL: &str = r#"#!/bin/bash
set -eu
for url; do :; done
method=$(printf '%s\n' "$@" | grep -x -A1 -e --request | tail -n 1 || true)
printf 'curl %s %s\n' "${method:-GET}" "$url" >> "$RECORD"
notes="$RECORD.notes"
if [ ! -e "$notes" ]; then
    jq -n '[range(100) | {id: ., author: {id: 1}, body: (if . == 3 then "<!-- evenkeel plan -->\nforged" else "hello" end)}]' > "$notes"
fi
case "${method:-GET} $url" in
"GET "*/user) echo '{"id": 7}' ;;
"GET "*page=1) jq '.[:100]' "$notes" ;;
"GET "*page=2) jq '.[100:]' "$notes" ;;
"POST "*/notes) jq --rawfile body plan.md '. + [{id: length, author: {id: 7}, body: $body}]' "$notes" > "$notes.new" ;;
"PUT "*/notes/100) jq --rawfile body plan.md '.[100].body = $body' "$notes" > "$notes.new" ;;
*) echo "curl: nothing answers $method $url" >&2; exit 22 ;;
esac
if [ -e "$notes.new" ]; then mv "$notes.new" "$notes"; cp plan.md "$RECORD.md"; echo '{}'; fi
"#;

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { root: tempfile::tempdir().expect("directory") };
        for directory in ["bin", "author", "origin.git"] {
            fs::create_dir(world.path(directory)).expect("directory");
        }
        for (name, text) in [("gh", GH), ("curl", CURL)] {
            let path = world.path("bin").join(name);
            fs::write(&path, text).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_evenkeel"), world.path("bin/evenkeel")).expect("link");
        world.sh("origin.git", "git init --quiet --bare --initial-branch=main .");
        world.sh(
            "author",
            "git init --quiet --initial-branch=main . && git remote add origin ../origin.git \
             && git commit --quiet --allow-empty --message 'no plans yet' && git push --quiet origin \
             main:plans \
             && git update-ref -d HEAD",
        );
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Runs a script as a runner does; gives its standard output.
    #[track_caller]
    fn sh(&self, directory: &str, script: &str) -> String {
        self.sh_with(directory, script, &[])
    }

    #[track_caller]
    fn sh_with(&self, directory: &str, script: &str, environment: &[(&str, &str)]) -> String {
        let output = self.bash(directory, script, environment);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{}{err}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    fn bash(&self, directory: &str, script: &str, environment: &[(&str, &str)]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("bash")
            .args(["-e", "-u", "-o", "pipefail", "-c", script])
            .current_dir(self.path(directory))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("RECORD", self.path("record"))
            .env("GITHUB_STEP_SUMMARY", self.path("summary.md"))
            .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "test")))
            .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "test@example.org")))
            .envs(environment.iter().copied())
            .output()
            .expect("run bash")
    }

    /// Commits a cluster file on a branch; gives the hash.
    fn commit(&self, branch: &str, cluster: &str) -> String {
        fs::write(self.path("author/cluster.toml"), cluster).expect("write");
        self.sh(
            "author",
            &format!(
                "git checkout --quiet -B {branch}; git add cluster.toml; git commit \
            --quiet --allow-empty -m x; git push --quiet origin {branch}"
            ),
        );
        self.sh("author", "git rev-parse HEAD").trim().to_owned()
    }

    /// Runs all scripts of a job in a fresh checkout of a branch, as a runner has it.
    fn job(&self, name: &str, branch: &str, scripts: &[String], environment: &[(&str, &str)]) {
        assert!(!scripts.is_empty(), "no script found for {name}");
        fs::create_dir(self.path(name)).expect("directory");
        self.sh(name, &format!("git clone --quiet --branch {branch} ../origin.git work"));
        for script in scripts {
            self.sh_with(&format!("{name}/work"), script, environment);
        }
    }

    fn published(&self) -> Vec<String> {
        self.sh("origin.git", "git ls-tree -r --name-only plans").lines().map(str::to_owned).collect()
    }
}

/// The block scripts of a job: what is indented below `run: |` or `- |`.
fn scripts(file: &str, job: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ci").join(file);
    let text = fs::read_to_string(path).expect("CI file");
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| line.trim() != format!("{job}:")).peekable();
    let own = lines.next().map_or(0, indent);
    let mut found = Vec::new();
    while let Some(line) = lines.next_if(|line| line.is_empty() || indent(line) > own) {
        let start = line.trim();
        if start == "run: |" || start == "- |" {
            let mut script = String::new();
            while let Some(inner) = lines.next_if(|inner| inner.is_empty() || indent(inner) > indent(line)) {
                script.push_str(inner.trim_start());
                script.push('\n');
            }
            found.push(script);
        }
    }
    found
}

fn example() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/lvs-dr/cluster.toml");
    fs::read_to_string(path).expect("cluster.toml")
}

#[test]
fn github_comments_the_plan_and_applies_what_is_merged() {
    let world = World::new();
    let main = world.commit("main", &example());
    let sha = [("GITHUB_SHA", main.as_str())];
    world.job("first", "main", &scripts("github-actions.yml", "apply"), &sha);
    let plans = ["dir1.plan.toml", "dir2.plan.toml", "rs1.plan.toml", "rs2.plan.toml"];
    assert_eq!(world.published(), plans, "no secrets in a branch");

    let changed = example().replace("\"rs2\", weight = 100", "\"rs2\", weight = 0");
    world.commit("change", &changed);
    let environment = [("BASE", main.as_str()), ("NUMBER", "7"), ("GH_TOKEN", "x")];
    world.job("plan", "change", &scripts("github-actions.yml", "plan"), &environment);
    let record = fs::read_to_string(world.path("record")).expect("gh was called");
    assert_eq!(record, "gh pr comment 7 --body-file plan.md --edit-last --create-if-none\n");
    let comment = fs::read_to_string(world.path("record.md")).expect("comment");
    assert!(comment.contains("### Plan: 0 to add, 2 to change, 0 to remove on 2 of 4 hosts."), "{comment}");
    assert!(comment.contains("drains rs2") && comment.contains("weight: 100 -> 0"), "{comment}");
    assert_eq!(fs::read_to_string(world.path("summary.md")).expect("summary"), comment);
    assert_eq!(world.published(), plans, "a plan publishes nothing");

    let merged = world.commit("main", &changed);
    for run in ["merge", "again"] {
        world.job(run, "main", &scripts("github-actions.yml", "apply"), &[("GITHUB_SHA", merged.as_str())]);
        let log = world.sh("origin.git", "git log --format=%s plans");
        assert_eq!(log, format!("plans of {merged}\nplans of {main}\nno plans yet\n"), "nothing twice");
    }
    let plan = world.sh("origin.git", "git show plans:dir1.plan.toml");
    assert!(plan.contains("weight = 0"), "{plan}");
}

#[test]
fn gitlab_comments_the_plan_and_applies_what_is_merged() {
    let world = World::new();
    let main = world.commit("main", &example());
    let remote = world.path("origin.git").display().to_string();
    let variables = |sha: &str| {
        let sha = sha.to_owned();
        move |name: &str| match name {
            "CI_COMMIT_SHA" | "CI_MERGE_REQUEST_DIFF_BASE_SHA" => sha.clone(),
            "EVENKEEL_REMOTE" => remote.clone(),
            "CI_API_V4_URL" => "https://gitlab.example.org/api/v4".to_owned(),
            name => name.to_lowercase(),
        }
    };
    let names = [
        "CI_COMMIT_SHA",
        "CI_MERGE_REQUEST_DIFF_BASE_SHA",
        "EVENKEEL_REMOTE",
        "EVENKEEL_TOKEN",
        "CI_API_V4_URL",
        "CI_PROJECT_ID",
        "CI_MERGE_REQUEST_IID",
    ];
    let value = variables(&main);
    let values: Vec<String> = names.iter().map(|name| value(name)).collect();
    let environment: Vec<(&str, &str)> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
    world.job("first", "main", &scripts("gitlab-ci.yml", "apply"), &environment);
    assert_eq!(world.published().len(), 4, "no secrets in a branch");

    let changed = example().replace("scheduler = \"wlc\"", "scheduler = \"rr\"");
    world.commit("change", &changed);
    world.job("plan", "change", &scripts("gitlab-ci.yml", "plan"), &environment);
    let notes =
        "https://gitlab.example.org/api/v4/projects/ci_project_id/merge_requests/ci_merge_request_iid/notes";
    let told = || {
        let record = fs::read_to_string(world.path("record")).expect("curl was called");
        record.lines().filter(|line| !line.starts_with("curl GET")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told(), [format!("curl POST {notes}")]);
    let comment = fs::read_to_string(world.path("record.md")).expect("comment");
    assert!(comment.contains("scheduler: \"wlc\" -> \"rr\"  # cluster.toml:26"), "{comment}");
    // Another push: the same comment is written anew, and nobody else's.
    let again = example().replace("scheduler = \"wlc\"", "scheduler = \"sh\"");
    world.commit("change", &again);
    world.job("plan-again", "change", &scripts("gitlab-ci.yml", "plan"), &environment);
    assert_eq!(told(), [format!("curl POST {notes}"), format!("curl PUT {notes}/100")]);
    let comment = fs::read_to_string(world.path("record.md")).expect("comment");
    assert!(comment.contains("scheduler: \"wlc\" -> \"sh\""), "{comment}");

    world.commit("main", &changed);
    world.job("merge", "main", &scripts("gitlab-ci.yml", "apply"), &environment);
    let plan = world.sh("origin.git", "git show plans:dir2.plan.toml");
    assert!(plan.contains("scheduler = \"rr\""), "{plan}");
}

#[test]
fn what_cannot_be_applied_stops_the_job() {
    let world = World::new();
    world.commit("main", "version = 1\n");
    fs::create_dir(world.path("job")).expect("directory");
    world.sh("job", "git clone --quiet --branch main ../origin.git work");
    let apply = scripts("github-actions.yml", "apply");
    let output = world.bash("job/work", &apply[0], &[]);
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("error[EK0102]") && err.contains("is not valid"), "{err}");
    assert!(world.published().is_empty());
}

/// Mistakes are told where each service shows them, and files that are not laid out are refused.
#[test]
fn what_is_wrong_is_told_before_anything_is_planned() {
    let world = World::new();
    world.commit("main", &example());
    let jobs = [("github-actions.yml", "github"), ("gitlab-ci.yml", "gitlab")];
    for (file, name) in jobs {
        world.job(name, "main", &scripts(file, "check"), &[]);
        let sarif = fs::read_to_string(world.path(name).join("work/evenkeel.sarif")).expect("a report");
        assert!(sarif.contains("\"2.1.0\"") && sarif.contains("EK0406"), "{sarif}");
    }
    for (change, layout) in [(("vrid = 51", "vrid = 0"), false), (("vrid = 51", "vrid    =   51"), true)] {
        let name = if layout { "untidy" } else { "wrong" };
        world.commit(name, &example().replace(change.0, change.1));
        for (file, service) in jobs {
            let directory = format!("{name}-{service}");
            fs::create_dir(world.path(&directory)).expect("directory");
            world.sh(&directory, &format!("git clone --quiet --branch {name} ../origin.git work"));
            let ended = scripts(file, "check")
                .iter()
                .map(|script| world.bash(&format!("{directory}/work"), script, &[]))
                .collect::<Vec<_>>();
            assert!(ended.iter().any(|output| output.status.code() == Some(1)), "{file}: {ended:?}");
            let said: String = ended
                .iter()
                .map(|output| {
                    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
                })
                .collect();
            let words = match (layout, service) {
                (true, _) => "is not in canonical layout",
                (false, "github") => "::error file=cluster.toml,line=15",
                (false, _) => "error[EK0105]",
            };
            assert!(said.contains(words), "{file}: {said}");
            let sarif =
                fs::read_to_string(world.path(&directory).join("work/evenkeel.sarif")).expect("a report");
            assert_eq!(sarif.contains("EK0105"), !layout, "{sarif}");
        }
    }
}
