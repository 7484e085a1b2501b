//! Standard output and standard error of commands. Everything that a command prints goes through here, so
//! that it ends as people and scripts expect:
//!
//! - a reader that has gone (`evenkeeld status | head -1`) is told nothing more, and the command goes on to
//!   its own end and exit code;
//! - output that cannot be written otherwise (a full disk) is an error.
//!
//! The daemon's log is not this file's: see `logging`.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

/// Exit code of wrong usage, as clap has it.
pub(crate) const USAGE: u8 = 2;

/// A program that only `evenkeeld` starts, and its help for people who start it by hand.
#[derive(Debug)]
pub(crate) struct Helper {
    /// Name of the program.
    pub(crate) name: &'static str,
    /// Names of the arguments that it is started with.
    arguments: &'static [&'static str],
    /// Purpose of the program, a sentence.
    pub(crate) about: &'static str,
    /// Reason why nobody starts it by hand, and what to do instead.
    pub(crate) instead: &'static str,
}

/// All helpers.
pub(crate) const HELPERS: [&Helper; 3] = [&EXEC, &GUARD, &PLAN];

pub(crate) const EXEC: Helper = Helper {
    name: "evenkeeld-exec",
    arguments: &[],
    about: "Runs one program of a plan for evenkeeld, and ends all that it started",
    instead: "evenkeeld starts it for each run of a hook, or of a tracker's script, and tells it by a socket \
        on its standard \
              input what to run. What became of the runs is in `evenkeeld status` and in the log.",
};
pub(crate) const GUARD: Helper = Helper {
    name: "evenkeeld-guard",
    arguments: &["SOCKET"],
    about: "Takes the VIPs of a dead evenkeeld away before another director claims them",
    instead: "evenkeeld starts it, and replaces it when it does not answer. SOCKET is where it listens: the \
        path of the \
              status socket and `.guard`.",
};
pub(crate) const PLAN: Helper = Helper {
    name: "evenkeeld-plan",
    arguments: &[],
    about: "Reads a plan on standard input, and writes what it says, or what is wrong with it",
    instead: "evenkeeld starts it for plans that are not as the compiler wrote them, and gives it the plan \
        without its first \
              line. To look at a plan: `evenkeeld diff --plan FILE`.",
};

impl Helper {
    /// Usage line of the program, without `Usage:`.
    pub(crate) fn usage(&self) -> String {
        std::iter::once(self.name).chain(self.arguments.iter().copied()).collect::<Vec<_>>().join(" ")
    }

    /// The arguments that it was started with. Help, the version and usage errors are printed here.
    ///
    /// When there are none to work with: the exit code.
    pub(crate) fn arguments(&self) -> Result<Vec<OsString>, ExitCode> {
        let by_hand = self.arguments.is_empty() && io::stdin().is_terminal();
        self.parse(std::env::args_os().skip(1).collect(), by_hand).map_err(|instead| match instead {
            Instead::Help(text) => print(text).map_or_else(
                |why| {
                    complain(format_args!("error: {why}"));
                    ExitCode::FAILURE
                },
                |()| ExitCode::SUCCESS,
            ),
            Instead::Usage(text) => {
                complain(text);
                ExitCode::from(USAGE)
            }
        })
    }

    fn parse(&self, given: Vec<OsString>, by_hand: bool) -> Result<Vec<OsString>, Instead> {
        let Self { name, about, instead, .. } = self;
        let usage = self.usage();
        if let [only] = given.as_slice() {
            if only == "--help" || only == "-h" {
                let options = "  -h, --help     Print help\n  -V, --version  Print version";
                let text = format!("{about}\n\nUsage: {usage}\n\nOptions:\n{options}\n\n{instead}\n");
                return Err(Instead::Help(text));
            }
            if only == "--version" || only == "-V" {
                return Err(Instead::Help(format!("{name} {}\n", env!("CARGO_PKG_VERSION"))));
            }
        }
        let wrong = |what: String| {
            Err(Instead::Usage(format!(
                "error: {what}; {name} is started by evenkeeld\n\nUsage: {usage}\n\nFor more information, \
                    try '--help'."
            )))
        };
        let is_option = |argument: &&OsString| argument.as_encoded_bytes().starts_with(b"-");
        let unexpected = given.iter().find(is_option).or_else(|| given.get(self.arguments.len()));
        if let Some(unexpected) = unexpected {
            return wrong(format!(
                "unexpected argument '{}' found",
                unexpected.display().to_string().escape_debug()
            ));
        }
        match self.arguments.get(given.len()) {
            Some(missing) => wrong(format!("{missing} is missing")),
            // It would wait for input that nobody types.
            None if by_hand => wrong("its standard input is a terminal".to_owned()),
            None => Ok(given),
        }
    }
}

/// Text to print instead of working.
#[derive(Debug, PartialEq, Eq)]
enum Instead {
    Help(String),
    Usage(String),
}

/// The parsed command line. Help, the version and usage errors are printed here.
///
/// When there is none to work with: the exit code.
pub(crate) fn arguments<C: Parser>() -> Result<C, ExitCode> {
    let matches = with_whole_usage(C::command()).try_get_matches();
    matches.and_then(|matches| C::from_arg_matches(&matches)).map_err(|error| explain(&error))
}

/// The command line with one usage line for each command, whatever the error: the usage lines that clap makes
/// for an error show the options that were given as if they were required.
pub(crate) fn with_whole_usage(mut command: clap::Command) -> clap::Command {
    command.build();
    let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |mut one| {
            let usage = one.render_usage().to_string();
            one.override_usage(usage.trim_start_matches("Usage: ").to_owned())
        });
    }
    command
}

/// Prints help, or a usage error. Returns the exit code.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match checked(printed) {
        // A usage error goes to standard error, and a failure to write it can be reported nowhere.
        Err(why) if !error.use_stderr() => {
            complain(format_args!("error: {why}"));
            ExitCode::FAILURE
        }
        _ => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// A result cannot be written.
#[derive(Debug)]
pub(crate) struct OutputError(io::Error);

impl Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write to standard output: {}", self.0)
    }
}

/// Prints a result.
///
/// # Errors
/// When it cannot be written, for another reason than that nobody reads it.
pub(crate) fn print(text: impl Display) -> Result<(), OutputError> {
    print_with(|output| write!(output, "{text}"))
}

/// Prints a long result piece by piece.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OutputError> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    checked(write(&mut output).and_then(|()| output.flush()))
}

fn checked(written: io::Result<()>) -> Result<(), OutputError> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(OutputError(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints an error to standard error, if anybody reads it.
pub(crate) fn complain(text: impl Display) {
    writeln!(io::stderr(), "{text}").ok();
}

/// Whether results are printed with colour.
pub(crate) fn with_color() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_accepts_only_the_arguments_that_it_is_started_with() {
        let say =
            |helper: &Helper, given: &[&str]| helper.parse(given.iter().map(OsString::from).collect(), false);
        for helper in HELPERS {
            for flag in ["--help", "-h"] {
                let Err(Instead::Help(text)) = say(helper, &[flag]) else { panic!("{flag}") };
                assert!(text.contains("Usage: ") && text.contains(helper.instead), "{text}");
            }
            assert!(
                matches!(say(helper, &["-V"]), Err(Instead::Help(text)) if text.starts_with(helper.name))
            );
            for wrong in [&["--nonsense"][..], &["a", "b"], &["--help", "--version"]] {
                assert!(matches!(say(helper, wrong), Err(Instead::Usage(_))), "{wrong:?}");
            }
        }
        assert_eq!(say(&PLAN, &[]), Ok(Vec::new()));
        assert!(
            matches!(PLAN.parse(Vec::new(), true), Err(Instead::Usage(text)) if text.contains("a terminal"))
        );
        assert_eq!(say(&GUARD, &["/run/x"]), Ok(vec![OsString::from("/run/x")]));
        let Err(Instead::Usage(text)) = say(&GUARD, &[]) else { panic!("a socket is missing") };
        assert!(
            text.starts_with("error: SOCKET is missing; ") && text.contains("Usage: evenkeeld-guard SOCKET"),
            "{text}"
        );
    }
}
