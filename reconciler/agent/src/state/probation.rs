//! The record of probations in the state directory.

use std::io;

use serde::{Deserialize, Serialize};
use tracing::error;

use super::{StateDir, read_if_there, remove, replace};
use crate::system::files::limit;
use evenkeel_host::probation::Record;

pub(super) const PROBATION: &str = "probation.json";
/// Format of the file.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct ProbationFile {
    version: u32,
    #[serde(flatten)]
    record: Record,
}

impl StateDir {
    /// The record; an empty one when there is no file, none when it cannot be parsed. The file is put aside
    /// then.
    ///
    /// When the file exists and cannot be read.
    pub(crate) fn probation_or_put_aside(&self) -> io::Result<Option<Record>> {
        let path = self.path.join(PROBATION);
        let explain =
            |error: io::Error| io::Error::new(error.kind(), format!("probation {}: {error}", path.display()));
        let why = match read_if_there(&path, limit::PROBATION, self.trust) {
            Ok(None) => return Ok(Some(Record::default())),
            Ok(Some(bytes)) => match serde_json::from_slice::<ProbationFile>(&bytes) {
                Ok(file) if file.version == VERSION => return Ok(Some(file.record)),
                Ok(file) => format!("written in format {} by another version of evenkeeld", file.version),
                Err(error) => format!("damaged ({error})"),
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
            Err(error) => return Err(explain(error)),
        };
        let aside = self.put_aside(PROBATION).unwrap_or_else(|| path.clone());
        error!(
            kept_as = %aside.display(),
            "probation {}: {why}; kept as {}: a plan that may not have been confirmed is not put in force",
            path.display(),
            aside.display()
        );
        Ok(None)
    }

    /// Replaces the record, durably.
    ///
    /// When it cannot be written; the old one then stays.
    pub(crate) fn save_probation(&self, record: &Record) -> io::Result<()> {
        if *record == Record::default() {
            return self.forget_probation();
        }
        let file = ProbationFile { version: VERSION, record: record.clone() };
        replace(&self.to_replace(PROBATION)?, &serde_json::to_vec(&file)?)
    }

    /// Removes the record.
    ///
    /// When it cannot be removed.
    pub(super) fn forget_probation(&self) -> io::Result<()> {
        remove(&self.to_replace(PROBATION)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::system::files::Trust;
    use evenkeel_host::probation::RolledBack;

    #[test]
    fn the_record_is_kept_and_a_damaged_one_is_put_aside() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let state = StateDir::open(&scratch.path().join("state"), Trust::Owned).expect("open");
        assert_eq!(state.probation_or_put_aside().expect("none"), Some(Record::default()));
        let record = Record {
            trial: None,
            rolled_back: Some(RolledBack {
                generation: "abc".to_owned(),
                at: "T".to_owned(),
                why: "not confirmed within 5s".to_owned(),
            }),
        };
        state.save_probation(&record).expect("save");
        assert_eq!(state.probation_or_put_aside().expect("read"), Some(record.clone()));
        let path = state.path().join(PROBATION);
        for (n, bad) in [(1, &b"{\"version\":1,\"tri"[..]), (2, br#"{"version":9}"#), (3, b"")] {
            fs::write(&path, bad).expect("damage");
            assert_eq!(state.probation_or_put_aside().expect("put aside"), None);
            let aside = state.path().join(format!("probation.json.unreadable-{n}"));
            assert_eq!(fs::read(aside).expect("kept"), bad);
            assert_eq!(state.probation_or_put_aside().expect("read"), Some(Record::default()));
        }
        state.save_probation(&record).expect("save");
        state.save_probation(&Record::default()).expect("clear");
        assert!(!path.exists());
        state.save_probation(&record).expect("save");
        state.forget().expect("forget");
        assert_eq!(state.probation_or_put_aside().expect("read"), Some(Record::default()));
    }
}
