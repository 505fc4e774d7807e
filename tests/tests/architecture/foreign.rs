//! The types of other crates that stand in public signatures, read from the code.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItem, Item, ItemImpl, Path, Type, Visibility};

use super::sources::Sources;
use super::{dependencies, read};

/// The full paths of what a crate shows of its dependencies, those of this workspace left out.
///
/// What macros write is not seen, nor what is derived.
pub(crate) fn foreign_types(package: &str) -> BTreeSet<String> {
    let sources = Sources::of(package);
    let files = sources.iter().map(|(path, _)| {
        let code = read(&format!("{package}/src/{path}"));
        (path, syn::parse_file(&code).expect(path))
    });
    let files: Vec<_> = files.collect();
    let items = files.iter().flat_map(|(_, file)| &file.items);
    let crates = dependencies(package).map(|name| name.replace('-', "_"));
    let mut signatures = Signatures {
        crates: crates.filter(|name| !name.starts_with("bus_")).collect(),
        public: items.filter_map(public_type).collect(),
        ..Signatures::default()
    };
    for (path, file) in &files {
        signatures.imported.clear();
        signatures.import(&sources.uses(path, false), false);
        signatures.import(&sources.uses(path, true), true);
        signatures.visit_file(file);
    }
    signatures.found
}

#[derive(Default)]
struct Signatures {
    /// The dependencies of the crate.
    crates: BTreeSet<String>,
    /// The public types of the crate.
    public: BTreeSet<String>,
    /// What the names in the file stand for.
    imported: BTreeMap<String, String>,
    found: BTreeSet<String>,
}

impl Signatures {
    fn import(&mut self, paths: &[Vec<String>], is_public: bool) {
        for path in paths.iter().filter(|path| self.crates.contains(&path[0])) {
            let (full, name) = (path.join("::"), path[path.len() - 1].clone());
            self.found.extend(is_public.then(|| full.clone()));
            self.imported.insert(name, full);
        }
    }

    fn implementation(&mut self, block: &ItemImpl) {
        let public = match &*block.self_ty {
            Type::Path(of) => of.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        if !public.is_some_and(|name| self.public.contains(&name)) {
            return;
        }
        if let Some((_, implemented, _)) = &block.trait_ {
            return self.visit_path(implemented);
        }
        for item in &block.items {
            if let ImplItem::Fn(method) = item
                && is_public(&method.vis)
            {
                self.visit_signature(&method.sig);
            }
        }
    }
}

impl<'a> Visit<'a> for Signatures {
    fn visit_item(&mut self, item: &'a Item) {
        match item {
            Item::Impl(block) => self.implementation(block),
            Item::Fn(function) if is_public(&function.vis) => self.visit_signature(&function.sig),
            Item::Type(alias) if is_public(&alias.vis) => self.visit_type(&alias.ty),
            Item::Struct(data) if is_public(&data.vis) => {
                self.visit_generics(&data.generics);
                let shown = data.fields.iter().filter(|field| is_public(&field.vis));
                shown.for_each(|field| self.visit_type(&field.ty));
            }
            _ if public_type(item).is_some() => visit::visit_item(self, item),
            _ => {}
        }
    }

    fn visit_path(&mut self, path: &'a Path) {
        let names: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        let first = &names[0];
        let full = self.imported.get(first).unwrap_or(first);
        let full = [std::slice::from_ref(full), &names[1..]]
            .concat()
            .join("::");
        if self
            .crates
            .contains(full.split("::").next().unwrap_or_default())
        {
            self.found.insert(full);
        }
        visit::visit_path(self, path);
    }

    fn visit_block(&mut self, _: &'a Block) {}

    fn visit_attribute(&mut self, _: &'a Attribute) {}
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn public_type(item: &Item) -> Option<String> {
    let (visibility, name) = match item {
        Item::Struct(item) => (&item.vis, &item.ident),
        Item::Enum(item) => (&item.vis, &item.ident),
        Item::Trait(item) => (&item.vis, &item.ident),
        _ => return None,
    };
    is_public(visibility).then(|| name.to_string())
}
