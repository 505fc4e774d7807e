//! The English of doc comments and texts, in the crates that users depend on.
//!
//! Documents and names of tests are read in all of the repository.

use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 9] = [
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

/// Words with which an indirect question begins.
const QUESTIONS: [&str; 10] = [
    "What", "Who", "Whose", "Whom", "Where", "Why", "Whether", "How", "Which", "When",
];

/// Words that a reader of this field has to translate.
const BANNED: [&str; 19] = [
    "somebody",
    "someone",
    "whoever",
    "whatever",
    "nobody",
    "anybody",
    "everybody",
    "told",
    "tell",
    "tells",
    "telling",
    "mend",
    "mends",
    "mended",
    "stranger",
    "strangers",
    "for ever",
    "of use",
    "in words",
];

/// The longest first line of a doc comment, in characters.
const FIRST_LINE: usize = 80;

/// The widest line of a comment, in columns.
const WIDTH: usize = 100;

/// A line of a doc comment outside of code.
struct Doc<'a> {
    place: String,
    text: &'a str,
    /// The first line of a paragraph.
    is_paragraph: bool,
    /// The first line of the whole comment.
    is_first: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources of the crates that users depend on.
fn sources() -> Vec<(String, String)> {
    read(CRATES.map(|name| root().join(name).join("src")).to_vec())
}

/// The sources of everything that is compiled, tests included.
fn all_sources() -> Vec<(String, String)> {
    let crates = CRATES.into_iter().chain(["samples", "tests", "benches"]);
    read(crates.map(|name| root().join(name)).collect())
}

/// The files of Rust in folders and in those in them, by path.
fn read(folders: Vec<PathBuf>) -> Vec<(String, String)> {
    let found = files(folders, "rs");
    assert!(found.len() > 100, "{} files were found", found.len());
    found
}

/// The files of one kind in folders and in those in them, by path.
fn files(mut folders: Vec<PathBuf>, kind: &str) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                let is_made = path.ends_with("target") || path.ends_with(".git");
                folders.extend((!is_made).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == kind) {
                let text = fs::read_to_string(&path).expect("text");
                let name = path.strip_prefix(&root).expect("below the root");
                found.push((name.to_string_lossy().into_owned(), text));
            }
        }
    }
    found
}

/// The lines of a document that are neither code nor quoted.
fn prose(text: &str) -> Vec<String> {
    let mut is_code = false;
    let lines = text.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        let plain = if is_code || is_fence { "" } else { line };
        plain.split('`').step_by(2).collect()
    });
    lines.collect()
}

/// The names of the functions in a file.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("fn ").filter_map(|(start, found)| {
        let name = &text[start + found.len()..];
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        Some(&name[..end])
    })
}

fn docs<'a>(path: &str, text: &'a str) -> Vec<Doc<'a>> {
    let mut docs = Vec::new();
    let (mut is_first, mut is_paragraph, mut is_code) = (true, true, false);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let Some(text) = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"))
        else {
            (is_first, is_paragraph, is_code) = (true, true, false);
            continue;
        };
        let text = text.trim_start();
        if text.starts_with("```") {
            is_code = !is_code;
        } else if text.is_empty() {
            is_paragraph = true;
        } else if !is_code {
            docs.push(Doc {
                place: format!("{path}:{}", number + 1),
                text,
                is_paragraph: is_paragraph && !text.starts_with(['|', '-', '#']),
                is_first,
            });
            is_paragraph = false;
        }
        is_first = false;
    }
    docs
}

/// Collects what breaks a rule, so that all of it is shown at once.
fn breaking(rule: impl Fn(&Doc<'_>) -> bool) -> Vec<String> {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let docs = docs(&path, &text);
        let breaking = docs.iter().filter(|doc| rule(doc));
        broken.extend(breaking.map(|doc| format!("{}: {}", doc.place, doc.text)));
    }
    broken
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphabetic());
    &text[..end.unwrap_or(text.len())]
}

/// The banned words of a text.
fn banned(text: &str) -> Vec<&'static str> {
    let text = text.to_lowercase();
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
    let stands_alone = |word: &str| {
        text.match_indices(word).any(|(start, _)| {
            let before = text[..start].chars().next_back();
            let after = text[start + word.len()..].chars().next();
            !is_letter(before) && !is_letter(after)
        })
    };
    let words = BANNED.into_iter();
    words.filter(|word| stands_alone(word)).collect()
}

/// The texts in the code of a file, without its tests.
fn literals(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .collect()
}

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn paragraphs_begin_with_no_indirect_question() {
    let broken = breaking(|doc| doc.is_paragraph && QUESTIONS.contains(&first_word(doc.text)));
    assert_none(&broken, "begin with a verb in the third person or a noun");
}

#[test]
fn first_lines_are_short() {
    let broken = breaking(|doc| {
        doc.is_first && !doc.text.starts_with('|') && doc.text.chars().count() > FIRST_LINE
    });
    assert_none(
        &broken,
        "one sentence of at most 80 characters, then a paragraph",
    );
}

#[test]
fn words_are_those_of_the_field() {
    let mut broken = breaking(|doc| !banned(doc.text).is_empty());
    for (path, text) in sources() {
        for literal in literals(&text) {
            if !banned(literal).is_empty() {
                broken.push(format!("{path}: \"{literal}\""));
            }
        }
    }
    assert_none(&broken, "name the one who acts, and what happens");
}

#[test]
fn words_of_documents_are_those_of_the_field() {
    let documents = files(vec![root()], "md");
    assert!(documents.len() > 15, "{} were found", documents.len());
    let mut broken = Vec::new();
    for (path, text) in documents {
        for (number, line) in prose(&text).iter().enumerate() {
            if !banned(line).is_empty() {
                broken.push(format!("{path}:{}: {line}", number + 1));
            }
        }
    }
    assert_none(&broken, "name the one who acts, and what happens");
}

#[test]
fn names_of_tests_use_the_words_of_the_field() {
    let is_sentence = |name: &&str| name.split('_').count() > 3;
    let mut broken = Vec::new();
    for (path, text) in all_sources() {
        for name in functions(&text).filter(is_sentence) {
            if !banned(&name.replace('_', " ")).is_empty() {
                broken.push(format!("{path}: {name}"));
            }
        }
    }
    assert_none(&broken, "name the one who acts, and what happens");
}

#[test]
fn comments_fit_the_width_of_code() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let mut is_example = false;
        for (number, line) in text.lines().enumerate() {
            let comment = line.trim_start();
            is_example ^= comment.starts_with("/// ```") || comment.starts_with("//! ```");
            let is_prose = comment.starts_with("//") && !comment.contains('|') && !is_example;
            if is_prose && line.chars().count() > WIDTH {
                broken.push(format!("{path}:{}: {comment}", number + 1));
            }
        }
    }
    assert_none(&broken, "wrap comments at 100 columns");
}

#[test]
fn banned_words_are_found() {
    assert_eq!(banned("Nobody is told."), ["nobody", "told"]);
    assert_eq!(banned("retold, amended"), [""; 0]);
    assert_eq!(banned("Default: for ever."), ["for ever"]);
    let text = "/// Whether it is open.\n///\n/// Never.\nfn open() {}\n";
    let docs = docs("a.rs", text);
    assert_eq!(docs.len(), 2);
    assert!(docs[0].is_first && docs[0].is_paragraph && docs[1].is_paragraph);
    assert_eq!(first_word(docs[0].text), "Whether");
    assert_eq!(
        functions("fn a_b() {}\nasync fn c<T>()").collect::<Vec<_>>(),
        ["a_b", "c"]
    );
    assert_eq!(literals("call(\"one\", 2, \"three\")"), ["one", "three"]);
    assert_eq!(prose("a `b` c\n```\nd\n```\ne"), ["a  c", "", "", "", "e"]);
}
