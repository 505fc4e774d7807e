//! The themes of the suite, and those of which tests are made.

use std::fs;
use std::path::Path;

/// A theme that `conformance!` does not name would never run.
#[test]
fn every_theme_is_named() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let macros = fs::read_to_string(source.join("macros.rs")).expect("the macros");
    let named: Vec<_> = macros.split_whitespace().collect();
    let files = fs::read_dir(source.join("suite")).expect("the suite");
    let themes: Vec<_> = files
        .flatten()
        .filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned()))
        .filter(|theme| theme != "mod")
        .collect();
    assert!(themes.len() > 30, "{themes:?}");
    for theme in themes {
        assert!(named.contains(&theme.as_str()), "{theme} is not named");
    }
}
