//! Commands that the documents show are known to the programs that they name: `evenkeel` and `evenkeeld` by
//! their own definition of the command line, scripts and cargo by what there is.
//!
//! In a block each command must be complete. Inline code may leave out arguments that are required, and may
//! have a word in capitals for a value.

use std::process::Command;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::book::{BOOK, Library, Line, root};
use super::shell;

/// Languages of blocks that documents use. `sh` is commands and nothing else; `console` has `$ ` before each
/// and shows what they print.
const LANGUAGES: [&str; 8] = ["sh", "console", "toml", "text", "rust", "json", "diff", "mermaid"];
/// Words that begin inline code which is a command.
const PROGRAMS: [&str; 2] = ["evenkeel", "evenkeeld"];
/// Scripts whose first argument is one of the words in them.
const SCRIPTS: [&str; 5] = ["examples/demo", "tests/run", "tests/measure", "tests/soak", "tests/fuzz/run"];

/// Commands that are none.
pub(crate) fn faults(library: &Library) -> Vec<String> {
    let known = Known::read();
    let mut faults = Vec::new();
    for (path, document) in &library.documents {
        let mut judge = |line: Line, text: &str, whole: bool| {
            for command in shell::commands(text) {
                if let Err(why) = known.judge(&command, whole) {
                    faults.push(format!("{path}:{line}: `{}`: {why}", command.join(" ")));
                }
            }
        };
        for (code, line) in &document.codes {
            if PROGRAMS
                .iter()
                .any(|program| code.strip_prefix(program).is_some_and(|rest| rest.starts_with(' ')))
            {
                judge(*line, code, false);
            }
        }
        for block in &document.blocks {
            match block.kind().0 {
                "sh" => judge(block.line, &block.text, true),
                "console" => {
                    let commands = block.text.lines().filter_map(|line| line.strip_prefix("$ "));
                    commands.for_each(|command| judge(block.line, command, true));
                }
                _ => {}
            }
        }
        let strange = document.blocks.iter().filter(|block| !LANGUAGES.contains(&block.kind().0));
        faults.extend(strange.map(|block| match &block.info {
            Some(info) if path.starts_with(BOOK) || !info.is_empty() => {
                format!("{path}:{}: a block in `{info}`, which is none of {LANGUAGES:?}", block.line)
            }
            _ => format!("{path}:{}: a block without a language", block.line),
        }));
    }
    faults
}

/// Knowledge by which commands are judged.
struct Known {
    programs: [clap::Command; 2],
    workspace: serde_json::Value,
}

impl Known {
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
            .current_dir(root())
            .output()
            .expect("cargo metadata");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self {
            programs: [evenkeel::arguments::command(), evenkeel_agent::command()],
            workspace: serde_json::from_slice(&output.stdout).expect("JSON"),
        }
    }

    /// `whole`: nothing that is required is left out.
    fn judge(&self, words: &[String], whole: bool) -> Result<(), String> {
        let name = words[0].as_str();
        if let Some(program) = self.programs.iter().find(|program| program.get_name() == name) {
            return match program.clone().try_get_matches_from(words) {
                Ok(_) => Ok(()),
                Err(error) if is_fine(&error, whole) => Ok(()),
                Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
            };
        }
        if SCRIPTS.contains(&name) {
            return script(name, &words[1..]);
        }
        if name == "cargo" {
            return self.cargo(&words[1..]);
        }
        Ok(())
    }

    /// That packages and what is built of them exist.
    fn cargo(&self, words: &[String]) -> Result<(), String> {
        let packages = self.workspace["packages"].as_array().expect("packages");
        let value = |flag: &str| words.iter().skip_while(|word| *word != flag).nth(1);
        let package = match value("-p") {
            Some(name) => {
                let found = packages.iter().find(|package| package["name"] == **name);
                Some(found.ok_or_else(|| format!("there is no package {name}"))?)
            }
            None => None,
        };
        for kind in ["test", "bench", "example", "bin"] {
            let Some(name) = value(&format!("--{kind}")) else { continue };
            let targets = package.into_iter().chain(packages.iter().filter(|_| package.is_none()));
            let mut targets = targets.filter_map(|package| package["targets"].as_array()).flatten();
            let is_it = |target: &serde_json::Value| {
                target["name"] == **name
                    && target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|one| one == kind))
            };
            if !targets.any(is_it) {
                return Err(format!("there is no {kind} {name} in it"));
            }
        }
        match value("--path") {
            Some(path) if !root().join(path).join("Cargo.toml").exists() => {
                Err(format!("there is no package at {path}"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether help was asked for, or, where a command need not be whole, whether only something is missing or
/// has a word in capitals for it.
fn is_fine(error: &clap::Error, whole: bool) -> bool {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument => !whole,
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = error.get(ContextKind::InvalidValue);
            !whole && matches!(value, Some(ContextValue::String(value)) if is_placeholder(value))
        }
        _ => false,
    }
}

/// Nothing after an option, or a word in capitals, such as `[NAME]`.
fn is_placeholder(value: &str) -> bool {
    let value = value.trim_matches(['[', ']']);
    value.len() != 1 && value.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

fn script(name: &str, arguments: &[String]) -> Result<(), String> {
    let text = std::fs::read_to_string(root().join(name)).map_err(|_| format!("there is no {name}"))?;
    let Some(first) = arguments.first() else { return Ok(()) };
    let target = root().join("tests/fuzz/targets").join(format!("{first}.rs"));
    let is_target = name == "tests/fuzz/run" && target.exists();
    let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '-');
    if is_target || words.any(|word| word == first) {
        Ok(())
    } else {
        Err(format!("{name} knows no {first}"))
    }
}

#[test]
fn what_no_program_knows_is_found() {
    let good = "# A\n\n`evenkeel compile` `evenkeeld failover ROUTER` `evenkeel apply FILE --stage STAGE` \
        `evenkeel plan --save` `evenkeel`\n\n```sh\nevenkeel compile c.toml --out p # x\ncargo \
                test -p evenkeel --test judge -- --ignored\ntests/measure gap 20\n```\n\n```console\n$ \
                evenkeeld status\nevenkeeld what is printed\n```\n";
    assert_eq!(faults(&Library::of(&[("docs/a.md", good)])), Vec::<String>::new());
    for (bad, word) in [
        ("`evenkeel compiel c.toml`", "unrecognized subcommand"),
        ("`evenkeel compile --outt DIR`", "unexpected argument"),
        ("`evenkeel compile --format xml`", "invalid value"),
        ("`evenkeeld run --realtime 100`", "invalid value"),
        ("```sh\nevenkeel compile c.toml\n```", "required arguments"),
        ("```sh\nA=b evenkeel validate c.toml | evenkeeld stattus\n```", "stattus"),
        ("```console\n$ evenkeeld drain\n```", "required arguments"),
        ("```sh\ntests/measure gapp 20\n```", "knows no gapp"),
        ("```sh\ntests/fuzz/run txt 20\n```", "knows no txt"),
        ("```sh\ncargo test -p evenkeel --test juge\n```", "no test juge"),
        ("```sh\ncargo test -p evenkel\n```", "no package evenkel"),
        ("```sh\ncargo install --path compiller\n```", "no package at"),
        ("```\nx\n```", "a block"),
        ("```yaml\nx\n```", "`yaml`"),
        ("    indented", "without a language"),
    ] {
        let text = format!("# A\n\n{bad}\n");
        let found = faults(&Library::of(&[("docs/a.md", &text)]));
        assert!(found.len() == 1 && found[0].contains(word), "{bad}: {found:?}");
    }
}
