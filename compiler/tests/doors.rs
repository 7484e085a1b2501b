//! What stands at the place of a file: links, pipes, devices, directories, names with line breaks. The
//! command hangs on none, follows no link when it writes, and says what it found.
#![allow(clippy::disallowed_methods, reason = "runs the command on files")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const CLUSTER: &str = include_str!("../../examples/lvs-dr/cluster.toml");

/// What hangs is killed after this long; nothing here takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(60);

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { root: tempfile::tempdir().expect("directory") };
        place.write("cluster.toml", CLUSTER);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().expect("parent")).expect("directory");
        fs::write(self.path(name), text).expect("write");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("text")
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(arguments)
            .current_dir(self.root.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(fs::File::create(self.path(".out")).expect("out"))
            .stderr(fs::File::create(self.path(".err")).expect("err"))
            .spawn()
            .expect("run evenkeel");
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("wait") {
                break status;
            }
            if start.elapsed() > PATIENCE {
                let _ = child.kill();
                panic!("{arguments:?} hangs");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let said = self.read(".out") + &self.read(".err");
        fs::remove_file(self.path(".out")).and_then(|()| fs::remove_file(self.path(".err"))).expect("remove");
        (status.code().expect("not killed"), said)
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let (code, said) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        said
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], words: &str) -> String {
        let (code, said) = self.run(arguments);
        assert_eq!(code, 1, "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: no `{words}` in {said}");
        said
    }
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

fn git(place: &Place, arguments: &[&str]) {
    let settings =
        ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"];
    let Output { status, stderr, .. } = Command::new("git")
        .args(settings)
        .args(arguments)
        .current_dir(place.root.path())
        .output()
        .expect("run git");
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
}

/// Lines of `src/cli`, tests aside, with the file that they are in.
fn lines_of_the_command() -> Vec<(String, String)> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli")];
    let mut lines = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).expect("directory").map(|entry| entry.expect("entry").path()));
        } else if !path.ends_with("directory/tests.rs") {
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("source");
            lines.extend(text.lines().map(|line| (name.clone(), line.to_owned())));
        }
    }
    assert!(lines.len() > 1000, "the command has gone");
    lines
}

#[test]
fn files_are_opened_in_one_place_and_paths_are_shown_by_one_function() {
    const OPENING: [&str; 9] = [
        "File::open",
        "File::create",
        "OpenOptions",
        "fs::read(",
        "fs::read_to_string(",
        "fs::write(",
        "fs::copy(",
        "NamedTempFile",
        "io::stdin",
    ];
    for (file, line) in lines_of_the_command() {
        let opens = OPENING.iter().any(|word| line.contains(word));
        assert!(!opens || file == "disk.rs", "{file}: this belongs to disk.rs: {line}");
        // Where a name is kept as it is, whoever draws it escapes it.
        let kept = line.contains("SourceFile::new") || line.contains("let name =") || file == "terminal.rs";
        let display = line.contains(".display()") && !kept && file != "import.rs";
        assert!(!display, "{file}: `shown()` ends no line: {line}");
    }
}

#[test]
fn the_lock_is_a_file_of_ours_or_there_is_none() {
    let place = Place::new();
    let apply = ["apply", "cluster.toml", "--to", "plans"];
    fs::create_dir(place.path("plans")).expect("directory");
    let lock = place.path("plans/.evenkeel.lock");
    place.write("precious", "mine\n");
    symlink(place.path("precious"), &lock).expect("link");
    place.refused(&apply, "it is a symbolic link");
    fs::remove_file(&lock).expect("remove");
    symlink(place.path("nothing"), &lock).expect("link");
    place.refused(&apply, "it is a symbolic link");
    assert!(!place.path("nothing").exists(), "a link is not followed to make a file");
    fs::remove_file(&lock).expect("remove");
    fs::hard_link(place.path("precious"), &lock).expect("link");
    place.refused(&apply, "another name");
    fs::remove_file(&lock).expect("remove");
    fifo(&lock);
    place.refused(&apply, "it is a device or a pipe");
    fs::remove_file(&lock).expect("remove");
    fs::create_dir(&lock).expect("directory");
    place.refused(&apply, "cannot lock");
    fs::remove_dir(&lock).expect("remove");
    place.write("plans/.evenkeel.lock", "my notes\n");
    place.refused(&apply, "was not written by evenkeel");
    assert_eq!(place.read("plans/.evenkeel.lock"), "my notes\n");
    assert_eq!(place.read("precious"), "mine\n");
    for left in ["", "evenkeel apply, process 1\n"] {
        place.write("plans/.evenkeel.lock", left);
        place.done(&apply);
        assert!(!lock.exists(), "removed by its holder");
    }
}

#[test]
fn what_is_no_file_in_a_directory_of_plans_stops_nobody() {
    let place = Place::new();
    place.done(&["compile", "cluster.toml", "--out", "plans"]);
    let commands: [&[&str]; 4] = [
        &["compile", "cluster.toml", "--out", "plans", "--check"],
        &["compile", "cluster.toml", "--out", "plans"],
        &["apply", "cluster.toml", "--to", "plans"],
        &["plan", "cluster.toml", "--against", "plans"],
    ];
    // Nobody wants these names.
    fifo(&place.path("plans/pipe.plan.toml"));
    fifo(&place.path("plans/pipe.secrets.toml"));
    symlink("/dev/zero", place.path("plans/zero.plan.toml")).expect("link");
    symlink("nowhere", place.path("plans/nowhere.plan.toml")).expect("link");
    fs::create_dir(place.path("plans/folder.plan.toml")).expect("directory");
    for command in commands {
        place.done(command);
    }
    assert!(fs::symlink_metadata(place.path("plans/zero.plan.toml")).is_ok(), "left alone");
    // These are wanted: a pipe is in the way, a link is replaced and not followed.
    for (name, kind) in
        [("dir1.plan.toml", "pipe"), ("rs1.plan.toml", "folder"), ("dir1.secrets.toml", "pipe")]
    {
        let path = place.path("plans").join(name);
        let kept = fs::read(&path).expect("plan");
        fs::remove_file(&path).expect("remove");
        if kind == "pipe" {
            fifo(&path)
        } else {
            fs::create_dir(&path).expect("directory")
        }
        for command in &commands[..3] {
            place.refused(command, &path.file_name().expect("name").to_string_lossy());
        }
        let _ = place.run(commands[3]);
        if kind == "pipe" { fs::remove_file(&path) } else { fs::remove_dir(&path) }.expect("remove");
        fs::write(&path, kept).expect("write");
    }
    place.write("precious", "mine\n");
    for (name, target) in
        [("dir1.plan.toml", "precious"), ("dir2.secrets.toml", "precious"), ("rs1.plan.toml", "no")]
    {
        let path = place.path("plans").join(name);
        fs::remove_file(&path).expect("remove");
        symlink(place.path(target), &path).expect("link");
        place.refused(commands[0], "out of date");
        place.done(commands[1]);
        assert!(fs::symlink_metadata(&path).expect("plan").is_file(), "{name} is a file again");
    }
    assert_eq!(place.read("precious"), "mine\n");
    assert!(!place.path("no").exists());
}

#[test]
fn a_directory_of_plans_may_be_a_link() {
    let place = Place::new();
    fs::create_dir(place.path("real")).expect("directory");
    symlink("real", place.path("plans")).expect("link");
    place.done(&["compile", "cluster.toml", "--out", "plans"]);
    place.done(&["apply", "cluster.toml", "--to", "plans/"]);
    assert!(place.path("real/dir1.plan.toml").is_file());
}

#[test]
fn what_is_written_takes_the_name_and_follows_nothing() {
    let place = Place::new();
    place.write("keepalived.conf", "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n}\n");
    let commands: [(&str, Vec<&str>); 4] = [
        ("out.svg", vec!["graph", "cluster.toml", "--out", "out.svg"]),
        ("change.plan", vec!["plan", "cluster.toml", "--against", "none", "--save", "change.plan"]),
        ("new.toml", vec!["import", "dir1=keepalived.conf", "--out", "new.toml"]),
        ("man/man5/evenkeel.toml.5", vec!["man", "man"]),
    ];
    place.write("precious", "# Imported from keepalived by `evenkeel import`\n");
    fs::create_dir_all(place.path("man/man5")).expect("directory");
    fs::create_dir_all(place.path("man/man1")).expect("directory");
    symlink(place.path("precious"), place.path("man/man1/evenkeel.1")).expect("link");
    for (name, command) in commands {
        let path = place.path(name);
        symlink(place.path("precious"), &path).expect("link");
        // An import that is not all there yet is an error, and written all the same.
        let (_, said) = place.run(&command);
        assert!(fs::symlink_metadata(&path).expect("file").is_file(), "{name} is still a link: {said}");
        fs::remove_file(&path).expect("remove");
        for kind in ["pipe", "folder"] {
            if kind == "pipe" {
                fifo(&path)
            } else {
                fs::create_dir(&path).expect("directory")
            }
            place.refused(&command, if kind == "pipe" { "device or a pipe" } else { "director" });
            if kind == "pipe" { fs::remove_file(&path) } else { fs::remove_dir(&path) }.expect("remove");
        }
    }
    assert_eq!(place.read("precious"), "# Imported from keepalived by `evenkeel import`\n");
    assert!(fs::symlink_metadata(place.path("man/man1/evenkeel.1")).expect("page").is_file());
    place.refused(&["graph", "cluster.toml", "--out", "/dev/stdout"], "it is a device");
    place.refused(&["plan", "cluster.toml", "--against", "none", "--save", "/dev/null"], "it is a device");
    let mode = |name: &str| fs::metadata(place.path(name)).expect("file").permissions().mode() & 0o077;
    place.done(&["plan", "cluster.toml", "--against", "none", "--save", "change.plan"]);
    assert_eq!(mode("change.plan"), 0, "what is planned is nobody else's business");
}

/// Nobody may ever write into it, and what is laid out is written back.
#[test]
fn fmt_takes_files_and_no_pipe_or_device() {
    let place = Place::new();
    fifo(&place.path("pipe.toml"));
    for more in [&[][..], &["--check"], &["--diff"]] {
        for odd in ["pipe.toml", "/dev/zero", "."] {
            let arguments: Vec<&str> =
                ["fmt"].iter().chain(more).copied().chain([odd, "cluster.toml"]).collect();
            let (code, said) = place.run(&arguments);
            assert!(code == 1 && said.contains(&format!("error: {odd} was left as it is")), "{odd}: {said}");
        }
    }
    assert!(
        !fs::symlink_metadata(place.path("pipe.toml")).expect("the pipe").is_file(),
        "it is a pipe still"
    );
}

#[test]
fn a_link_stays_in_the_tree_of_the_cluster_file() {
    let place = Place::new();
    place.write("outside/secret.toml", "VI_1 = \"hush-hush\"\nx\n");
    place.write("outside/.env", "PASSWORD=hush-hush\n");
    place.write("site/..data/cluster.toml", CLUSTER);
    let site = |name: &str, target: &str| {
        let path = place.path("site").join(name);
        let _ = fs::remove_file(&path);
        symlink(target, path).expect("link");
    };
    // As a ConfigMap is mounted.
    site("cluster.toml", "..data/cluster.toml");
    place.done(&["validate", "site/cluster.toml"]);
    place.done(&["fmt", "--check", "site/cluster.toml"]);
    for target in
        ["../outside/secret.toml", "../outside/.env", "/dev/zero", "/etc/passwd", "/proc/self/environ"]
    {
        site("cluster.toml", target);
        for command in [
            &["validate", "site/cluster.toml"][..],
            &["fmt", "--diff", "site/cluster.toml"],
            &["graph", "site/cluster.toml"],
        ] {
            let said = place.refused(command, "symbolic link");
            assert!(!said.contains("hush") && !said.contains("root:"), "{said}");
        }
        let (code, said) = place.run(&["validate", "cluster.toml", "--overlay", "site/cluster.toml"]);
        assert!(code == 1 && said.contains("symbolic link") && !said.contains("hush"), "{said}");
    }
    // A repository is one tree, but for what is no cluster file in it.
    git(&place, &["init", "--quiet"]);
    place.write("shared/cluster.toml", CLUSTER);
    site("cluster.toml", "../shared/cluster.toml");
    place.done(&["validate", "site/cluster.toml"]);
    place.refused(&["validate", "--untrusted", "site/cluster.toml"], "symbolic link");
    // A name that leads up and out of a repository is no link.
    fs::create_dir_all(place.path("inner/deep/.git")).expect("directory");
    let out = |file: &str| format!("inner/deep/../../inner/../{file}");
    place.done(&["validate", &out("shared/cluster.toml")]);
    place.done(&["validate", &out("cluster.toml"), "--overlay", &out("cluster.toml")]);
    site("cluster.toml", "../.git/config");
    let said = place.refused(&["validate", "site/cluster.toml"], "symbolic link to a file of another kind");
    assert!(!said.contains("repositoryformatversion"), "{said}");
    let elsewhere = tempfile::tempdir().expect("directory");
    fs::write(elsewhere.path().join("cluster.toml"), "hush-hush\n").expect("write");
    symlink(elsewhere.path(), place.path("link")).expect("link");
    let said = place.refused(&["validate", "link/cluster.toml"], "symbolic link");
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn only_files_called_like_cluster_files_are_included() {
    let place = Place::new();
    place.write(".env", "PASSWORD=hush-hush\n");
    place.write("notes.txt", "hush-hush\n");
    place.write("plans/dir1.secrets.toml", "VI_1 = \"hush-hush\"\n");
    place.write("plans/dir1.plan.toml", "hush-hush\n");
    for (include, words) in [
        (".env", "ends in `.toml`"),
        ("notes.txt", "ends in `.toml`"),
        ("*", "ends in `.toml`"),
        ("missing.conf", "ends in `.toml`"),
        ("plans/dir1.secrets.toml", "no cluster file"),
        ("plans/*.toml", "no cluster file"),
    ] {
        place.write("one.toml", &CLUSTER.replace("name = ", &format!("include = [\"{include}\"]\nname = ")));
        for format in ["human", "json", "github", "sarif"] {
            let said = place.refused(&["validate", "one.toml", "--format", format], words);
            assert!(said.contains("EK0009") && !said.contains("hush"), "{include}: {said}");
        }
    }
    place.write("one.toml", "include = [\"link.toml\"]\n");
    symlink(".env", place.path("link.toml")).expect("link");
    let said = place.refused(&["validate", "one.toml"], "symbolic link to a file of another kind");
    assert!(!said.contains("hush"), "{said}");
    // Nor does a link in the tree show secrets, plans, or what is hidden on any part of the way.
    place.write(".hidden/x.toml", "PASSWORD=hush-hush\n");
    symlink("plans/dir1.secrets.toml", place.path("innocent.toml")).expect("link");
    symlink(".hidden", place.path("seen")).expect("link");
    for (include, options) in
        [("innocent.toml", &[][..]), ("seen/x.toml", &[]), ("seen/x.toml", &["--untrusted"])]
    {
        place.write("one.toml", &format!("include = [\"{include}\"]\n"));
        let command = [&["validate", "one.toml"], options].concat();
        let said = place.refused(&command, "symbolic link to a file of another kind");
        assert!(!said.contains("hush"), "{said}");
    }
    let said = place.refused(&["validate", "innocent.toml"], "symbolic link to a file of another kind");
    assert!(!said.contains("hush"), "{said}");
    let (code, said) = place.run(&["validate", "/proc/self/environ"]);
    assert!(code == 1 && !said.contains("NO_COLOR="), "{said}");
    // Named by the user, but no cluster file by its name: it is read, and its lines are not shown.
    let said = place.refused(&["validate", ".env"], ".env:1:");
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn a_name_ends_no_line() {
    let place = Place::new();
    let forged = "a\n::error::forged\u{1b}[2J\u{202e}.toml";
    place.write(forged, "x\n");
    place.write("bad\n::error::forged/cluster.toml", CLUSTER);
    let folder = "bad\n::error::forged";
    for format in ["human", "json", "github", "sarif"] {
        place.refused(&["validate", forged, "--format", format], "EK0006");
        let (_, said) = place.run(&["validate", forged, "--format", format]);
        assert!(
            !said.lines().any(|line| line.trim_start().starts_with("::error::forged")),
            "{format}: {said}"
        );
        assert!(!said.contains(['\u{1b}', '\r']), "{format}: {said:?}");
        assert!(format == "json" || !said.contains('\u{202e}'), "{format}: {said:?}");
    }
    let cluster = format!("{folder}/cluster.toml");
    let (plans, saved, picture) =
        (format!("{folder}/plans"), format!("{folder}/x.plan"), format!("{folder}/x.svg"));
    place.write(&format!("{plans}/odd\n::error::forged.plan.toml"), "x");
    let (_, conf) =
        (place.write(&format!("{folder}/k.conf"), "nonsense {\n"), format!("dir1={folder}/k.conf"));
    for command in [
        &["compile", &cluster, "--out", &plans][..],
        &["apply", &cluster, "--to", &plans],
        &["plan", &cluster, "--against", &plans],
        &["plan", &cluster, "--against", &plans, "--format", "diff"],
        &["plan", &cluster, "--against", "none", "--save", &saved],
        &["plan", &cluster, "--against", &format!("git:{folder}")],
        &["plan", &cluster, "--against", folder],
        &["apply", &saved, "--to", &plans, "--secrets-from", &cluster],
        &["graph", &cluster, "--out", &picture],
        &["fmt", "--check", "--diff", &cluster, forged],
        &["import", &conf],
        &["import", &conf, "--out", &format!("{folder}/new.toml")],
        &["import", &format!("dir1={folder}/none.conf")],
        &["man", &format!("{folder}/man")],
        &["graph", &cluster, "--out", folder],
        &["explain", folder],
    ] {
        let (_, said) = place.run(command);
        assert!(
            !said.lines().any(|line| line.trim_start().starts_with("::error::forged")),
            "{command:?}: {said}"
        );
    }
}

#[test]
fn keys_and_values_end_no_line() {
    let place = Place::new();
    let odd = "\\n::error::forged\\u001b[2J\\u202e";
    let text = format!(
        "version = 1\n\"x{odd}\" = 1\nname = \"{odd}\"\ninclude = [\"{odd}.toml\"]\n[hosts]\n\"{odd}\" = {{ \
        address = \"{odd}\" }}\n\
         [services.web]\nrouter = \"{odd}\"\nprotocol = \"{odd}\"\nreal_servers = [{{ host = \"{odd}\" }}]\n\
         [ipvs.sysctls]\n\"{odd}\" = 1\n[virtual_routers.VI_1]\ndirectors = [\"{odd}\"]\n\
         priorities = {{ \"{odd}\" = 3 }}\n# \u{9b}2J\u{202e}\n[x\n"
    );
    for text in [text.clone(), text.replace("[x\n", ""), text.replace("[x\n", "").replace("include", "inc")] {
        place.write("odd.toml", &text);
        for format in ["human", "github", "sarif"] {
            let (code, said) = place.run(&["validate", "odd.toml", "--format", format]);
            assert_eq!(code, 1);
            assert!(!said.lines().any(|line| line.trim_start().starts_with("::error::forged")), "{said}");
            assert!(!said.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{format}: {said:?}");
        }
    }
}

#[test]
fn a_link_in_a_revision_is_not_followed_and_a_large_file_is_not_read_whole() {
    let place = Place::new();
    git(&place, &["init", "--quiet"]);
    symlink("cluster.toml", place.path("link.toml")).expect("link");
    place.write("large.toml", &"# x\n".repeat(5_000_000));
    git(&place, &["add", "."]);
    git(&place, &["commit", "--quiet", "--message", "x"]);
    place.refused(&["plan", "cluster.toml", "--against", "git:HEAD:link.toml"], "symbolic link");
    place.refused(&["plan", "cluster.toml", "--against", "git:HEAD:large.toml"], "too large");
    place.done(&["plan", "cluster.toml", "--against", "git:HEAD"]);
}
