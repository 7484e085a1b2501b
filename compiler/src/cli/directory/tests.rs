//! A run that ends between any two operations leaves every file old or new, and the next run
//! finishes.

use std::collections::BTreeMap;
use std::io;

use evenkeel::{SourceFile, compile, emit};

use super::*;

fn hosts(text: &str) -> Vec<HostPlan> {
    let compilation = compile(&SourceFile::new("cluster.toml", text));
    emit(compilation.cluster.as_ref().unwrap_or_else(|| panic!("{:#?}", compilation.diagnostics)))
}

fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).expect("directory").map(|entry| entry.expect("entry").path());
    let file = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        Kind::of(&name)?;
        Some((name, fs::read_to_string(&path).expect("text")))
    };
    entries.filter_map(file).collect()
}

#[test]
fn a_run_that_ends_anywhere_leaves_old_or_new_and_the_next_one_finishes() {
    const CLUSTER: &str = include_str!("../../../../examples/lvs-dr/cluster.toml");
    let old = hosts(CLUSTER);
    // Everything at once: hosts come and go, plans change, secrets come, change and go.
    let changed = CLUSTER
        .replace("dir2 = { address", "dir3 = { address")
        .replace("\"dir2\"]", "\"dir3\"]")
        .replace("hell>com", "hell.com")
        .replace("host = \"rs1\", weight = 100", "host = \"rs1\", weight = 50");
    let new = hosts(&changed);
    let name: Name = "lvs-dr".parse().expect("name");
    let place = tempfile::tempdir().expect("directory");
    let fresh = |text: &[HostPlan], directory: &Path| {
        carry_out(directory, &compare(directory, &name, text).expect("work")).expect("write");
        files(directory)
    };
    let wanted = fresh(&new, &place.path().join("new"));
    let mut ends = 0;
    for end in 0.. {
        let directory = place.path().join(format!("run{end}"));
        let before = fresh(&old, &directory);
        let work = compare(&directory, &name, &new).expect("work");
        let mut left = end;
        let ended = carry_out_step_by_step(&directory, &work, &mut || {
            left -= 1;
            if left < 0 { Err(io::Error::other("power cut")) } else { Ok(()) }
        });
        let after = files(&directory);
        for file in before.keys().chain(wanted.keys()) {
            let now = after.get(file);
            assert!(
                now == before.get(file) || now == wanted.get(file),
                "{file} after {end} operations: {now:?}"
            );
        }
        for plan in after.keys().filter(|name| name.ends_with(PLAN_SUFFIX)) {
            let secrets = plan.replace(PLAN_SUFFIX, SECRETS_SUFFIX);
            assert!(
                !after[plan].contains("compiled =") || after.contains_key(&secrets),
                "{plan} lost its secrets"
            );
        }
        assert_eq!(fresh(&new, &directory), wanted, "after {end} operations");
        if ended.is_ok() {
            break;
        }
        ends += 1;
    }
    assert!(ends > 20, "{ends} operations");
}
