//! Reads a cluster file, or says why it cannot be read.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use evenkeel::{Compilation, Diagnostic, MAX_BYTES, SourceFile, codes, compile, render};

use super::Terminal;

/// Reads and checks the cluster file at `path`, `-` for standard input. Reports all findings.
pub(super) fn load(path: &Path, terminal: &Terminal) -> Option<Compilation> {
    load_bytes(path, read(path), terminal).map(|(_, compilation)| compilation)
}

/// The same of bytes that were read from `path`; gives the text too.
pub(super) fn load_bytes(
    path: &Path,
    bytes: io::Result<Vec<u8>>,
    terminal: &Terminal,
) -> Option<(SourceFile, Compilation)> {
    let name = if path == Path::new("-") { "<stdin>".to_owned() } else { path.display().to_string() };
    let source = match bytes.map_err(unreadable).and_then(|bytes| SourceFile::decode(&name, bytes)) {
        Ok(source) => source,
        Err(diagnostic) => {
            terminal.diagnostics(&SourceFile::new(&name, ""), &[*diagnostic]);
            terminal.complain(render::invalid(&name, 1, 0));
            return None;
        }
    };
    let compilation = compile(&source);
    terminal.diagnostics(&source, &compilation.diagnostics);
    if compilation.cluster.is_none() {
        let (errors, warnings) = compilation.counts();
        terminal.complain(render::invalid(&name, errors, warnings));
        return None;
    }
    Some((source, compilation))
}

/// At most one byte more than is accepted: a device never ends.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let limit = MAX_BYTES as u64 + 1;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn unreadable(error: io::Error) -> Box<Diagnostic> {
    let (cause, hint) = match error.kind() {
        ErrorKind::NotFound => ("the file does not exist".to_owned(), "check the path"),
        ErrorKind::IsADirectory => (
            "this is a directory, not a file".to_owned(),
            "name the cluster file in it, such as cluster.toml",
        ),
        ErrorKind::PermissionDenied => (
            "this user may not read the file".to_owned(),
            "check its owner and mode, and those of its directories",
        ),
        _ => (format!("the file cannot be read: {error}"), "check the path and the file system"),
    };
    Box::new(Diagnostic::of_file(&codes::UNREADABLE, cause).hint(hint))
}
