//! A disk of its own for a host's state directory, and what can become of it: full, frozen, read-only,
//! removed. What daemons make of it is in the tests.

use std::path::PathBuf;

use crate::init::MODULES_ROOT;
use crate::net::Host;

/// Parameters of the kernel's RAM disks: how many, and their size in KiB, which is room for the state of a
/// few services many times over.
const PARAMETERS: [&str; 2] = ["rd_nr=4", "rd_size=4096"];
/// Major number of RAM disks (admin-guide/devices.txt).
const MAJOR: &str = "1";

/// Trouble of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing can be written: `ENOSPC`.
    Full,
    /// Writers wait, and cannot be woken (fsfreeze(8)).
    Frozen,
    /// `EROFS`.
    ReadOnly,
    /// Somebody removes the directory, once.
    Removed,
}

/// The disk below a host's state directory. Dropped, whoever waits for it goes on.
pub struct StateDisk {
    host: Host,
    directory: PathBuf,
    trouble: Option<Trouble>,
}

impl Host {
    /// Puts an ext4 file system, on RAM disk `number` (0 to 3), below `state/` in [`Host::scratch`]. No
    /// daemon of this host may run yet.
    #[track_caller]
    pub fn state_disk(&self, number: u8) -> StateDisk {
        let (device, directory) = (self.scratch().join("disk"), self.scratch().join("state"));
        let (file, place) = (device.display().to_string(), directory.display().to_string());
        self.run([&["modprobe", "-d", MODULES_ROOT, "brd"][..], &PARAMETERS].concat());
        // The guest's /dev is the host's.
        self.run(["mknod", &file, "b", MAJOR, &number.to_string()]);
        // All space is for whoever asks for it, and no journal takes its own.
        self.run(["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", &file]);
        self.run(["mkdir", "-p", &place]);
        self.run(["mount", "-t", "ext4", &file, &place]);
        self.run(["chmod", "0700", &place]);
        StateDisk { host: self.clone(), directory, trouble: None }
    }
}

impl StateDisk {
    fn place(&self) -> String {
        self.directory.display().to_string()
    }

    /// Brings trouble.
    #[track_caller]
    pub fn trouble(&mut self, trouble: Trouble) {
        assert_eq!(self.trouble.replace(trouble), None, "one trouble at a time");
        let place = self.place();
        match trouble {
            Trouble::Full => {
                // Ends with an error when nothing more goes in.
                let (output, piece) = (format!("of={place}/fill"), ["if=/dev/zero", "bs=1k"]);
                self.host.output(["dd", piece[0], &output, piece[1]]);
                self.host.output(["dd", piece[0], &format!("of={place}/fill-2"), "bs=1"]);
            }
            Trouble::Frozen => drop(self.host.run(["fsfreeze", "-f", &place])),
            Trouble::ReadOnly => drop(self.host.run(["mount", "-o", "remount,ro", &place])),
            Trouble::Removed => {
                let all = self.host.run(["find", &place, "-mindepth", "1", "-delete"]);
                assert_eq!(all, "");
            }
        }
    }

    /// Ends the trouble.
    #[track_caller]
    pub fn heal(&mut self) {
        let place = self.place();
        match self.trouble.take() {
            Some(Trouble::Full) => {
                drop(self.host.run(["rm", "-f", &format!("{place}/fill"), &format!("{place}/fill-2")]));
            }
            Some(Trouble::Frozen) => drop(self.host.run(["fsfreeze", "-u", &place])),
            Some(Trouble::ReadOnly) => drop(self.host.run(["mount", "-o", "remount,rw", &place])),
            Some(Trouble::Removed) | None => {}
        }
    }

    /// Content of a file of the directory.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        self.host.run(["cat", &format!("{}/{name}", self.place())])
    }
}

impl Drop for StateDisk {
    fn drop(&mut self) {
        // A process that waits for a frozen disk cannot even be killed.
        if self.trouble == Some(Trouble::Frozen) {
            self.host.output(["fsfreeze", "-u", &self.place()]);
        }
    }
}
