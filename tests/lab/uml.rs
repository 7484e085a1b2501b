//! The host side: boots one User-Mode Linux process, relays its console, enforces the limits and leaves
//! nothing behind. Knows nothing of what runs in the guest but the verdict it leaves.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, Write, pipe};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::verdict::{
    Ended, Failure, LIMIT, ON_DEMAND, OUTPUT_ENDS, OUTPUT_STARTS, Options, PASSED, REFUSED, SHARE,
    SHARE_IN_GUEST, STAGE, TOLD, verdict_file,
};

/// Where Debian's package puts the guest kernel's modules.
pub(crate) const HOST_MODULES: &str = "/usr/lib/uml/modules";
/// The host's environment, in the shared directory.
pub(crate) const ENVIRONMENT_FILE: &str = "environment";
/// The guest's own word for having run out of time.
pub(crate) const TIME_IS_UP: &str = "time is up";
/// How a kernel says that it ends.
pub(crate) const KERNEL_PANIC: &str = "Kernel panic";
/// Set to keep the shared directory (logs, artefacts) after the test and print its path.
const KEEP: &str = "EVENKEEL_LAB_KEEP";

const PREREQUISITES: [(&str, &str); 5] = [
    ("linux.uml", "user-mode-linux"),
    ("modprobe", "kmod"),
    ("ip", "iproute2"),
    ("ipvsadm", "ipvsadm"),
    ("setpriv", "util-linux"),
];
/// The kernel would spend most of a second of its boot finding the fastest RAID code.
const SKIPPED_BENCHMARKS: &str = "initcall_blacklist=raid6_select_algo,calibrate_xor_blocks";
/// Beyond the test's own limit: booting, on a machine busy compiling.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// The same where people wait: whoever is in a hurry has Ctrl-C.
const PATIENT_BOOT_LIMIT: Duration = Duration::from_secs(300);
/// How long the guest may take from its verdict to being gone.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(10);
/// The guest ends an overlong test itself, this much before the host would.
const GRACE: Duration = Duration::from_secs(10);
/// Console lines that are not the test's, and lines of each log, shown when a test fails.
const LINES_SHOWN: usize = 80;
const DIRECTORY_PREFIX: &str = "evenkeel-lab-";
/// A dead process's directory younger than this may belong to a process we cannot see (another container).
const STALE_AFTER: Duration = Duration::from_secs(600);

/// Reader of what a guest prints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// libtest, and who looks into a failure.
    Test,
    /// Somebody at a terminal: no logs are shown, and a signal ends it in good order.
    People,
}

/// Boots a guest whose first process is this executable with `arguments`; returns the test's verdict.
pub(crate) fn boot(options: &Options, arguments: &[String]) -> Result<(), Failure> {
    boot_for(Audience::Test, options, arguments)
}

/// The same for a program that people watch: a signal that would end this process ends the guest, and all is
/// removed.
pub(crate) fn boot_for_people(options: &Options, arguments: &[String]) -> Result<(), Failure> {
    boot_for(Audience::People, options, arguments)
}

fn boot_for(audience: Audience, options: &Options, arguments: &[String]) -> Result<(), Failure> {
    let (heard, hears) = mpsc::channel();
    if audience == Audience::People {
        hear_signals(heard.clone()).map_err(|error| Failure::Missing(format!("signals: {error}")))?;
    }
    let programs = find_programs()?;
    remove_stale_directories();
    let directory = TempDir::with_prefix(format!("{DIRECTORY_PREFIX}{}-", std::process::id()))
        .map_err(|error| Failure::Missing(format!("a temporary directory: {error}")))?;
    let share = directory.path().join("share");
    prepare_share(&share).map_err(|error| Failure::Missing(format!("a directory to share: {error}")))?;

    let (console, console_writer) = pipe().map_err(|error| Failure::Missing(format!("a pipe: {error}")))?;
    let mut command = kernel_command(&programs, directory.path(), &share, options, arguments)?;
    command.stdin(Stdio::null()).stdout(console_writer.try_clone().map_err(no_pipe)?).stderr(console_writer);
    let kernel =
        command.spawn().map_err(|error| Failure::Missing(format!("linux.uml does not start: {error}")))?;
    // The command holds our copies of the pipe's writing end: without it the console ends with the kernel.
    drop(command);
    let mut machine = Machine { kernel, ended: false };

    read_lines(console, heard);
    let mut relayed = relay(&hears, options.time_limit, audience);
    machine.end();
    // Read long ago, and it may hold secrets: nothing to keep.
    let _ = fs::remove_file(share.join(ENVIRONMENT_FILE));
    let outcome = match relayed.cut.take() {
        Some(failure) => Err(failure),
        None => judge(&share, relayed, options),
    };
    if outcome.is_err() && audience == Audience::Test {
        show_logs(&share);
    }
    if std::env::var_os(KEEP).is_some() {
        println!("kept: {}", directory.keep().display());
    }
    outcome
}

fn no_pipe(error: std::io::Error) -> Failure {
    Failure::Missing(format!("a pipe: {error}"))
}

/// Every needed program by name, or how to get what is missing.
fn find_programs() -> Result<BTreeMap<&'static str, PathBuf>, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from)).collect();
    let mut found = BTreeMap::new();
    let mut missing = Vec::new();
    for (program, package) in PREREQUISITES {
        match places.iter().map(|place| place.join(program)).find(|file| file.is_file()) {
            Some(file) => _ = found.insert(program, file),
            None => missing.push((program, package)),
        }
    }
    if missing.is_empty() && !Path::new(HOST_MODULES).is_dir() {
        missing.push((HOST_MODULES, "user-mode-linux"));
    }
    if missing.is_empty() {
        return Ok(found);
    }
    let names: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    Err(Failure::Missing(format!("no {}. install: apt-get install {}", names.join(", "), packages.join(" "))))
}

/// The kernel and its command line. `setpriv` has it die with the calling thread, should the test be killed.
fn kernel_command(
    programs: &BTreeMap<&str, PathBuf>,
    directory: &Path,
    share: &Path,
    options: &Options,
    arguments: &[String],
) -> Result<Command, Failure> {
    let executable =
        std::env::current_exe().map_err(|error| Failure::Missing(format!("the own path: {error}")))?;
    let limit = options.time_limit.as_secs();
    let mut command = Command::new(&programs["setpriv"]);
    command
        .args(["--pdeathsig", "TERM", "--"])
        .arg(&programs["linux.uml"])
        .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "loglevel=1", "panic=-1"])
        .arg(SKIPPED_BENCHMARKS)
        .args(["con=null", "ssl=null", "con0=fd:0,fd:1"])
        .arg(format!("mem={}M", options.memory_megabytes))
        .arg(format!("uml_dir={}", directory.display()))
        .arg("umid=uml")
        .arg(quoted(&format!("init={}", executable.display())))
        .args([
            format!("{STAGE}=init"),
            quoted(&format!("{SHARE}={}", share.display())),
            format!("{LIMIT}={limit}"),
            format!("{ON_DEMAND}={}", options.on_demand.join(",")),
            format!("{REFUSED}={}", options.refused.join(",")),
        ])
        .args((!options.ipv6).then_some("ipv6.disable=1"))
        .arg("--")
        .args(arguments.iter().map(|argument| quoted(argument)))
        .env_clear()
        .env("TMPDIR", memory_directory(options))
        .process_group(0);
    unblock_signals(&mut command);
    if let Some(library) = wide_register_library(directory)? {
        command.env("LD_PRELOAD", library);
    }
    Ok(command)
}

/// A word of the kernel's command line, which is split at blanks outside quotes.
fn quoted(word: &str) -> String {
    if word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word.to_owned() }
}

/// Where the file that is the guest's memory goes: the first place in memory that is big enough and lets code
/// run.
fn memory_directory(options: &Options) -> PathBuf {
    let needed = u64::from(options.memory_megabytes) << 20;
    let shared_memory = Path::new("/dev/shm");
    match statvfs(shared_memory) {
        Ok(facts)
            if facts.blocks_available() * facts.fragment_size() >= needed
                && !facts.flags().contains(FsFlags::ST_NOEXEC) =>
        {
            shared_memory.to_owned()
        }
        _ => std::env::temp_dir(),
    }
}

/// On CPUs with more registers than User-Mode Linux knows of, builds the little library that makes it run
/// nonetheless.
fn wide_register_library(directory: &Path) -> Result<Option<PathBuf>, Failure> {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    if !flags.split_whitespace().any(|flag| flag == "amx_tile" || flag.starts_with("apx")) {
        return Ok(None);
    }
    let (source, library) = (directory.join("xsave.c"), directory.join("xsave.so"));
    let built = fs::write(&source, include_str!("xsave.c")).and_then(|()| {
        Command::new("cc")
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl")
            .output()
    });
    match built {
        Ok(output) if output.status.success() => Ok(Some(library)),
        Ok(output) => Err(Failure::Missing(format!("cc: {}", String::from_utf8_lossy(&output.stderr)))),
        Err(error) => {
            Err(Failure::Missing(format!("no cc ({error}). install: apt-get install gcc libc6-dev")))
        }
    }
}

/// The shared directory with what the guest must know; nothing of the guest's writes leaves it.
fn prepare_share(share: &Path) -> std::io::Result<()> {
    fs::create_dir_all(share.join("logs"))?;
    let mut file = fs::File::create(share.join(ENVIRONMENT_FILE))?;
    for (name, value) in std::env::vars_os() {
        let here_only =
            name == "TMPDIR" || name == "LLVM_PROFILE_FILE" || name == "LD_PRELOAD" || name == "PWD";
        if !here_only {
            write_variable(&mut file, &name, &value)?;
        }
    }
    write_variable(&mut file, OsStr::new("PWD"), std::env::current_dir()?.as_os_str())?;
    write_variable(&mut file, OsStr::new("LLVM_PROFILE_FILE"), OsStr::new("/dev/null"))
}

fn write_variable(file: &mut fs::File, name: &OsStr, value: &OsStr) -> std::io::Result<()> {
    file.write_all(&[name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat())
}

/// The running kernel; killed with all its processes when dropped.
struct Machine {
    kernel: Child,
    ended: bool,
}

impl Machine {
    fn end(&mut self) {
        if self.ended {
            return;
        }
        self.ended = true;
        // The leader is not reaped yet, so the group's number is still ours, also when the kernel has ended
        // by itself.
        let _ = killpg(Pid::from_raw(self.kernel.id().cast_signed()), Signal::SIGKILL);
        let _ = self.kernel.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// The signals that end a program for people.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// A message to the host side.
enum Heard {
    /// A line of the console.
    Line(String),
    /// The kernel is gone.
    Gone,
    /// A signal that would end this process.
    Signal(Signal),
}

/// From now on the first signal that would end this process is heard instead. Before any other thread is
/// made: all inherit the mask.
fn hear_signals(heard: Sender<Heard>) -> nix::Result<()> {
    let ending: SigSet = ENDING.into_iter().collect();
    ending.thread_block()?;
    std::thread::spawn(move || {
        if let Ok(signal) = ending.wait() {
            // Fails when all is over already.
            let _ = heard.send(Heard::Signal(signal));
        }
    });
    Ok(())
}

/// The kernel gets signals that its parent blocks.
#[allow(unsafe_code, reason = "the way between fork and exec: one system call")]
fn unblock_signals(command: &mut Command) {
    let unblock = || {
        let ending: SigSet = ENDING.into_iter().collect();
        ending.thread_unblock().map_err(std::io::Error::from)
    };
    unsafe { command.pre_exec(unblock) };
}

/// Reads the console's lines on a thread of its own.
fn read_lines(console: PipeReader, sender: Sender<Heard>) {
    std::thread::spawn(move || {
        let mut console = BufReader::new(console);
        let mut line = Vec::new();
        while console.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(Heard::Line(text.trim_end_matches(['\n', '\r']).to_owned())).is_err() {
                return;
            }
            line.clear();
        }
        let _ = sender.send(Heard::Gone);
    });
}

/// News of the console.
struct Relayed {
    /// The test has started.
    started: bool,
    /// The host's limit passed.
    timed_out: bool,
    /// Why it was not listened to to its end.
    cut: Option<Failure>,
    /// Lines that were not the test's: boot messages, kernel panics.
    noise: Vec<String>,
}

/// Prints the test's own lines as they come, until the kernel is gone or a limit has passed.
fn relay(heard: &Receiver<Heard>, time_limit: Duration, audience: Audience) -> Relayed {
    let mut relayed = Relayed { started: false, timed_out: false, cut: None, noise: Vec::new() };
    let mut in_output = false;
    let mut deadline = Instant::now()
        + match audience {
            Audience::Test => BOOT_LIMIT,
            Audience::People => PATIENT_BOOT_LIMIT,
        };
    loop {
        let line = match heard.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Heard::Line(line)) => line,
            Ok(Heard::Gone) | Err(RecvTimeoutError::Disconnected) => return relayed,
            Ok(Heard::Signal(signal)) => {
                relayed.cut = Some(Failure::Interrupted(signal));
                return relayed;
            }
            Err(RecvTimeoutError::Timeout) => {
                relayed.timed_out = true;
                return relayed;
            }
        };
        let mut told = None;
        match line {
            line if line == OUTPUT_STARTS => {
                (relayed.started, in_output) = (true, true);
                relayed.noise.clear();
                deadline = Instant::now() + time_limit + GRACE;
            }
            line if line.ends_with(OUTPUT_ENDS) => {
                let unfinished = line.trim_end_matches(OUTPUT_ENDS);
                told = (in_output && !unfinished.is_empty()).then(|| unfinished.to_owned());
                in_output = false;
                deadline = Instant::now() + POWER_OFF_LIMIT;
            }
            // What follows is a trace, which is for who looks into it.
            line if audience == Audience::People && line.contains(KERNEL_PANIC) => {
                in_output = false;
                relayed.noise.push(line);
            }
            line if in_output => told = Some(line),
            line => relayed.noise.push(line),
        }
        if told.is_some_and(|line| say(audience, &line).is_err()) {
            relayed.cut = Some(Failure::Unread);
            return relayed;
        }
    }
}

/// Prints a line.
///
/// # Errors
/// When people have closed the pipe. libtest captures what it is told by the macro only, and that does not
/// fail.
fn say(audience: Audience, line: &str) -> std::io::Result<()> {
    match audience {
        Audience::Test => println!("{line}"),
        Audience::People => writeln!(std::io::stdout(), "{line}")?,
    }
    Ok(())
}

fn judge(share: &Path, relayed: Relayed, options: &Options) -> Result<(), Failure> {
    let verdict = fs::read_to_string(verdict_file(share)).unwrap_or_default();
    let (word, message) = verdict.split_once('\n').unwrap_or_default();
    let tail = relayed.noise[relayed.noise.len().saturating_sub(LINES_SHOWN)..].join("\n");
    match word {
        PASSED => Ok(()),
        TOLD => {
            let (code, text) = message.split_once('\n').unwrap_or(("1", message));
            Err(Failure::Told(Ended { code: code.parse().unwrap_or(1), text: text.to_owned() }))
        }
        "" if !relayed.started => Err(Failure::NotBooted(tail)),
        "" if relayed.timed_out => Err(Failure::TimedOut(options.time_limit)),
        "" => Err(Failure::Died(format!("without a verdict; its last words are above\n{tail}"))),
        _ if message == TIME_IS_UP => Err(Failure::TimedOut(options.time_limit)),
        _ if message.starts_with("panicked at") => Err(Failure::Panicked(message.to_owned())),
        _ => Err(Failure::Died(format!("{message}\n{tail}"))),
    }
}

/// Prints the end of every log the guest left.
fn show_logs(share: &Path) {
    let mut logs: Vec<PathBuf> = fs::read_dir(share.join("logs"))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    logs.sort();
    for log in logs {
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let name = log.file_name().unwrap_or_default().display();
        println!("--- {name}, last of {} lines (seen in the guest under {SHARE_IN_GUEST}/logs)", lines.len());
        for line in &lines[lines.len().saturating_sub(LINES_SHOWN)..] {
            println!("{line}");
        }
    }
}

/// Removes what tests killed from outside could not: directories whose process is gone.
fn remove_stale_directories() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(DIRECTORY_PREFIX)?.split('-').next()?.parse::<u32>().ok());
        let age = entry
            .metadata()
            .and_then(|facts| facts.modified())
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        let dead = owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists());
        if dead && age.is_some_and(|age| age > STALE_AFTER) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
