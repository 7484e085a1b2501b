//! The kernel's news, read by a thread of its own and handed on. What they mean is the listener's business.

use std::os::fd::AsFd;
use std::thread::Builder;
use std::time::Duration;

use evenkeel_kernel::{Event, Group, Monitor};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::warn;

/// Time before a socket that died is replaced.
const RENEW: Duration = Duration::from_secs(1);
/// How often a listener that hears nothing is asked whether it still listens.
const ASK: u16 = 1_000;

/// Tells `listener` of these groups until it returns `false`. It is called with [`Event::Overrun`] at first and whenever some may have
/// been missed, and about once a second without any.
///
/// # Errors
/// When no thread can be made.
pub(crate) fn tell(
    groups: &'static [Group],
    mut listener: impl FnMut(&[Event]) -> bool + Send + 'static,
) -> std::io::Result<()> {
    Builder::new().name("news".to_owned()).spawn(move || {
        let mut said = false;
        loop {
            let ended = match Monitor::open(groups) {
                Ok(mut monitor) => {
                    said = false;
                    // What came before this was not heard.
                    listener(&[Event::Overrun]).then(|| follow(&mut monitor, &mut listener)).transpose()
                }
                Err(error) => Err(error.to_string()),
            };
            match ended {
                Ok(_) => return,
                Err(why) if !said => {
                    warn!("no news from the kernel ({why}): changes are found at the next look");
                    said = true;
                }
                Err(_) => {}
            }
            std::thread::sleep(RENEW);
        }
    })?;
    Ok(())
}

/// Reads until the listener has enough.
fn follow(monitor: &mut Monitor, listener: &mut impl FnMut(&[Event]) -> bool) -> Result<(), String> {
    loop {
        let mut fds = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::from(ASK)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.to_string()),
        }
        let events = monitor.read_events().map_err(|error| error.to_string())?;
        if !listener(&events) {
            return Ok(());
        }
    }
}
