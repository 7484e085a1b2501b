//! The real daemon pulling from repositories that hang, trickle, break off or send too much: each bounded and
//! told, while the last good plan stays.

#[path = "support/repository.rs"]
mod repository;
#[path = "support/support.rs"]
mod support;
#[path = "support/web.rs"]
mod web;

use std::time::{Duration, Instant};

use repository::{Scene, allowed, generation};
use web::{Manner, PORT, Web};

/// Longest wait for an answer about the branch, with a margin for a busy machine.
const ANSWER: Duration = Duration::from_secs(45);

/// A scene whose repository is behind a web server, with one plan in force.
fn on_the_web() -> (Scene, Web) {
    let mut scene = Scene::new();
    let key = scene.key("good");
    scene.allow(&allowed(&key, ""));
    scene.commit(101, Some("good"));
    let address = format!("git+http://127.0.0.1:{PORT}/up.git#main:plans");
    let signers = scene.path("signers").display().to_string();
    scene.start(&address, &["--allowed-signers", &signers, "--poll", "1h"]);
    let web = Web::start(scene.process(), &scene.path("."));
    let (done, told) = scene.pull();
    assert!(done, "{told}{}", scene.log());
    scene.wait_plan(101);
    (scene, web)
}

/// Pulls, and waits until the status has trouble with these words.
#[track_caller]
fn trouble(scene: &Scene, words: &str) {
    let began = Instant::now();
    assert!(!scene.pull().0);
    scene.wait(words, |status| {
        let git = status.source.as_ref().and_then(|source| source.git.as_ref());
        let trouble = git.and_then(|git| git.trouble.as_ref());
        trouble.is_some_and(|trouble| trouble.reason.contains(words))
    });
    assert!(began.elapsed() < ANSWER, "{:?}", began.elapsed());
    assert_eq!(scene.status().plan.generation, Some(generation(101)));
    assert!(scene.log().contains(words), "{}", scene.log());
}

#[test]
fn a_server_that_breaks_off_never_answers_or_trickles_is_given_up() {
    let (scene, web) = on_the_web();
    scene.commit(102, Some("good"));
    for bytes in [0, 20, 150] {
        web.set(Manner::Cut(bytes));
        trouble(&scene, "git: ");
    }
    for manner in [Manner::Silent, Manner::Trickle] {
        web.set(manner);
        trouble(&scene, "30s");
        web.set(Manner::Cut(0));
        trouble(&scene, "git: ");
    }
    web.set(Manner::Whole);
    let (done, told) = scene.pull();
    assert!(done, "{told}{}", scene.log());
    scene.wait_plan(102);
}

#[test]
fn a_file_that_is_too_large_is_asked_for_its_size_and_more_than_a_pack_may_have_is_not_fetched() {
    const MIB: u64 = 1024 * 1024;
    let mut scene = Scene::new();
    let key = scene.key("good");
    scene.allow(&allowed(&key, ""));
    scene.commit(101, Some("good"));
    scene.start_signed(&[]);
    scene.wait_plan(101);
    let file = scene.path("work/plans/h.plan.toml");
    let make = |length: u64| {
        let file = std::fs::File::options().write(true).truncate(true).open(&file).expect("opened");
        file.set_len(length).expect("sized");
    };
    // A gigabyte of zeros is a small pack.
    make(1024 * MIB);
    scene.commit_all(Some("good"), &[]);
    scene.push();
    scene.refuses("is larger than 128 MiB", 101);
    // The same as many bytes as it says.
    for repository in ["up.git", "work"] {
        scene.run("git", &["config", "core.compression", "0"], repository);
        scene.run("git", &["config", "pack.compression", "0"], repository);
    }
    make(300 * MIB);
    scene.commit_all(Some("good"), &[]);
    scene.push();
    let began = Instant::now();
    assert!(!scene.pull().0);
    scene.wait("it is told", |status| {
        let git = status.source.as_ref().and_then(|source| source.git.as_ref());
        git.and_then(|git| git.trouble.as_ref()).is_some_and(|trouble| trouble.reason.starts_with("git: "))
    });
    assert_eq!(scene.status().plan.generation, Some(generation(101)));
    let here = scene.run("du", &["--summarize", "--block-size=1M", "state/source"], ".");
    let here: u64 = here.split_whitespace().next().and_then(|size| size.parse().ok()).expect("a size");
    assert!(here < 300, "{here} MiB");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    // Another commit is fetched at once.
    std::fs::remove_file(&file).expect("removed");
    scene.commit(102, Some("good"));
    assert!(scene.pull().0, "{}", scene.log());
    scene.wait_plan(102);
}
