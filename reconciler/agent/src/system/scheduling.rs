//! The election's place on the processor: ahead of everything else of ordinary scheduling, or in real time
//! where that is asked for. And locked memory.
//!
//! Programs of trackers and hooks inherit none of it: they are started by other threads, and processes that
//! the election's thread starts do not inherit it (`SCHED_RESET_ON_FORK`).

use std::io;
use std::time::Duration;

/// The first nice value.
const FIRST: i32 = -20;
/// Nice value of work that can wait; it still gets a third of a processor that another thread keeps busy.
const LAST: i32 = 5;
/// The shortest slice that the kernel accepts (sched(7), from Linux 6.12 on): a thread that asks for a
/// shorter slice than the running one takes its place at once when it wakes up.
const SLICE: Duration = Duration::from_micros(100);

/// Options of the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scheduling {
    /// Priority with `SCHED_RR` (sched(7)), 1..=99; ordinary scheduling when absent.
    pub(crate) realtime: Option<u8>,
    /// Whether the daemon's memory stays out of swap (mlockall(2)).
    pub(crate) lock_memory: bool,
}

/// Scheduling that was granted, and a sentence for each option that was refused.
#[derive(Debug, Default)]
pub(crate) struct Granted {
    pub(crate) realtime: Option<u8>,
    /// The nice value, -20..=19.
    pub(crate) nice: i32,
    pub(crate) memory_locked: bool,
    pub(crate) refused: Vec<String>,
}

impl Scheduling {
    /// Applies the options: scheduling to the calling thread only, the lock to the whole process.
    pub(crate) fn apply(self) -> Granted {
        let mut granted = Granted::default();
        // Timers of ordinary threads may be late by 50 us, so that the kernel can serve them together.
        nix::sys::prctl::set_timerslack(1).ok();
        if let Some(priority) = self.realtime {
            match realtime(priority) {
                Ok(()) => granted.realtime = Some(priority),
                Err(error) => granted.refused.push(format!(
                    "real-time scheduling is not permitted ({error}): the election runs with ordinary \
                        scheduling; \
                     it takes CAP_SYS_NICE, or LimitRTPRIO= in the unit"
                )),
            }
        }
        if granted.realtime.is_none() {
            go_ahead();
        }
        granted.nice = nice();
        if self.lock_memory {
            match lock_memory() {
                Ok(()) => granted.memory_locked = true,
                Err(error) => granted.refused.push(format!(
                    "memory cannot be locked ({error}): it may be swapped out; it takes CAP_IPC_LOCK, or \
                     LimitMEMLOCK= in the unit"
                )),
            }
        }
        granted
    }
}

/// Puts the calling thread ahead of all others of ordinary scheduling. Where that is not permitted it at
/// least asks for a short slice, which every thread may.
pub(crate) fn go_ahead() {
    if ordinary(FIRST, SLICE).is_err() {
        ordinary(nice(), SLICE).ok();
    }
}

/// Puts the calling thread behind all others: its work can wait, and theirs is for clients.
pub(crate) fn give_way() {
    ordinary(LAST, Duration::ZERO).ok();
}

/// Sets ordinary scheduling for the calling thread. Older kernels ignore the slice.
#[allow(unsafe_code, reason = "no wrapper of sched_setattr exists")]
fn ordinary(nice: i32, slice: Duration) -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: libc::SCHED_FLAG_RESET_ON_FORK as u64,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: u64::try_from(slice.as_nanos()).unwrap_or(0),
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the pointer is to a live value of the size that it names, which the call only reads; the first
    // 0 is the calling thread, the last says that there are no flags.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Nice value of the calling thread.
#[allow(unsafe_code, reason = "no safe wrapper of getpriority exists")]
fn nice() -> i32 {
    // SAFETY: the call takes numbers only. Linux has it by thread, and 0 is the calling one.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

/// Sets `SCHED_RR` for the calling thread. Programs that it starts do not inherit it.
#[allow(unsafe_code, reason = "no safe wrapper of sched_setscheduler exists")]
fn realtime(priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: i32::from(priority) };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer is to a live value that the call only reads; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Locks memory of the process, now and later, once it is used.
#[allow(
    unsafe_code,
    reason = "the safe wrapper lacks MCL_ONFAULT, without which all that is reserved is paged in"
)]
fn lock_memory() -> io::Result<()> {
    // SAFETY: the call takes flags only.
    match unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_thread<T: Send + 'static>(of: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(of).join().expect("the thread ends")
    }

    #[test]
    fn a_thread_changes_its_own_place_only() {
        let before = nice();
        let granted = on_a_thread(|| Scheduling::default().apply());
        assert!(granted.nice == FIRST || granted.nice == before, "{granted:?}");
        assert_eq!((granted.realtime, granted.refused.as_slice()), (None, &[][..]));
        assert_eq!(nice(), before);
    }

    #[test]
    fn programs_do_not_inherit_it() {
        let told = on_a_thread(|| {
            let granted = Scheduling::default().apply();
            let child = std::process::Command::new("cat").arg("/proc/self/stat").output().expect("cat runs");
            (granted.nice, String::from_utf8_lossy(&child.stdout).into_owned())
        });
        // The 19th field; the second one, the command, has no blank here.
        let inherited: Option<i32> = told.1.split(' ').nth(18).and_then(|nice| nice.parse().ok());
        // The kernel resets a nice value below 0.
        assert_eq!(inherited, Some(told.0.max(0)), "{}", told.1);
    }
}
