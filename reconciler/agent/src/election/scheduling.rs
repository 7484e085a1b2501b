//! Real-time scheduling and locked memory for the election, where wanted and permitted.

use std::io;

/// What the command line asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scheduling {
    /// Priority with `SCHED_RR` (sched(7)), 1..=99; ordinary scheduling when absent.
    pub(crate) realtime: Option<u8>,
    /// Whether the daemon's memory stays out of swap (mlockall(2)).
    pub(crate) lock_memory: bool,
}

/// What was granted, and a sentence for each thing that was not.
#[derive(Debug, Default)]
pub(super) struct Granted {
    pub(super) realtime: Option<u8>,
    pub(super) memory_locked: bool,
    pub(super) refused: Vec<String>,
}

impl Scheduling {
    /// Applies it: the scheduling to the calling thread only, the lock to the whole process.
    pub(super) fn apply(self) -> Granted {
        let mut granted = Granted::default();
        if let Some(priority) = self.realtime {
            match realtime(priority) {
                Ok(()) => granted.realtime = Some(priority),
                Err(error) => granted.refused.push(format!(
                    "real-time scheduling is not permitted ({error}): the election runs with ordinary scheduling; \
                     it takes CAP_SYS_NICE, or LimitRTPRIO= in the unit"
                )),
            }
        }
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

/// `SCHED_RR` for the calling thread. Programs that it starts do not inherit it.
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

/// What the process uses now and later stays in memory once it is used.
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
