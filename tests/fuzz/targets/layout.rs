//! Any bytes through `evenkeel fmt`: the same meaning, and nothing more to do the second time.
#![no_main]

use evenkeel::{SourceFile, layout};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = SourceFile::decode("cluster.toml", bytes.to_vec()) else {
        return;
    };
    let Ok(once) = layout(&source) else {
        return;
    };
    let twice = layout(&SourceFile::new("cluster.toml", once.as_str())).expect("of what fmt wrote");
    assert_eq!(once, twice);
    let table = |text: &str| text.trim_start_matches('\u{feff}').parse::<toml::Table>().ok();
    let (before, after) = (table(source.text()), table(&once));
    // NaN is not equal to itself.
    assert!(before == after || source.text().contains("nan"), "{once}");
});
