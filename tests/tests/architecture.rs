//! The structure that ARCHITECTURE.md promises, read from the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("a workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The source files of a crate without their tests and comments, by path below `src`.
fn sources(package: &str) -> BTreeMap<String, String> {
    fn walk(folder: &Path, base: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, base, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(base).expect("below").to_string_lossy();
                let text = fs::read_to_string(&path).expect("text");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = code
                    .lines()
                    .map(|line| line.split("//").next().unwrap_or(line));
                found.insert(name.into_owned(), lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }
    let base = root().join(package).join("src");
    let mut found = BTreeMap::new();
    walk(&base, &base, &mut found);
    assert!(!found.is_empty(), "{package} has sources");
    found
}

/// `middleware/retry.rs` belongs to `middleware`.
fn module(path: &str) -> &str {
    path.split('/')
        .next()
        .unwrap_or(path)
        .trim_end_matches(".rs")
}

/// The modules that come after `crate::`, also in braces.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => rest,
        };
        let heads = names.split(',').map(|name| {
            let name = name.trim_start();
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
            &name[..end.unwrap_or(name.len())]
        });
        let take = if rest.starts_with('{') { usize::MAX } else { 1 };
        found.extend(heads.take(take).map(str::to_owned));
    }
    found
}

/// The rows of the table of layers.
fn layers() -> BTreeMap<String, usize> {
    let text = read("ARCHITECTURE.md");
    let table = text
        .split("| layer | modules |")
        .nth(1)
        .expect("a table of layers");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut layers = BTreeMap::new();
    for (layer, row) in rows.enumerate() {
        let modules = row.split('|').nth(2).expect("two columns");
        for name in modules.split(',') {
            layers.insert(name.trim().to_owned(), layer);
        }
    }
    layers
}

#[test]
fn modules_of_the_core_import_only_what_lies_below_them() {
    let layers = layers();
    let sources = sources("bus-core");
    let layer_of = |name: &str| {
        let layer = layers.get(name).copied();
        layer.unwrap_or_else(|| panic!("`{name}` is in no layer of ARCHITECTURE.md"))
    };
    let mut checked = 0;
    for (path, code) in sources.iter().filter(|(path, _)| *path != "lib.rs") {
        let own = module(path);
        for imported in imports(code) {
            let is_module = sources.keys().any(|other| module(other) == imported);
            if is_module && imported != own && imported != "lib" {
                checked += 1;
                assert!(
                    layer_of(&imported) <= layer_of(own),
                    "{path} imports `{imported}`, which lies above it"
                );
            }
        }
    }
    assert!(checked > 100, "{checked} imports were looked at");
    for name in layers.keys() {
        assert!(
            sources.keys().any(|path| module(path) == name),
            "the table names `{name}`, which is not there"
        );
    }
}

#[test]
fn the_pipeline_knows_no_transport() {
    for (path, code) in sources("bus-core") {
        if module(&path) == "middleware" {
            for imported in imports(&code) {
                assert!(
                    !["transport", "receiver", "lanes"].contains(&imported.as_str()),
                    "{path} imports `{imported}`"
                );
            }
        }
    }
}

#[test]
fn json_is_the_codecs_business() {
    let named: Vec<_> = sources("bus-core")
        .into_iter()
        .filter(|(path, code)| module(path) != "codec" && code.contains("serde_json"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(named, [""; 0]);
}

#[test]
fn only_the_receiver_and_the_reply_queue_settle() {
    let settling: Vec<_> = sources("bus-core")
        .into_iter()
        .filter(|(path, code)| module(path) != "transport" && code.contains("receipt.settle("))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(settling, ["receiver.rs", "request.rs"]);
}

#[test]
fn one_file_of_the_rabbitmq_transport_declares() {
    let declaring: Vec<_> = sources("bus-rabbitmq")
        .into_iter()
        .filter(|(_, code)| code.contains("_declare(") || code.contains("_bind("))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(declaring, ["topology.rs"]);
}

#[test]
fn crates_depend_in_one_direction_only() {
    let of = |package: &str| {
        let manifest = read(&format!("{package}/Cargo.toml"));
        let dependencies = manifest
            .split("[dependencies]")
            .nth(1)
            .unwrap_or_default()
            .split("\n[")
            .next()
            .unwrap_or_default()
            .to_owned();
        let ours = [
            "bus-core",
            "bus-macros",
            "bus-inmemory",
            "bus-rabbitmq",
            "samples",
            "bus-tests",
        ];
        ours.into_iter()
            .filter(|name| {
                dependencies.lines().any(|line| {
                    line.starts_with(&format!("{name}.")) || line.starts_with(&format!("{name} "))
                })
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(of("bus-macros"), [""; 0]);
    assert_eq!(of("bus-core"), ["bus-macros"]);
    assert_eq!(of("bus-inmemory"), ["bus-core"]);
    assert_eq!(of("bus-rabbitmq"), ["bus-core"]);
}
