//! Cluster files on disk and on standard input.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use evenkeel::{Files, Start};

/// A file named on the command line, with the directory that it is in.
pub(super) struct Named {
    /// As it was named; this is what is opened, whatever its name means.
    path: PathBuf,
    directory: PathBuf,
    file: String,
    shown: String,
}

impl Named {
    /// `-` is standard input.
    pub(super) fn new(path: &Path) -> Self {
        let name = path.display().to_string();
        let file = path.file_name().map(|file| file.to_string_lossy().into_owned());
        let split = file.and_then(|file| Some((name.strip_suffix(&file)?.to_owned(), file)));
        let (shown, file) = if path == Path::new("-") {
            (String::new(), "<stdin>".to_owned())
        } else {
            split.unwrap_or((String::new(), name))
        };
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        Self { path: path.to_owned(), directory, file, shown }
    }

    pub(super) fn start(&self) -> Start<'_> {
        Start { files: self, file: &self.file, shown: &self.shown }
    }

    fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }
}

impl Files for Named {
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        let limit = limit as u64;
        let mut bytes = Vec::new();
        if path == self.file {
            // May be a pipe, as the shell's `<(…)` is.
            if self.is_stdin() {
                io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
            } else {
                File::open(&self.path)?.take(limit).read_to_end(&mut bytes)?;
            }
            return Ok(bytes);
        }
        if self.is_stdin() {
            return Err(ErrorKind::Unsupported.into());
        }
        let file = self.directory.join(path);
        let real = fs::canonicalize(&file)?;
        if !real.starts_with(fs::canonicalize(&self.directory)?) {
            return Err(io::Error::other(
                "it is a symbolic link that leads out of the directory of the cluster file",
            ));
        }
        let metadata = fs::metadata(&real)?;
        if metadata.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file() {
            // Opening a pipe would wait for whoever writes into it.
            return Err(io::Error::other("it is a device or a pipe"));
        }
        File::open(real)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        if self.is_stdin() {
            return Err(ErrorKind::Unsupported.into());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(self.directory.join(directory))? {
            // A name that is no text cannot be written in a pattern.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }
}
