//! Any bytes as a cluster of several files: a line `%%% NAME` begins a file, and files whose names
//! begin with `overlay` are laid over the cluster.
#![no_main]

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use evenkeel::{Files, Start, compile, load, render};

struct Memory(BTreeMap<String, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        let bytes = self.0.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(bytes[..bytes.len().min(limit)].to_vec())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let below = self.0.keys().filter_map(|path| path.strip_prefix(&prefix));
        Ok(below.map(|path| path.split('/').next().unwrap_or_default().to_owned()).collect())
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut files = BTreeMap::new();
    let mut name = String::from("cluster.toml");
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"%%% ") {
            Some(new) => name = String::from_utf8_lossy(new).trim().to_owned(),
            None => files.entry(name.clone()).or_insert_with(Vec::new).extend_from_slice(line),
        }
    }
    let memory = Memory(files);
    let overlays: Vec<&String> = memory.0.keys().filter(|name| name.starts_with("overlay")).take(4).collect();
    let overlays: Vec<Start<'_>> =
        overlays.iter().map(|file| Start { files: &memory, file, shown: "over/" }).collect();
    let source = load(Start { files: &memory, file: "cluster.toml", shown: "" }, &overlays);
    let compilation = compile(&source);
    let human = render::human(&source, &compilation.diagnostics, false);
    assert_eq!(compilation.cluster.is_some(), compilation.counts().0 == 0, "{human}");
    for diagnostic in &compilation.diagnostics {
        for label in diagnostic.primary.iter().chain(&diagnostic.secondary) {
            let piece = source.piece_at(label.place.start).expect("in a file");
            assert!(piece.range.start <= label.place.start && label.place.end <= piece.range.end, "{human}");
        }
    }
    let _ = render::json(&source, &compilation);
    let _ = render::github(&source, &compilation);
    let _ = render::sarif(&source, &compilation);
});
