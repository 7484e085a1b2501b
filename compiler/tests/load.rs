//! Several files: which are read, in which order, and what stops it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use evenkeel::{Files, MAX_BYTES, MAX_DEPTH, MAX_FILES, SourceFile, Start, compile, load, render};

/// A tree of files in memory that writes down what is read.
#[derive(Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
    read: RefCell<Vec<String>>,
}

impl Memory {
    fn new(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
        Self { files: files.collect(), read: RefCell::default() }
    }

    fn load(&self) -> SourceFile {
        load(Start { files: self, file: "cluster.toml", shown: "site/" }, &[])
    }
}

impl Files for Memory {
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        self.read.borrow_mut().push(path.to_owned());
        match self.files.get(path) {
            Some(bytes) => Ok(bytes[..bytes.len().min(limit)].to_vec()),
            None if self.files.keys().any(|file| file.starts_with(&format!("{path}/"))) => {
                Err(ErrorKind::IsADirectory.into())
            }
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let below = self.files.keys().filter_map(|path| path.strip_prefix(&prefix));
        let names: Vec<String> =
            below.map(|path| path.split('/').next().unwrap_or_default().to_owned()).collect();
        if names.is_empty() { Err(ErrorKind::NotFound.into()) } else { Ok(names) }
    }
}

fn report(source: &SourceFile) -> String {
    render::human(source, &compile(source).diagnostics, false)
}

#[test]
fn files_are_read_once_in_the_order_of_their_names() {
    let memory = Memory::new(&[
        ("cluster.toml", "include = [\"*/*.toml\", \"b/../b/x.toml\", \"last.toml\"]"),
        ("b/x.toml", "include = [\"../c/?.toml\", \"x.toml\"] # b"),
        ("b/y.toml", "# y\na = 1"),
        ("b/folder.toml/z", ""),
        ("c/1.toml", "include = [\"../cluster.toml\"]"),
        ("c/.hidden.toml", "="),
        ("last.toml", "z = 1"),
    ]);
    let source = memory.load();
    let names: Vec<&str> = source.pieces().iter().map(|piece| piece.name.as_str()).collect();
    assert_eq!(
        names,
        ["site/cluster.toml", "site/b/x.toml", "site/b/y.toml", "site/c/1.toml", "site/last.toml"]
    );
    let mut read = memory.read.take();
    read.retain(|path| path != "b/folder.toml");
    assert_eq!(read, ["cluster.toml", "b/x.toml", "b/y.toml", "c/1.toml", "last.toml"]);
    for piece in source.pieces() {
        assert_eq!(source.piece_at(piece.range.start), Some(piece));
        assert_eq!(source.piece_at(piece.range.end), Some(piece), "an end belongs to its own file");
    }
    assert!(!report(&source).contains("EK0008"), "{}", report(&source));
}

#[test]
fn limits_stop_the_reading_and_are_told_once() {
    let mut wide = Memory::new(&[("cluster.toml", "include = [\"f/*.toml\", \"g/*.toml\"]")]);
    for number in 0..=MAX_FILES {
        let folder = if number % 2 == 0 { "f" } else { "g" };
        wide.files.insert(format!("{folder}/{number}.toml"), b"include = [\"../f/*.toml\"]".to_vec());
    }
    let mut deep = Memory::new(&[("cluster.toml", "include = [\"0.toml\"]")]);
    for number in 0..MAX_DEPTH * 2 {
        deep.files
            .insert(format!("{number}.toml"), format!("include = [\"{}.toml\"]", number + 1).into_bytes());
    }
    let mut large = Memory::new(&[("cluster.toml", "include = [\"f/*.toml\"]")]);
    for number in 0..3 {
        large.files.insert(
            format!("f/{number}.toml"),
            format!("# {}\na{number} = 1", "x".repeat(MAX_BYTES / 2)).into_bytes(),
        );
    }
    for (memory, words) in
        [(wide, "more than 1000 files"), (deep, "more than 16 deep"), (large, "more than 16 MiB")]
    {
        let source = memory.load();
        let report = report(&source);
        assert_eq!(report.matches("EK0010").count(), 1, "{words}: {report}");
        assert!(report.contains(words), "{report}");
        assert!(memory.read.borrow().len() <= MAX_FILES + 2, "{}", memory.read.borrow().len());
    }
}

#[test]
fn a_pattern_that_matches_too_much_is_refused_before_anything_is_read() {
    let mut memory = Memory::new(&[("cluster.toml", "include = [\"f/*.toml\"]")]);
    for number in 0..MAX_FILES * 3 {
        memory.files.insert(format!("f/{number}.toml"), b"a = 1".to_vec());
    }
    let source = memory.load();
    assert!(report(&source).contains("EK0010"));
    assert_eq!(memory.read.borrow().len(), 1);
}

#[test]
fn overlays_come_from_trees_of_their_own() {
    let base = Memory::new(&[("cluster.toml", "a = 1\nb = 1\n")]);
    let over = Memory::new(&[
        ("prod.toml", "include = [\"more.toml\"]\nb = 1979-05-27\n"),
        ("more.toml", "c = 1.5\n"),
    ]);
    let overlay = Start { files: &over, file: "prod.toml", shown: "over/" };
    let missing = Start { files: &over, file: "test.toml", shown: "over/" };
    let source = load(Start { files: &base, file: "cluster.toml", shown: "" }, &[overlay]);
    let report_of_all = report(&source);
    for place in ["--> cluster.toml:1:1", "--> over/prod.toml:2:1", "--> over/more.toml:1:1"] {
        assert!(report_of_all.contains(place), "{report_of_all}");
    }
    assert!(!report_of_all.contains("cluster.toml:2:1"), "replaced: {report_of_all}");
    let source = load(Start { files: &base, file: "cluster.toml", shown: "" }, &[missing]);
    let report_of_missing = report(&source);
    assert!(report_of_missing.starts_with("error[EK0001]: the file does not exist"), "{report_of_missing}");
    assert!(report_of_missing.contains("--> over/test.toml"), "{report_of_missing}");
}
