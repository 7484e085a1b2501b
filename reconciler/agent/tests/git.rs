//! The real daemon pulling from real repositories with the real git and ssh-keygen: what is taken, and what
//! is refused while the last good plan stays.

#[path = "support/repository.rs"]
mod repository;
#[path = "support/support.rs"]
mod support;

use std::os::unix::fs::symlink;
use std::time::Duration;

use nix::sys::signal::Signal;

use repository::{Scene, allowed, generation, plan};

/// A scene with one signed commit in force, and its key.
fn signed(options: &[&str]) -> (Scene, String) {
    let mut scene = Scene::new();
    let key = scene.key("good");
    scene.allow(&allowed(&key, ""));
    scene.commit(101, Some("good"));
    scene.start_signed(options);
    scene.wait_plan(101);
    (scene, key)
}

#[test]
fn a_commit_is_taken_by_poll_by_signal_and_by_command_without_a_signer_that_is_asked_for() {
    let mut scene = Scene::new();
    let first = scene.commit(101, None);
    scene.start(&scene.address(), &["--poll", "1s"]);
    scene.wait_plan(101);
    assert!(scene.log().contains("no --allowed-signers"), "{}", scene.log());
    assert!(scene.log().contains("nothing is known of commits before"), "{}", scene.log());
    let git = scene.source();
    assert_eq!((git.commit, git.commits, git.signed, git.trouble), (Some(first), 1, false, None));
    let second = scene.commit(102, None);
    scene.wait_plan(102);
    assert_eq!(scene.source().commit, Some(second));
    scene.stop();
    // The next daemon has the plan before it has asked anybody, and goes on from the same commit.
    std::fs::rename(scene.path("up.git"), scene.path("gone")).expect("away");
    scene.start(&scene.address(), &["--poll", "1h"]);
    scene.wait_plan(102);
    let status = scene.wait("it is told", |status| {
        status.source.as_ref().and_then(|source| source.git.as_ref()).is_some_and(|git| git.trouble.is_some())
    });
    assert!(!status.plan.from_last_good);
    assert!(scene.log().contains("nothing new comes"), "{}", scene.log());
    std::fs::rename(scene.path("gone"), scene.path("up.git")).expect("back");
    scene.commit(103, None);
    scene.signal(Signal::SIGHUP);
    scene.wait_plan(103);
    scene.commit(104, None);
    let (done, told) = scene.pull();
    assert!(done && told.contains("is accepted"), "{told}");
    scene.wait_plan(104);
    assert_eq!((scene.source().commits, scene.source().trouble), (4, None));
    let (done, told) = scene.pull();
    assert!(done && told.contains("was accepted before"), "{told}");
}

#[test]
fn a_source_that_is_away_is_told_once() {
    let mut scene = Scene::new();
    scene.commit(101, None);
    scene.start(&scene.address(), &["--poll", "1s"]);
    scene.wait_plan(101);
    std::fs::rename(scene.path("up.git"), scene.path("gone")).expect("away");
    scene.refuses("does not", 101);
    std::thread::sleep(Duration::from_secs(3));
    let age = scene.source().age_ms.expect("an age");
    assert!(age >= 2000, "{age}");
    let lines = scene.log().lines().filter(|line| line.contains("nothing new comes")).count();
    assert_eq!(lines, 1, "{}", scene.log());
    std::fs::rename(scene.path("gone"), scene.path("up.git")).expect("back");
    scene.wait("it is back", |status| {
        status.source.as_ref().and_then(|source| source.git.as_ref()).is_some_and(|git| git.trouble.is_none())
    });
    assert!(scene.log().contains("all is well again"), "{}", scene.log());
}

#[test]
fn only_what_an_allowed_key_signed_is_taken() {
    let (scene, key) = signed(&[]);
    assert!(scene.log().contains("signed by a@example"), "{}", scene.log());
    assert!(!scene.log().contains("no --allowed-signers"));
    let other = scene.key("other");
    scene.commit(102, None);
    scene.refuses("has no SSH signature", 101);
    // A signed tip does not hide what is not signed on the way.
    scene.commit(103, Some("good"));
    scene.refuses("has no SSH signature", 101);
    scene.git(&["reset", "--quiet", "--hard", "HEAD~2"]);
    scene.commit(104, Some("other"));
    scene.refuses("which nobody has who is allowed to sign now", 101);
    scene.allow(&(allowed(&key, "") + &allowed(&other, "")));
    assert!(scene.pull().0);
    scene.wait_plan(104);
    // A signature of another kind of text.
    scene.allow(&allowed(&key, "namespaces=\"file\" "));
    scene.commit(105, Some("good"));
    scene.refuses("commit ", 104);
    scene.allow(&allowed(&key, "namespaces=\"git\" "));
    assert!(scene.pull().0);
    scene.wait_plan(105);
}

#[test]
fn an_empty_or_missing_file_of_signers_refuses_everything() {
    let (scene, key) = signed(&[]);
    scene.commit(102, Some("good"));
    for lines in ["", "# nobody\n\n"] {
        scene.allow(lines);
        scene.refuses("nobody is allowed to sign now", 101);
    }
    std::fs::remove_file(scene.path("signers")).expect("removed");
    scene.refuses("cannot read", 101);
    scene.allow(&allowed(&key, ""));
    assert!(scene.pull().0);
    scene.wait_plan(102);
}

/// The commit says that it was made while the key was good.
#[test]
fn a_key_is_judged_now_and_not_at_the_date_of_the_commit() {
    let (scene, key) = signed(&[]);
    let back = ["--date=2020-06-01T00:00:00Z"];
    scene.write_plan(102);
    scene.git(&["add", "--all"]);
    scene.run(
        "env",
        &[
            "GIT_COMMITTER_DATE=2020-06-01T00:00:00Z",
            "git",
            "-c",
            "gpg.format=ssh",
            "-c",
            &format!("user.signingKey={}", scene.path("keys/good").display()),
            "commit",
            "--quiet",
            "--gpg-sign",
            "--message=old",
            back[0],
        ],
        "work",
    );
    scene.push();
    scene.allow(&allowed(&key, "valid-before=\"20200701Z\" "));
    scene.refuses("nobody is allowed to sign now", 101);
    assert!(scene.log().contains("line 1: its time is over"), "{}", scene.log());
    let second = allowed(&scene.key("second"), "");
    scene.allow(&(allowed(&key, "valid-before=\"20200701Z\" ") + &second));
    scene.refuses("which nobody has who is allowed to sign now", 101);
    scene.allow(&(allowed(&key, "valid-after=\"20990101Z\" ") + &second));
    scene.refuses("which nobody has who is allowed to sign now", 101);
    scene.allow(&allowed(&key, "valid-after=\"20210101Z\",valid-before=\"20990101Z\" "));
    assert!(scene.pull().0, "{}", scene.log());
    scene.wait_plan(102);
}

#[test]
fn a_revoked_key_signs_nothing_and_a_missing_list_refuses_everything() {
    let mut scene = Scene::new();
    let key = scene.key("good");
    let other = scene.key("other");
    scene.allow(&(allowed(&key, "") + &allowed(&other, "")));
    let revoked = scene.path("revoked");
    std::fs::write(&revoked, format!("{other}\n")).expect("write");
    scene.commit(101, Some("good"));
    let path = revoked.display().to_string();
    scene.start_signed(&["--revoked-keys", &path]);
    scene.wait_plan(101);
    scene.commit(102, Some("other"));
    scene.refuses("its key is revoked", 101);
    std::fs::remove_file(&revoked).expect("removed");
    scene.refuses("cannot read", 101);
    std::fs::write(&revoked, "").expect("write");
    assert!(scene.pull().0, "{}", scene.log());
    scene.wait_plan(102);
}

/// git takes the kind of a signature from the commit.
#[test]
fn a_gpg_signature_is_refused_whoever_has_the_key() {
    let (scene, _) = signed(&[]);
    let home = scene.path("gnupg").display().to_string();
    std::fs::create_dir(&home).expect("made");
    let batch =
        ["--homedir", &home, "--batch", "--passphrase", "", "--quick-gen-key", "a@example", "ed25519"];
    scene.run("chmod", &["700", &home], ".");
    scene.run("gpg", &batch, ".");
    scene.write_plan(102);
    scene.git(&["add", "--all"]);
    let home = format!("GNUPGHOME={home}");
    let words = ["git", "commit", "--quiet", "--gpg-sign=a@example", "--message=gpg"];
    scene.run("env", &[&[home.as_str()], &words[..]].concat(), "work");
    assert!(scene.git(&["cat-file", "commit", "HEAD"]).contains("BEGIN PGP SIGNATURE"));
    // The user's own key ring, which a git that runs as that user would ask.
    scene.run("env", &[&home, "git", "verify-commit", "HEAD"], "work");
    scene.push();
    scene.refuses("has no SSH signature", 101);
}

#[test]
fn a_branch_that_goes_back_or_is_rewritten_is_refused_until_an_operator_accepts_it() {
    let (mut scene, _) = signed(&[]);
    scene.commit(102, Some("good"));
    let third = scene.commit(103, Some("good"));
    assert!(scene.pull().0);
    scene.wait_plan(103);
    assert_eq!(scene.source().commits, 3);
    scene.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    scene.push();
    scene.refuses("the branch went back to", 103);
    scene.stop();
    scene.start_signed(&[]);
    scene.refuses("the branch went back to", 103);
    let other = scene.commit(104, Some("good"));
    scene.refuses("the branch was rewritten", 103);
    let wrong = scene.evenkeeld(&["accept", &third]);
    assert!(!wrong.status.success(), "the tip is another one");
    let done = scene.evenkeeld(&["accept", &other]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    scene.wait_plan(104);
    assert_eq!(scene.source().commit.as_deref(), Some(other.as_str()));
    // A branch that has nothing to do with the one before.
    scene.git(&["checkout", "--quiet", "--orphan", "fresh"]);
    scene.commit(105, Some("good"));
    scene.refuses("the branch was rewritten", 104);
}

#[test]
fn a_state_directory_that_was_emptied_is_told_and_asks_where_that_is_wanted() {
    let (mut scene, _) = signed(&[]);
    scene.commit(102, Some("good"));
    assert!(scene.pull().0);
    scene.wait_plan(102);
    scene.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    scene.push();
    let old = scene.git(&["rev-parse", "HEAD"]);
    scene.stop();
    std::fs::remove_dir_all(scene.path("state")).expect("emptied");
    scene.start_signed(&["--require-newer"]);
    let (done, told) = scene.pull();
    assert!(!done && told.contains(&format!("`evenkeeld accept {old}`")), "{told}");
    assert_eq!(scene.status().plan.generation, None);
    scene.stop();
    std::fs::remove_dir_all(scene.path("state")).expect("emptied");
    std::fs::remove_file(scene.path("log")).expect("removed");
    scene.start_signed(&[]);
    scene.wait_plan(101);
    assert!(scene.log().contains("it may be an old one"), "{}", scene.log());
    scene.stop();
    std::fs::remove_dir_all(scene.path("state")).expect("emptied");
    scene.start_signed(&["--require-newer"]);
    assert!(scene.evenkeeld(&["accept", &old]).status.success());
    scene.wait_plan(101);
}

#[test]
fn only_a_file_within_the_limit_is_a_plan() {
    let (scene, _) = signed(&[]);
    let file = scene.path("work/plans/h.plan.toml");
    let commit = |remove: bool| {
        if remove {
            std::fs::remove_file(&file).ok();
        }
    };
    commit(true);
    symlink("/etc/passwd", &file).expect("link");
    scene.commit_all(Some("good"), &[]);
    scene.push();
    scene.refuses("is a symbolic link, not a file", 101);
    commit(true);
    scene.commit_all(Some("good"), &[]);
    scene.push();
    scene.refuses("has no file plans/h.plan.toml", 101);
    std::fs::create_dir(&file).expect("directory");
    std::fs::write(file.join("x"), "x").expect("write");
    scene.commit_all(Some("good"), &[]);
    scene.push();
    scene.refuses("is a directory, not a file", 101);
    std::fs::remove_dir_all(&file).expect("removed");
    let tip = scene.git(&["rev-parse", "HEAD"]);
    scene.git(&["rm", "--quiet", "-r", "--cached", "plans"]);
    scene.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{tip},plans/h.plan.toml")]);
    let key = format!("user.signingKey={}", scene.path("keys/good").display());
    let words = ["-c", "gpg.format=ssh", "-c", &key, "commit", "--quiet", "--gpg-sign", "--message=module"];
    scene.git(&words);
    scene.push();
    scene.refuses("is a submodule, not a file", 101);
    // The way leads through a link.
    scene.git(&["rm", "--quiet", "--cached", "plans/h.plan.toml"]);
    std::fs::remove_dir_all(scene.path("work/plans")).ok();
    std::fs::create_dir(scene.path("work/real")).expect("directory");
    std::fs::write(scene.path("work/real/h.plan.toml"), plan(102)).expect("write");
    symlink("real", scene.path("work/plans")).expect("link");
    scene.commit_all(Some("good"), &[]);
    scene.push();
    scene.refuses("has no file plans/h.plan.toml", 101);
    std::fs::remove_file(scene.path("work/plans")).expect("removed");
    scene.commit(102, Some("good"));
    assert!(scene.pull().0, "{}", scene.log());
    scene.wait_plan(102);
    // A plan that is broken, in a commit that is good: the next commit repairs it.
    std::fs::write(&file, plan(103).replace("priority", "priorty")).expect("write");
    scene.commit_all(Some("good"), &[]);
    scene.push();
    let (done, told) = scene.pull();
    assert!(!done && told.contains("its plan is refused"), "{told}");
    let status = scene.wait("it is told", |status| status.plan.rejected.is_some());
    assert_eq!(status.plan.generation, Some(generation(102)));
    scene.commit(104, Some("good"));
    assert!(scene.pull().0);
    scene.wait_plan(104);
}

/// Root is not above the modes of files there, and gives no file away.
#[test]
fn the_rights_of_the_unit_are_enough() {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/systemd/evenkeeld.service");
    let unit = std::fs::read_to_string(unit).expect("the unit");
    let rights =
        "\nCapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_NICE CAP_SETUID CAP_SETGID CAP_KILL\n";
    assert!(unit.contains(rights), "the test gives others than the unit");
    let mut scene = Scene::new();
    scene.as_by_unit = true;
    scene.allow(&allowed(&scene.key("good"), ""));
    for priority in [101, 102] {
        scene.commit(priority, Some("good"));
        scene.start_signed(&[]);
        scene.wait_plan(priority);
        scene.stop();
    }
}

/// The branch began before the commit that was accepted first, where nobody had signed yet.
#[test]
fn a_merge_is_taken_when_it_and_what_it_brings_is_signed() {
    let mut scene = Scene::new();
    scene.allow(&allowed(&scene.key("good"), ""));
    scene.commit(100, None);
    scene.git(&["branch", "side"]);
    scene.commit(101, Some("good"));
    scene.start_signed(&[]);
    scene.wait_plan(101);
    let signing = format!("user.signingKey={}", scene.path("keys/good").display());
    let merge = ["-c", "gpg.format=ssh", "-c", &signing, "merge", "--quiet", "--gpg-sign", "--no-ff", "side"];
    scene.git(&["checkout", "--quiet", "side"]);
    std::fs::write(scene.path("work/text"), "signed").expect("write");
    scene.commit_all(Some("good"), &[]);
    scene.git(&["checkout", "--quiet", "main"]);
    scene.git(&merge);
    scene.commit(102, Some("good"));
    let (done, told) = scene.pull();
    assert!(done, "{told}{}", scene.log());
    scene.wait_plan(102);
    assert_eq!(scene.source().commits, 4);
    scene.git(&["checkout", "--quiet", "side"]);
    std::fs::write(scene.path("work/text"), "not signed").expect("write");
    scene.commit_all(None, &[]);
    scene.git(&["checkout", "--quiet", "main"]);
    scene.git(&merge);
    scene.push();
    scene.refuses("has no SSH signature", 102);
}

/// What was accepted stays accepted when its key ends: nothing is wrong with a branch that rests.
#[test]
fn a_key_that_ends_later_is_no_trouble() {
    let (mut scene, key) = signed(&[]);
    scene.allow(&(allowed(&key, "valid-before=\"20200101Z\" ") + &allowed(&scene.key("other"), "")));
    let (done, told) = scene.pull();
    assert!(done && told.contains("was accepted before"), "{told}");
    scene.stop();
    scene.start_signed(&[]);
    assert!(scene.pull().0);
    assert_eq!(scene.source().trouble, None);
    scene.wait_plan(101);
}

#[test]
fn a_pause_holds_for_a_directory_too() {
    let mut scene = Scene::new();
    let put = |scene: &Scene, priority: u8| {
        std::fs::create_dir_all(scene.path("etc")).expect("etc");
        std::fs::write(scene.path("next"), plan(priority)).expect("write");
        std::fs::rename(scene.path("next"), scene.path("etc/h.plan.toml")).expect("renamed");
    };
    put(&scene, 101);
    let directory = scene.path("etc").display().to_string();
    scene.start(&directory, &[]);
    scene.wait_plan(101);
    assert!(scene.evenkeeld(&["pause"]).status.success());
    put(&scene, 102);
    let (done, told) = scene.pull();
    assert!(!done && told.contains("Nothing new is taken until"), "{told}");
    scene.wait_plan(101);
    scene.stop();
    scene.start(&directory, &[]);
    scene.wait_plan(101);
    assert!(scene.status().plan.from_last_good);
    assert!(!scene.evenkeeld(&["accept", &"a".repeat(40)]).status.success());
    assert!(scene.evenkeeld(&["resume"]).status.success());
    scene.wait_plan(102);
}

#[test]
fn an_address_that_is_not_understood_ends_the_start() {
    let scene = Scene::new();
    for (source, words) in [
        ("git+https://git.example/n#refs/tags/v1:", "is no branch"),
        ("git+http://git.example/n#main:", "it needs allowed signers"),
        ("ftp://git.example/n", "neither a repository"),
    ] {
        let plan = scene.path("etc").display().to_string();
        let output = scene.evenkeeld(&["run", "--source", source, "--plan", &plan, "--host", "h"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && told.contains(words), "{told}");
    }
}

#[test]
fn a_paused_host_takes_nothing_new_until_the_time_is_over() {
    let (mut scene, _) = signed(&[]);
    assert!(scene.evenkeeld(&["pause", "--for", "1h"]).status.success());
    scene.commit(102, Some("good"));
    let (done, told) = scene.pull();
    assert!(!done && told.contains("Nothing new is taken until"), "{told}");
    scene.stop();
    scene.start_signed(&[]);
    scene.wait_plan(101);
    assert!(!scene.pull().0);
    let page = scene.evenkeeld(&["status"]).stdout;
    assert!(String::from_utf8_lossy(&page).contains("PAUSED until"));
    assert!(scene.evenkeeld(&["resume"]).status.success());
    scene.wait_plan(102);
    assert_eq!(scene.status().source.expect("a source").paused_until, None);
    scene.stop();
    let signers = scene.path("signers").display().to_string();
    scene.start(&scene.address(), &["--allowed-signers", &signers, "--poll", "1s"]);
    scene.wait_plan(102);
    assert!(scene.evenkeeld(&["pause", "--for", "5s"]).status.success());
    scene.commit(103, Some("good"));
    assert!(!scene.pull().0);
    scene.wait_plan(103);
}
