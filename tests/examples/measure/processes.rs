//! Processor time and memory of the processes of a daemon. All of its processes count.

use lab::{Daemon, Host};
use nix::unistd::{SysconfVar, sysconf};

/// The processes of a daemon: itself, and on its host all of its programs, whose names begin with its own
/// (the guardian, `evenkeeld-guard`, is a child that left its session).
fn processes(host: &Host, daemon: &Daemon) -> Vec<(u32, String)> {
    let own = std::fs::read_link(format!("/proc/{}/exe", daemon.pid())).expect("the daemon runs");
    let entries = host.enter(|| {
        let all = std::fs::read_dir("/proc").expect("/proc");
        all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).collect::<Vec<_>>()
    });
    // So it is called once its file was replaced.
    let own = own.as_os_str().as_encoded_bytes();
    let own = own.strip_suffix(b" (deleted)").unwrap_or(own);
    let same = |pid: &u32| {
        let program = std::fs::read_link(format!("/proc/{pid}/exe"));
        program.is_ok_and(|program| program.as_os_str().as_encoded_bytes().starts_with(own))
    };
    let stat = |pid: u32| Some((pid, std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?));
    entries.into_iter().filter(same).filter_map(stat).collect()
}

/// Processor time of all of their threads since these began.
pub(crate) fn cpu_seconds(host: &Host, daemon: &Daemon) -> f64 {
    processes(host, daemon).iter().map(|(pid, stat)| exact(*pid).unwrap_or_else(|| sampled(stat))).sum()
}

/// As the scheduler counts it. The other count goes by who runs when the clock ticks, which says little about
/// who runs for moments.
fn exact(pid: u32) -> Option<f64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let files: Vec<_> = threads.filter_map(|thread| Some(thread.ok()?.path().join("schedstat"))).collect();
    let nanoseconds = |file: &std::path::PathBuf| {
        std::fs::read_to_string(file).ok()?.split(' ').next()?.parse::<f64>().ok()
    };
    let each: Option<Vec<f64>> = files.iter().map(nanoseconds).collect();
    each.map(|each| each.iter().sum::<f64>() / 1e9)
}

fn sampled(stat: &str) -> f64 {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
    // After the name, which is in parentheses and may hold blanks: state is field 3, utime and stime are 14
    // and 15.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields = rest.split(' ').skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / ticks
}

/// Memory that each process has for itself (private, clean and dirty), and together what is theirs when
/// shared pages are divided among those who share them. What is resident says little: it counts whatever of a
/// file happens to be mapped, as often as it is.
pub(crate) fn memory(host: &Host, daemon: &Daemon) -> String {
    let pids: Vec<u32> = processes(host, daemon).into_iter().map(|(pid, _)| pid).collect();
    let rollup = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let texts: Vec<String> = pids.iter().map(rollup).collect();
    let private: Vec<f64> = texts.iter().map(|text| megabytes(text, "Private_")).collect();
    let words: Vec<String> = private.iter().map(|size| format!("{size:.1}")).collect();
    format!(
        "private {:.1} MB ({}), proportional {:.1} MB",
        private.iter().sum::<f64>(),
        words.join(" + "),
        texts.iter().map(|text| megabytes(text, "Pss:")).sum::<f64>(),
    )
}

/// The sum of the lines of `smaps_rollup` (proc(5)) that begin so.
fn megabytes(text: &str, key: &str) -> f64 {
    let lines = text.lines().filter(|line| line.starts_with(key));
    let kilobytes = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u32>().ok());
    kilobytes.map(f64::from).sum::<f64>() / 1024.0
}
