//! Laws of `plan`: nothing changes between equals, a change is the whole difference, the order of
//! the file means nothing, and every state on the way keeps the rules.

use std::collections::BTreeMap;

use evenkeel::change::{self, Comparison, Fleet, Inputs, Stage, rules};
use evenkeel::{SourceFile, compile, emit};
use evenkeel_schemas::change::{Change, StepKind};
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Name;
use proptest::prelude::*;

mod model;
mod stories;

use model::BYTES;

pub(crate) fn fleet(text: &str) -> Fleet {
    let compilation = compile(&SourceFile::new("cluster.toml", text));
    let cluster = compilation.cluster.unwrap_or_else(|| panic!("{text}\n{:#?}", compilation.diagnostics));
    change::compiled(&cluster)
}

/// What the compiler writes, read again.
fn written(text: &str) -> Fleet {
    let cluster = compile(&SourceFile::new("cluster.toml", text)).cluster.expect("a valid cluster");
    change::fleet(&emit(&cluster)).expect("plans of this compiler")
}

pub(crate) fn inputs<'a>(cluster: &'a Name, before: &'a Fleet, after: &'a Fleet) -> Inputs<'a> {
    Inputs {
        cluster,
        against: "git:HEAD",
        before,
        after,
        old_origins: None,
        new_origins: None,
        max_change: None,
    }
}

pub(crate) fn difference(before: &Fleet, after: &Fleet) -> Change {
    let cluster: Name = "pair".parse().expect("name");
    change::change(&inputs(&cluster, before, after))
}

/// Hosts that take their plans of a stage: all choices when there are few hosts, else some.
fn choices(hosts: usize) -> Vec<u32> {
    let all = (1_u32 << hosts) - 1;
    if hosts <= 4 {
        return (0..=all).collect();
    }
    let singles = (0..hosts).map(|host| 1 << host);
    singles.clone().chain(singles.map(|one| all & !one)).chain([0, all, all & 0x5555, all & 0xaaaa]).collect()
}

/// Every state that the stages lead through keeps the rules. Gives the last state.
pub(crate) fn walk(before: &Fleet, after: &Fleet, stages: &[Stage]) -> Result<Fleet, String> {
    let mut now = before.clone();
    for (number, stage) in (1..).zip(stages) {
        let mut next = now.clone();
        for choice in choices(stage.steps.len()) {
            let mut state = now.clone();
            for (_, (host, step)) in stage.steps.iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1) {
                match step.state(host, before, after) {
                    Some(has) => _ = state.insert(host.clone(), has),
                    None => _ = state.remove(host),
                }
            }
            let broken = rules::broken(&rules::State { before, after, now: &state });
            if !broken.is_empty() {
                let hosts: Vec<&Name> = stage.steps.keys().collect();
                return Err(format!(
                    "stage {number} ({}), {choice:b} of {hosts:?}: {broken:#?}",
                    stage.title
                ));
            }
            if choice + 1 == 1 << stage.steps.len() {
                next = state;
            }
        }
        now = next;
    }
    Ok(now)
}

/// The first host that is not the same in both.
fn apart(a: &Fleet, b: &Fleet) -> String {
    let differs = a.keys().chain(b.keys()).find(|host| a.get(*host) != b.get(*host));
    differs.map_or_else(String::new, |host| format!("{host}: {:#?}\nagainst {:#?}", a.get(host), b.get(host)))
}

fn plans(fleet: &Fleet) -> BTreeMap<Name, Plan> {
    fleet.iter().map(|(name, state)| (name.clone(), state.plan.clone())).collect()
}

/// Two inputs that differ in a few bytes, or in all.
fn pairs() -> impl Strategy<Value = ([u8; BYTES], [u8; BYTES])> {
    let few = prop::collection::vec((0..BYTES, any::<u8>()), 0..6);
    (
        prop::array::uniform::<_, BYTES>(any::<u8>()),
        prop_oneof![
            3 => few.prop_map(Some),
            1 => Just(None),
        ],
        prop::array::uniform::<_, BYTES>(any::<u8>()),
    )
        .prop_map(|(first, few, other)| {
            let mut second = first;
            match few {
                Some(few) => few.into_iter().for_each(|(at, byte)| second[at] = byte),
                None => second = other,
            }
            (first, second)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases / 4))]

    #[test]
    fn equal_clusters_have_no_difference(bytes in prop::array::uniform::<_, BYTES>(any::<u8>())) {
        let fleet = fleet(&model::text(&bytes));
        let change = difference(&fleet, &fleet.clone());
        prop_assert!(change.hosts.is_empty() && change.stages.is_empty() && change.warnings.is_empty());
        prop_assert!(change.refusals.is_empty());
        prop_assert_eq!(change.summary.hosts, fleet.len() as u64);
    }

    #[test]
    fn what_is_compared_is_what_is_written(bytes in prop::array::uniform::<_, BYTES>(any::<u8>())) {
        let text = model::text(&bytes);
        let (made, written) = (fleet(&text), written(&text));
        prop_assert!(made == written, "{}", apart(&made, &written));
    }

    #[test]
    fn a_document_written_bit_by_bit_is_the_same((first, second) in pairs()) {
        let (before, after) = (fleet(&model::text(&first)), fleet(&model::text(&second)));
        let cluster: Name = "pair".parse().expect("name");
        let comparison = Comparison::new(&inputs(&cluster, &before, &after));
        let document = change::PlanDocument { comparison: &comparison, hosts: None };
        let mut text = String::new();
        document.write(&mut text).expect("a text takes everything");
        prop_assert_eq!(text, serde_json::to_string_pretty(&comparison.document()).expect("JSON") + "\n");
    }

    #[test]
    fn a_change_is_the_whole_difference((first, second) in pairs()) {
        let (before, after) = (fleet(&model::text(&first)), fleet(&model::text(&second)));
        let change = difference(&before, &after);
        let made = change::apply(&change, &plans(&before)).expect("made from these plans");
        let wanted: BTreeMap<Name, Plan> =
            plans(&after).into_iter().map(|(name, plan)| (name, change::normal(&plan))).collect();
        prop_assert_eq!(made, wanted);
        let written = serde_json::to_string(&change).expect("JSON");
        let read: Change = serde_json::from_str(&written).expect("JSON");
        prop_assert_eq!(read, change);
        prop_assert!(!written.contains("\"one\"") && !written.contains("\"two\""), "a secret: {}", written);
    }

    #[test]
    fn every_state_on_the_way_keeps_the_rules((first, second) in pairs()) {
        let (before, after) = (fleet(&model::text(&first)), fleet(&model::text(&second)));
        let stages = change::stages(&before, &after);
        match walk(&before, &after, &stages) {
            Ok(last) => {
                prop_assert!(last == after, "not there after the last stage: {}", apart(&last, &after))
            }
            Err(error) => prop_assert!(
                false,
                "{}\n--- from\n{}\n--- to\n{}",
                error,
                model::text(&first),
                model::text(&second)
            ),
        }
        let described = difference(&before, &after).stages;
        for (host, state) in &after {
            let last =
                described.iter().rev().find_map(|stage| stage.hosts.iter().find(|step| step.host == *host));
            prop_assert!(last.is_none_or(|step| step.step == StepKind::Whole), "{} {:?}", host, state.plan);
        }
    }

    /// Who takes one stage and plans again gets to the end too, and on a way as safe.
    #[test]
    fn one_stage_at_a_time_arrives((first, second) in pairs()) {
        let (start, after) = (fleet(&model::text(&first)), fleet(&model::text(&second)));
        let mut now = start;
        for _ in 0..16 {
            let stages = change::stages(&now, &after);
            let Some(next) = stages.first() else {
                break;
            };
            now = walk(&now, &after, std::slice::from_ref(next)).map_err(|error| {
                TestCaseError::fail(format!(
                    "{error}\n--- from\n{}\n--- to\n{}",
                    model::text(&first),
                    model::text(&second)
                ))
            })?;
        }
        prop_assert!(now == after, "{}", apart(&now, &after));
    }

    #[test]
    fn the_order_of_the_file_means_nothing((first, second) in pairs()) {
        let (before, after) = (model::text(&first), model::text(&second));
        let turned = |text: &str| {
            let table: toml::Table = text.parse().expect("TOML");
            toml::to_string(&turn(toml::Value::Table(table), "")).expect("TOML")
        };
        let change = difference(&fleet(&before), &fleet(&after));
        prop_assert_eq!(change, difference(&fleet(&turned(&before)), &fleet(&turned(&after))));
    }
}

/// Every table and list turned round, but those of directors and command lines, whose order means something.
fn turn(value: toml::Value, key: &str) -> toml::Value {
    match value {
        toml::Value::Table(table) => {
            let turned = table.into_iter().rev().map(|(key, value)| {
                let value = turn(value, &key);
                (key, value)
            });
            toml::Value::Table(turned.collect())
        }
        toml::Value::Array(items) if !["directors", "command"].contains(&key) => {
            toml::Value::Array(items.into_iter().rev().map(|item| turn(item, key)).collect())
        }
        other => other,
    }
}
