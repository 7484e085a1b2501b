//! Changes that operators make, with their stages and warnings as data: every folder of
//! `tests/changes/` has a cluster file before and after, and what `plan` says.
//!
//! `UPDATE=1 cargo test -p evenkeel --test change` writes the expectations anew; read the diff as
//! the operator who is about to apply it.
#![allow(clippy::disallowed_methods, reason = "reads its cases")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use evenkeel::change::{self, Comparison, Inputs};
use evenkeel::render::{self, View};
use evenkeel::{SourceFile, compile_with_origins};
use evenkeel_schemas::change::Action;
use evenkeel_schemas::scalars::Name;

use super::{fleet, inputs, walk};

fn stories() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/changes");
    let mut stories: Vec<_> =
        std::fs::read_dir(root).expect("changes").map(|entry| entry.expect("entry").path()).collect();
    stories.sort();
    assert!(stories.len() > 10, "the stories have gone");
    stories
}

/// What `plan` prints, and every state on the way checked.
fn report(story: &Path) -> Result<String, String> {
    let text = |name: &str| {
        std::fs::read_to_string(story.join(name))
            .map_err(|error| format!("{}/{name}: {error}", story.display()))
    };
    let (old, new) = (text("before.toml")?, text("after.toml")?);
    let (old_source, new_source) = (
        SourceFile::new("git:HEAD:cluster.toml", old.as_str()),
        SourceFile::new("cluster.toml", new.as_str()),
    );
    let (before, after) = (fleet(&old), fleet(&new));
    let max_change = evenkeel::compile(&new_source).cluster.and_then(|cluster| cluster.max_change());
    let origins = |source| compile_with_origins(source).1;
    let (old_origins, new_origins) = (origins(&old_source), origins(&new_source));
    let cluster: Name = "story".parse().map_err(|_| "name")?;
    let comparison = Comparison::new(&Inputs {
        old_origins: old_origins.as_ref(),
        new_origins: new_origins.as_ref(),
        max_change,
        ..inputs(&cluster, &before, &after)
    });
    tells_everything(&comparison).map_err(|error| format!("{}: {error}", story.display()))?;
    let last = walk(&before, &after, &change::stages(&before, &after))
        .map_err(|error| format!("{}: {error}", story.display()))?;
    if last != after {
        return Err(format!("{}: the stages do not arrive", story.display()));
    }
    Ok(told(&comparison, &View::default()))
}

fn told(comparison: &Comparison<'_>, view: &View<'_>) -> String {
    let mut out = String::new();
    render::change(comparison, view, false, &mut out).expect("a String takes everything");
    out
}

/// Each object of a host is told where that host is asked for, and all that is told of hosts is told of all.
fn tells_everything(comparison: &Comparison<'_>) -> Result<(), String> {
    let objects = |text: &str| -> BTreeSet<String> {
        let object = |line: &&str| ["  + ", "  ~ ", "  - "].iter().any(|sign| line.starts_with(sign));
        // Where it comes from may differ from host to host.
        let what = |line: &str| line.split("  # ").next().unwrap_or_default().to_owned();
        text.lines().filter(object).map(what).collect()
    };
    let all = objects(&told(comparison, &View::default()));
    let mut together = BTreeSet::new();
    for host in comparison.document().hosts {
        let only = BTreeSet::from([host.host.clone()]);
        let text = told(comparison, &View { hosts: Some(&only), full: true, summary: false });
        let own = objects(&text);
        if own.len() != host.objects.len() {
            return Err(format!(
                "{} has {} objects, {} are told:\n{text}",
                host.host,
                host.objects.len(),
                own.len()
            ));
        }
        let fields: usize = host
            .objects
            .iter()
            .filter(|object| object.action != Action::Remove)
            .map(|object| object.fields.len())
            .sum();
        let lines = text.lines().filter(|line| line.starts_with("      ")).count();
        if lines != fields {
            return Err(format!("{} has {fields} fields, {lines} are told with --full:\n{text}", host.host));
        }
        together.extend(own);
    }
    // Hosts that are told together are not named each.
    let unnamed = |objects: BTreeSet<String>| -> BTreeSet<String> {
        objects
            .into_iter()
            .map(|line| if line.starts_with("  ~ host") { "  ~ host".to_owned() } else { line })
            .collect()
    };
    let (all, together) = (unnamed(all), unnamed(together));
    if all == together { Ok(()) } else { Err(format!("of all hosts: {all:#?}\nof each: {together:#?}")) }
}

#[test]
fn stories_are_told_as_expected() {
    let mut wrong = Vec::new();
    for story in stories() {
        let file = story.join("expected.txt");
        let actual = report(&story).unwrap_or_else(|error| panic!("{error}"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, &actual).expect("write");
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if actual != expected {
            wrong.push(format!("{}: expected\n{expected}\nbut got\n{actual}", story.display()));
        }
    }
    assert!(wrong.is_empty(), "{} stories differ:\n{}", wrong.len(), wrong.join("\n"));
}
