//! The source files of a crate, and which of them import which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::root;

/// Source files by path below `src`, without their tests and comments.
pub(crate) struct Sources(BTreeMap<String, String>);

impl Sources {
    pub(crate) fn of(package: &str) -> Self {
        let base = root().join(package).join("src");
        let mut found = BTreeMap::new();
        walk(&base, &base, &mut found);
        assert!(!found.is_empty(), "{package} has sources");
        Self(found)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(path, code)| (&**path, &**code))
    }

    /// The files that match, by path.
    pub(crate) fn matching(&self, is_match: impl Fn(&str, &str) -> bool) -> Vec<&str> {
        let matching = self.iter().filter(|(path, code)| is_match(path, code));
        matching.map(|(path, _)| path).collect()
    }

    /// The files that a file imports something of. What a folder passes on counts for the file
    /// that has it.
    pub(crate) fn imports(&self, path: &str) -> BTreeSet<&str> {
        let imported = paths(&self.0[path], false)
            .into_iter()
            .filter_map(|import| self.resolve(&module(path), &import));
        imported.filter(|imported| *imported != path).collect()
    }

    /// The paths into other crates of a file's `use` statements, those that export something or
    /// the others.
    pub(crate) fn uses(&self, path: &str, exports: bool) -> Vec<Vec<String>> {
        let all = paths(&self.0[path], exports).into_iter();
        all.filter(|used| self.resolve(&module(path), used).is_none())
            .collect()
    }

    /// The file in which a path ends, seen from a module; none outside of the crate.
    fn resolve(&self, from: &[String], import: &[String]) -> Option<&str> {
        let mut at = match import.first()?.as_str() {
            "crate" => Vec::new(),
            "super" => from[..from.len() - 1].to_vec(),
            _ => {
                self.child(from, &import[0])?;
                return self.walk_down(from.to_vec(), import);
            }
        };
        let mut rest = &import[1..];
        while rest.first().is_some_and(|name| name == "super") {
            at.pop();
            rest = &rest[1..];
        }
        self.walk_down(at, rest)
    }

    fn walk_down(&self, mut at: Vec<String>, names: &[String]) -> Option<&str> {
        for (place, name) in names.iter().enumerate() {
            if self.child(&at, name).is_some() {
                at.push(name.clone());
                continue;
            }
            let file = self.file(&at)?;
            let passed_on = paths(&self.0[file], true)
                .into_iter()
                .find(|path| path.last() == Some(name));
            return match passed_on {
                Some(passed_on) => self.resolve(&at, &passed_on),
                None => Some(file).filter(|_| place < names.len()),
            };
        }
        self.file(&at)
    }

    fn child(&self, at: &[String], name: &str) -> Option<&str> {
        let mut module = at.to_vec();
        module.push(name.to_owned());
        self.file(&module)
    }

    fn file(&self, module: &[String]) -> Option<&str> {
        let path = module.join("/");
        let names = match path.as_str() {
            "" => ["lib.rs".to_owned(), String::new()],
            path => [format!("{path}.rs"), format!("{path}/mod.rs")],
        };
        let found = names.iter().find_map(|name| self.0.get_key_value(name));
        found.map(|(path, _)| path.as_str())
    }

    /// A way of imports from a file back to itself.
    pub(crate) fn circle(&self) -> Option<Vec<&str>> {
        let mut done = BTreeSet::new();
        let files = self.0.keys().filter(|path| *path != "lib.rs");
        files
            .map(String::as_str)
            .find_map(|path| self.circle_from(&mut vec![path], &mut done))
    }

    fn circle_from<'a>(
        &'a self,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<&'a str>> {
        let last = *way.last()?;
        if done.contains(last) {
            return None;
        }
        for imported in self.imports(last) {
            if let Some(start) = way.iter().position(|path| *path == imported) {
                return Some(way[start..].to_vec());
            }
            way.push(imported);
            let circle = self.circle_from(way, done);
            if circle.is_some() {
                return circle;
            }
            way.pop();
        }
        done.insert(last);
        None
    }
}

fn walk(folder: &Path, base: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, base, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(base).expect("below").to_string_lossy();
            let is_test = name.ends_with("tests.rs") || name.ends_with("simulation.rs");
            let text = fs::read_to_string(&path).expect("text");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = code
                .lines()
                .map(|line| line.split("//").next().unwrap_or(line));
            if !is_test {
                found.insert(name.into_owned(), lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }
}

/// `send/outbound.rs` is the module `send::outbound`, `send/mod.rs` is `send`.
fn module(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(str::to_owned).collect()
}

/// The paths of all `use` statements, those that export something or the others, and the paths
/// in the code that begin with `crate::` or `super::`.
fn paths(code: &str, exports: bool) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let statements = code.split(';').filter_map(|statement| {
        let line = statement
            .rsplit_once("\n\n")
            .map_or(statement, |(_, last)| last);
        line.split_once("use ")
            .map(|(before, path)| (before.trim(), path))
    });
    for (before, path) in statements {
        let is_export = before.ends_with("pub") || before.ends_with("pub(crate)");
        if is_export == exports && (is_export || before.is_empty()) {
            found.extend(expand(path));
        }
    }
    if !exports {
        for start in ["crate::", "super::"] {
            for rest in code.split(start).skip(1) {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
                let path = rest[..end.unwrap_or(rest.len())].trim_end_matches("::");
                found.extend(expand(&format!("{start}{path}")));
            }
        }
    }
    found
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(path: &str) -> Vec<Vec<String>> {
    let Some((head, rest)) = path.split_once('{') else {
        let path = path.split(" as ").next().unwrap_or(path).trim();
        return vec![
            path.split("::")
                .map(|name| name.trim().to_owned())
                .collect(),
        ];
    };
    let rest = rest.trim_end().trim_end_matches('}');
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in rest.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(|part| expand(&format!("{head}{}", part.trim())))
        .collect()
}
