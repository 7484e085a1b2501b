//! Changes that operators make, with their stages and warnings as data: every folder of
//! `tests/changes/` has a cluster file before and after, and what `plan` says.
//!
//! `UPDATE=1 cargo test -p evenkeel --test change` writes the expectations anew; read the diff as
//! the operator who is about to apply it.
#![allow(clippy::disallowed_methods, reason = "reads its cases")]

use std::path::{Path, PathBuf};

use evenkeel::change::{self, Inputs, Origins};
use evenkeel::{SourceFile, render};
use evenkeel_schemas::scalars::Name;

use super::{fleet, walk};

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
    let cluster: Name = "story".parse().map_err(|_| "name")?;
    let (old_origins, new_origins) = (Origins::new(&old_source), Origins::new(&new_source));
    let change = change::change(&Inputs {
        cluster: &cluster,
        against: "git:HEAD",
        before: &before,
        after: &after,
        old_origins: old_origins.as_ref(),
        new_origins: new_origins.as_ref(),
        max_change,
    });
    let last = walk(&before, &after, &change::stages(&before, &after))
        .map_err(|error| format!("{}: {error}", story.display()))?;
    if last != after {
        return Err(format!("{}: the stages do not arrive", story.display()));
    }
    Ok(render::change(&change, false))
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
