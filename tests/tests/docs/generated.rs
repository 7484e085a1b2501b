//! Pages that are made of something else. Those of the command lines are made here: `UPDATE=1` with this test
//! writes them anew.

use std::fmt::Write;

use super::book::root;
use super::shell;

/// All of them. Tests of the compiler compare the first three (`reference`, `import`), one of the agent the
/// list of metrics.
pub(crate) const PAGES: [&str; 6] = [
    "docs/cluster.md",
    "docs/diagnostics.md",
    "docs/keepalived/keywords.md",
    "docs/evenkeel/commands.md",
    "docs/evenkeeld/commands.md",
    "docs/evenkeeld/every-metric.md",
];

/// Width of the help in a page, columns.
const WIDTH: usize = 100;

/// The help of a program and of each of its commands.
fn page(command: clap::Command, title: &str) -> String {
    let mut command = command.disable_help_subcommand(true).term_width(WIDTH);
    command.build();
    let mut page = format!("# {title}\n\nAs `--help` prints it, written by a test.\n");
    let seen: Vec<clap::Command> =
        command.get_subcommands().filter(|one| !one.is_hide_set()).cloned().collect();
    for mut one in std::iter::once(command).chain(seen) {
        let name = one.get_bin_name().unwrap_or_else(|| one.get_name()).to_owned();
        let help = one.render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim());
    }
    page
}

#[test]
fn the_pages_of_commands_are_current() {
    for (file, command, title) in [
        ("docs/evenkeel/commands.md", evenkeel::arguments::command(), "All options of evenkeel"),
        ("docs/evenkeeld/commands.md", evenkeel_agent::command(), "All options of evenkeeld"),
    ] {
        let (path, text) = (root().join(file), page(command, title));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).expect("write the page");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{file} is stale: run UPDATE=1 cargo test -p evenkeel-tests --test docs");
    }
}

/// Examples of the help are commands of the program, too.
#[test]
fn what_the_help_shows_is_known() {
    let mut seen = 0;
    let mut faults = Vec::new();
    for program in [evenkeel::arguments::command(), evenkeel_agent::command()] {
        for of in std::iter::once(&program).chain(program.get_subcommands()) {
            let help =
                of.get_after_help().map(ToString::to_string).unwrap_or_default().replace("\\\n    ", "");
            for line in help.lines().filter_map(|line| line.strip_prefix("  ")) {
                // What a command does stands behind it, apart from it.
                let command = line.find("  ").map_or(line, |end| &line[..end]);
                for words in shell::commands(command).iter().filter(|words| words[0] == program.get_name()) {
                    seen += 1;
                    if let Err(error) = program.clone().try_get_matches_from(words) {
                        faults.push(format!(
                            "{}: {}",
                            words.join(" "),
                            error.to_string().lines().next().unwrap_or_default()
                        ));
                    }
                }
            }
        }
    }
    assert!(seen > 50, "{seen} examples");
    super::none(&faults);
}
