//! The record of the source of plans: the commit that was accepted last, and the pause. It outlives
//! `cleanup`: what was accepted is no object of the kernel.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::error;

use super::disk::{Content, Disk, File};
use super::{StateDir, read_if_there, replace};
use crate::source::memory::SourceMemory;
use crate::system::files::limit;

pub(super) const SOURCE: &str = "source.json";
/// Format of the file.
const VERSION: u32 = 1;
/// Time for the disk to take a change.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Serialize, Deserialize)]
struct SourceFile {
    version: u32,
    #[serde(flatten)]
    memory: SourceMemory,
}

impl StateDir {
    /// The record; empty when there is no file. A file that cannot be parsed is put aside.
    ///
    /// When the file exists and cannot be read.
    pub(crate) fn source_or_put_aside(&self) -> io::Result<SourceMemory> {
        let path = self.path().join(SOURCE);
        let why = match read_if_there(&path, limit::SOURCE, self.trust) {
            Ok(None) => return Ok(SourceMemory::default()),
            Ok(Some(bytes)) => match serde_json::from_slice::<SourceFile>(&bytes) {
                Ok(file) if file.version == VERSION => return Ok(file.memory),
                Ok(file) => format!("written in format {} by another version of evenkeeld", file.version),
                Err(error) => format!("damaged ({error})"),
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
            Err(error) => return Err(error),
        };
        let aside = self.put_aside(SOURCE).unwrap_or_else(|| path.clone());
        error!(
            kept_as = %aside.display(),
            "record of the source {}: {why}; kept as {}: which commit was accepted last is forgotten",
            path.display(),
            aside.display()
        );
        Ok(SourceMemory::default())
    }

    /// Replaces the record, durably.
    ///
    /// When it cannot be written; the old one then stays.
    pub(super) fn save_source(&self, memory: &SourceMemory) -> io::Result<()> {
        let file = SourceFile { version: VERSION, memory: memory.clone() };
        replace(&self.to_replace(SOURCE)?, &serde_json::to_vec(&file)?)
    }
}

impl Disk {
    /// Has a record written, once. Returns whether it is on the disk; the old one stays when it is not.
    pub(crate) fn put_source(&self, memory: &SourceMemory) -> bool {
        let revision = self.attempt(Content::Source(Arc::new(memory.clone())));
        let written = self.wait(File::Source, PATIENCE);
        if !written {
            self.withdraw(File::Source, revision);
        }
        written
    }
}
