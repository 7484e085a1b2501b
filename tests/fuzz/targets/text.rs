//! Any bytes as one cluster file, through the whole compiler and every renderer.
#![no_main]

use evenkeel::{SourceFile, compile, emit, render};
use evenkeel_schemas::seal;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = SourceFile::decode("cluster.toml", bytes.to_vec()) else {
        return;
    };
    let compilation = compile(&source);
    assert_eq!(compilation.cluster.is_some(), compilation.counts().0 == 0);
    let _ = render::human(&source, &compilation.diagnostics, true);
    let _ = render::json(&source, &compilation);
    let _ = render::github(&source, &compilation);
    let _ = render::sarif(&source, &compilation);
    if let Some(cluster) = &compilation.cluster {
        for plan in emit(cluster) {
            seal::open(plan.text.as_bytes()).expect("sealed");
        }
    }
});
