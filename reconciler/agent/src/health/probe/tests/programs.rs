//! Checks by programs and files that behave, and that do not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use evenkeel_health::{Found, Says, Share};
use evenkeel_schemas::plan::Check;
use nix::sys::stat::Mode;

use super::{Tools, probe, run};

fn check(keys: &str) -> Check {
    let times = "interval = \"5s\"\ntimeout = \"2s\"\nretries = 0\nretry_delay = \"1s\"\n";
    toml::from_str(&format!("{times}{keys}")).unwrap_or_else(|error| panic!("{keys}: {error}"))
}

fn me() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("users").expect("a user").name
}

fn script(text: &str, more: &str) -> Check {
    check(&format!(
        "type = \"script\"\ncommand = [\"/bin/sh\", \"-c\", '{text}']\nuser = \"{}\"\n{more}",
        me()
    ))
}

async fn timed(check: &Check, tools: &Tools) -> (Found, Duration) {
    let began = Instant::now();
    (run(check, tools).await, began.elapsed())
}

#[tokio::test]
async fn a_program_says_by_its_end_what_is_the_matter() {
    let tools = Tools::new();
    for (text, said) in [
        ("exit 0", "up"),
        ("echo no disk; exit 3", "exit: exit code 3: no disk"),
        ("exit 2", "exit: exit code 2"),
        ("kill -TERM $$", "exit: ended by SIGTERM"),
    ] {
        let found = super::words(&run(&script(text, ""), &tools).await);
        assert_eq!(found, said, "{text}");
    }
    let dynamic = |code: i32| script(&format!("exit {code}"), "dynamic_weight = true\n");
    let weight = |weight| Found::Healthy(Says { share: Some(Share::Weight(weight)), ..Says::default() });
    assert_eq!(run(&dynamic(2), &tools).await, weight(0));
    assert_eq!(run(&dynamic(52), &tools).await, weight(50));
    assert_eq!(run(&dynamic(0), &tools).await, Found::healthy());
    assert_eq!(super::words(&run(&dynamic(1), &tools).await), "exit: exit code 1");
    let none = check(&format!("type = \"script\"\ncommand = [\"/no/such/program\"]\nuser = \"{}\"\n", me()));
    let found = run(&none, &tools).await;
    assert!(matches!(&found, Found::Ails(_)), "it says nothing of the target: {found:?}");
}

/// A program that ignores SIGTERM and has children in sessions of their own, none of which is left.
#[tokio::test]
async fn a_program_that_hangs_is_killed_with_what_it_started() {
    let tools = Tools::new();
    let scratch = tempfile::tempdir().expect("a directory");
    let pids = scratch.path().join("pids");
    let text = format!(
        "trap : TERM; echo $$ >> {0}; (setsid sh -c \"echo \\$\\$ >> {0}; sleep 60\" &); \
         (sh -c \"trap : TERM; echo \\$\\$ >> {0}; sleep 60; sleep 60\" &); sleep 60; sleep 60",
        pids.display()
    );
    let (found, took) = timed(&script(&text, ""), &tools).await;
    assert_eq!(super::words(&found), "timeout: killed after 2s");
    assert!(took < Duration::from_secs(6), "{took:?}");
    let pids = fs::read_to_string(pids).expect("numbers");
    assert_eq!(pids.lines().count(), 3, "{pids}");
    let lives =
        |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"));
    let until = Instant::now() + Duration::from_secs(10);
    while pids.lines().any(lives) {
        assert!(Instant::now() < until, "they live: {pids}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_file_says_why_and_one_that_cannot_be_read_says_nothing() {
    let tools = Tools::new();
    let scratch = tempfile::tempdir().expect("a directory");
    let path = |name: &str| scratch.path().join(name);
    let file = |name: &str, more: &str| {
        check(&format!("type = \"file\"\nfile = \"{}\"\n{more}", path(name).display()))
    };
    let at = scratch.path().display();
    fs::write(path("zero"), "0\n").expect("written");
    fs::write(path("why"), "disk is full\n").expect("written");
    fs::write(path("ok"), "state: ok\n").expect("written");
    nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).expect("made");
    fs::create_dir(path("directory")).expect("made");
    let huge = fs::File::create(path("huge")).expect("made");
    huge.set_len(1 << 40).expect("grown");
    fs::set_permissions(path("ok"), fs::Permissions::from_mode(0o666)).expect("chmod");
    let body = "body = \"ok$\"\n";
    for (name, more, said) in [
        ("zero", "", "up".to_owned()),
        ("none", "", "up".to_owned()),
        ("why", "", format!("said: {at}/why says `disk is full`")),
        ("ok", "body = \"ok\"\n", "up".to_owned()),
        ("why", body, format!("body: {at}/why does not match, it says `disk is full`")),
        ("none", body, format!("body: {at}/none is not there")),
    ] {
        assert_eq!(probe(&file(name, more), &tools).await, said);
    }
    for name in ["fifo", "directory"] {
        let (found, took) = timed(&file(name, ""), &tools).await;
        assert!(matches!(&found, Found::Ails(_)), "{name}: {found:?}");
        assert!(took < Duration::from_secs(1), "{name}: {took:?}");
    }
    let (found, took) = timed(&file("huge", ""), &tools).await;
    assert!(matches!(&found, Found::Failed(_)) && took < Duration::from_secs(1), "{took:?}: {found:?}");
}
