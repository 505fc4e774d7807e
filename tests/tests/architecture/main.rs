//! The structure that ARCHITECTURE.md promises, read from the code.

mod documents;
mod foreign;
mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use foreign::foreign_types;
use sources::Sources;

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("a workspace").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of what a crate depends on outside of its tests.
fn dependencies(package: &str) -> impl Iterator<Item = String> {
    let manifest = read(&format!("{package}/Cargo.toml"));
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    let names = section
        .lines()
        .filter_map(|line| line.split(['.', ' ']).next());
    let names = names.filter(|name| !name.is_empty() && !name.starts_with('#'));
    names.map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// A crate of the tree: its files beside the folders, and its folders with their files, in order.
struct Tree {
    package: String,
    files: Vec<String>,
    folders: Vec<(String, Vec<String>)>,
}

/// The tree of ARCHITECTURE.md.
fn trees() -> Vec<Tree> {
    let text = read("ARCHITECTURE.md");
    let block = text.split("```text\nbus-core/src/").nth(1).expect("a tree");
    let block = format!(
        "bus-core/src/{}",
        block.split("```").next().unwrap_or_default()
    );
    let list = |names: &str| -> Vec<String> {
        let names = names.split('·').map(|name| name.trim().to_owned());
        names.filter(|name| !name.is_empty()).collect()
    };
    let mut trees: Vec<Tree> = Vec::new();
    for line in block.lines() {
        let (name, names) = line.trim_start().split_once('/').expect("a folder");
        match trees.last_mut() {
            Some(tree) if line.starts_with(' ') => {
                tree.folders.push((name.to_owned(), list(names)));
            }
            _ => trees.push(Tree {
                package: name.to_owned(),
                files: list(names.trim_start_matches("src/")),
                folders: Vec::new(),
            }),
        }
    }
    trees
}

/// `middleware/retry.rs` is in the folder `middleware`.
fn folder(path: &str) -> &str {
    path.split_once('/').map_or("", |(folder, _)| folder)
}

#[test]
fn the_tree_is_the_one_on_disk() {
    for tree in trees() {
        let mut said: Vec<_> = tree.files.clone();
        for (folder, files) in &tree.folders {
            said.extend(files.iter().map(|file| format!("{folder}/{file}")));
        }
        said.sort_unstable();
        let sources = Sources::of(&tree.package);
        let mut found: Vec<_> = sources
            .iter()
            .filter(|(path, _)| *path != "lib.rs" && path.matches('/').count() < 2)
            .map(|(path, _)| path.trim_end_matches(".rs").to_owned())
            .filter(|path| !path.ends_with("/mod"))
            .collect();
        let nested =
            sources.matching(|path, _| path.matches('/').count() == 2 && path.ends_with("/mod.rs"));
        found.extend(
            nested
                .iter()
                .map(|path| path.trim_end_matches("/mod.rs").to_owned()),
        );
        found.sort_unstable();
        assert_eq!(said, found, "{}", tree.package);
    }
}

#[test]
fn folders_of_the_core_import_only_from_those_above_them() {
    let tree = trees().swap_remove(0);
    let place = |name: &str| tree.folders.iter().position(|(folder, _)| folder == name);
    let sources = Sources::of(&tree.package);
    let mut checked = 0;
    for (path, _) in sources.iter().filter(|(path, _)| *path != "lib.rs") {
        for imported in sources.imports(path) {
            checked += 1;
            assert!(
                place(folder(imported)) <= place(folder(path)),
                "{path} imports {imported}, which lies below it in the tree"
            );
        }
    }
    assert!(checked > 300, "{checked} imports were looked at");
}

#[test]
fn no_two_files_import_each_other() {
    for package in [
        "bus-core",
        "bus-inmemory",
        "bus-rabbitmq",
        "bus-redis",
        "bus-saga",
        "bus-sql",
        "bus-courier",
        "bus-conformance",
        "samples",
    ] {
        assert_eq!(Sources::of(package).circle(), None, "{package}");
    }
}

#[test]
fn the_pipeline_knows_no_broker() {
    let core = Sources::of("bus-core");
    let knowing = core.iter().filter(|(path, _)| folder(path) == "middleware");
    for (path, _) in knowing {
        for imported in core.imports(path) {
            let is_broker = folder(imported) == "transport" && imported != "transport/backoff.rs";
            assert!(
                !is_broker && folder(imported) != "receive",
                "{path} imports {imported}"
            );
        }
    }
}

#[test]
fn json_is_the_codecs_business() {
    let core = Sources::of("bus-core");
    let named = core.matching(|path, code| folder(path) != "codec" && code.contains("serde_json"));
    assert_eq!(named, [""; 0]);
}

#[test]
fn only_the_receiver_and_the_reply_queue_settle() {
    let core = Sources::of("bus-core");
    let settling =
        core.matching(|path, code| folder(path) != "transport" && code.contains("receipt.settle("));
    assert_eq!(settling, ["receive/receiver.rs", "request/inbox.rs"]);
}

#[test]
fn one_file_of_the_rabbitmq_transport_declares() {
    let rabbitmq = Sources::of("bus-rabbitmq");
    let declaring =
        rabbitmq.matching(|_, code| code.contains("_declare(") || code.contains("_bind("));
    assert_eq!(declaring, ["topology/declarer.rs"]);
}

#[test]
fn crates_depend_in_one_direction_only() {
    let ours = [
        "bus-core",
        "bus-macros",
        "bus-inmemory",
        "bus-rabbitmq",
        "bus-redis",
        "bus-saga",
        "bus-sql",
        "bus-courier",
        "bus-conformance",
        "samples",
        "bus-tests",
    ];
    let of = |package: &str| -> Vec<String> {
        dependencies(package)
            .filter(|name| ours.contains(&name.as_str()))
            .collect()
    };
    assert_eq!(of("bus-macros"), [""; 0]);
    assert_eq!(of("bus-core"), ["bus-macros"]);
    assert_eq!(of("bus-inmemory"), ["bus-core"]);
    assert_eq!(of("bus-rabbitmq"), ["bus-core"]);
    assert_eq!(of("bus-redis"), ["bus-core"]);
    assert_eq!(of("bus-saga"), ["bus-core", "bus-macros"]);
    assert_eq!(of("bus-sql"), ["bus-core", "bus-saga"]);
    assert_eq!(of("bus-courier"), ["bus-core"]);
    assert_eq!(of("bus-conformance"), ["bus-core"]);
}

#[test]
fn the_types_of_other_crates_in_signatures_are_listed() {
    let page = read("docs/public-types.md");
    let listed: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    let packages = [
        "bus-core",
        "bus-macros",
        "bus-inmemory",
        "bus-rabbitmq",
        "bus-redis",
        "bus-saga",
        "bus-sql",
        "bus-courier",
        "bus-conformance",
    ];
    let found: BTreeSet<_> = packages.into_iter().flat_map(foreign_types).collect();
    assert!(found.contains("bytes::Bytes"), "the code is read");
    let of = |left: &BTreeSet<String>, right| left.difference(right).cloned().collect::<Vec<_>>();
    let (unlisted, gone) = (of(&found, &listed), of(&listed, &found));
    assert_eq!(
        (unlisted, gone),
        (Vec::<String>::new(), Vec::<String>::new()),
        "not in docs/public-types.md, or only there"
    );
}
