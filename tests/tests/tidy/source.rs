//! Crates as the compiler sees them: the modules of each, the paths that each module names, and the types
//! that it defines.
//!
//! Read with `syn`, so that comments, texts and documentation count for nothing. What only tests or rustdoc
//! build is left out. Judging what is found is not done here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, UseTree};

/// How often a name may stand for another name before following it ends: no crate has such a chain.
const MAX_ALIASES: usize = 16;

/// The path of a module from the root of its crate; empty for the root.
pub(crate) type ModulePath = Vec<String>;

/// A library or program with all of its modules.
#[derive(Debug)]
pub(crate) struct Crate {
    /// Name of the package and of the target, where that differs.
    pub(crate) name: String,
    pub(crate) modules: BTreeMap<ModulePath, Module>,
}

/// A module: a file, or a `mod name { … }` in one.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The file, from the root of the repository.
    pub(crate) file: String,
    /// Paths of this crate that it names, absolute, each with its line.
    pub(crate) references: Vec<(ModulePath, usize)>,
    /// Names that `use` brings into its scope, and what they stand for.
    aliases: BTreeMap<String, ModulePath>,
    /// Modules of which it takes all names.
    globs: Vec<(ModulePath, usize)>,
    /// Names of structs, enums, unions and traits that it defines, each with its line.
    pub(crate) types: Vec<(String, usize)>,
}

impl Crate {
    /// The module in which the item at an absolute path is defined, following `pub use` to where it leads.
    pub(crate) fn owner(&self, path: &[String]) -> Option<ModulePath> {
        let mut path = path.to_vec();
        for _ in 0..MAX_ALIASES {
            let mut module = ModulePath::new();
            let mut rest = path.as_slice();
            while let Some((first, behind)) = rest.split_first() {
                module.push(first.clone());
                if !self.modules.contains_key(&module) {
                    module.pop();
                    break;
                }
                rest = behind;
            }
            let here = self.modules.get(&module)?;
            let Some((target, behind)) =
                rest.split_first().and_then(|(name, behind)| Some((here.aliases.get(name)?, behind)))
            else {
                return Some(module);
            };
            path = target.iter().chain(behind).cloned().collect();
        }
        None
    }

    /// All modules whose items a module names, each with the line of the first time.
    pub(crate) fn named_by(&self, module: &Module) -> BTreeMap<ModulePath, usize> {
        let mut named = BTreeMap::new();
        for (path, line) in &module.references {
            if let Some(owner) = self.owner(path) {
                named.entry(owner).or_insert(*line);
            }
        }
        // Whoever takes all names of a module may name whatever that one has in its scope.
        for (glob, line) in &module.globs {
            let Some(owner) = self.owner(glob) else { continue };
            let aliases = self.modules.get(&owner).into_iter().flat_map(|module| module.aliases.values());
            for owner in aliases.filter_map(|path| self.owner(path)).chain([owner.clone()]) {
                named.entry(owner).or_insert(*line);
            }
        }
        named
    }
}

/// All libraries and programs of the workspace. Tests, benchmarks and examples are left out.
pub(crate) fn crates(root: &Path) -> Vec<Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut crates = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        for target in package["targets"].as_array().expect("targets") {
            let kinds = target["kind"].as_array().expect("kinds");
            if kinds.iter().any(|kind| kind == "lib" || kind == "bin") {
                let package = package["name"].as_str().expect("name");
                let kind = kinds[0].as_str().expect("kind");
                let path = target["src_path"].as_str().expect("path");
                let name = format!("{package} ({kind} {})", target["name"].as_str().expect("name"));
                crates.push(read(root, &name, Path::new(path)));
            }
        }
    }
    assert!(crates.len() >= 7, "only {} crates found", crates.len());
    crates
}

/// Reads the crate whose root is a file.
pub(crate) fn read(root: &Path, name: &str, file: &Path) -> Crate {
    let mut reader = Reader { root, modules: BTreeMap::new() };
    let directory = file.parent().expect("a directory").to_owned();
    reader.file(file, &directory, ModulePath::new());
    Crate { name: name.to_owned(), modules: reader.modules }
}

struct Reader<'a> {
    root: &'a Path,
    modules: BTreeMap<ModulePath, Module>,
}

impl Reader<'_> {
    /// Reads a file and the files of the modules in it, which are looked for below `directory`.
    fn file(&mut self, file: &Path, directory: &Path, module: ModulePath) {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.items(&parsed.items, file, directory, module);
    }

    fn items(&mut self, items: &[Item], file: &Path, directory: &Path, module: ModulePath) {
        let shown = file.strip_prefix(self.root).unwrap_or(file).display().to_string();
        let children: BTreeSet<String> = items
            .iter()
            .filter_map(|item| if let Item::Mod(inner) = item { Some(inner.ident.to_string()) } else { None })
            .collect();
        let mut collector = Collector {
            module: module.clone(),
            children,
            top: true,
            found: Module { file: shown, ..Module::default() },
        };
        items.iter().for_each(|item| collector.visit_item(item));
        self.modules.insert(module.clone(), collector.found);
        for item in items {
            let Item::Mod(inner) = item else { continue };
            if is_for_tests_or_docs(&inner.attrs) {
                continue;
            }
            let name = inner.ident.to_string();
            let mut path = module.clone();
            path.push(name.clone());
            let below = directory.join(&name);
            match &inner.content {
                Some((_, items)) => self.items(items, file, &below, path),
                None => {
                    let file = place(&inner.attrs, file, directory, &name);
                    self.file(&file, &below, path);
                }
            }
        }
    }
}

/// The file of a `mod name;`.
fn place(attributes: &[Attribute], file: &Path, directory: &Path, name: &str) -> PathBuf {
    for attribute in attributes {
        if let syn::Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("path")
            && let syn::Expr::Lit(literal) = &pair.value
            && let syn::Lit::Str(text) = &literal.lit
        {
            return file.parent().expect("a directory").join(text.value());
        }
    }
    directory.join(format!("{name}.rs"))
}

/// Whether an item is there for tests or for rustdoc only: `#[cfg(test)]`, `#[cfg(doc)]`,
/// `#[cfg(all(test, …))]`, `#[test]`.
pub(crate) fn is_for_tests_or_docs(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let mut words = list.tokens.clone().into_iter();
        let plain =
            |word: &TokenTree| matches!(word, TokenTree::Ident(word) if word == "test" || word == "doc");
        attribute.path().is_ident("cfg")
            && match words.next() {
                Some(TokenTree::Ident(all)) if all == "all" => match words.next() {
                    Some(TokenTree::Group(group)) => group.stream().into_iter().any(|word| plain(&word)),
                    _ => false,
                },
                Some(word) => plain(&word),
                None => false,
            }
    })
}

/// Collects what a module names, in all its items but the modules in it.
struct Collector {
    module: ModulePath,
    /// Names of the modules in it.
    children: BTreeSet<String>,
    /// Whether what is visited stands in the module itself and not in a body.
    top: bool,
    found: Module,
}

impl Collector {
    /// The absolute path of one that begins with `crate`, `super`, `self`, a module in this one or a name
    /// that was brought into scope; none for one of another crate.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        let mut base = match first.as_str() {
            "crate" => ModulePath::new(),
            "self" | "super" => self.module.clone(),
            name if self.children.contains(name) => {
                return Some(self.module.iter().chain(path).cloned().collect());
            }
            name => {
                let target = self.found.aliases.get(name)?;
                return Some(target.iter().chain(rest).cloned().collect());
            }
        };
        let mut rest = path;
        while let Some((first, behind)) = rest.split_first() {
            match first.as_str() {
                "super" => _ = base.pop()?,
                "self" | "crate" => {}
                _ => break,
            }
            rest = behind;
        }
        base.extend(rest.iter().cloned());
        Some(base)
    }

    fn reference(&mut self, path: &[String], line: usize) {
        if let Some(path) = self.absolute(path) {
            self.found.references.push((path, line));
        }
    }

    fn used(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.used(&step.tree, path);
                path.pop();
            }
            UseTree::Name(name) => self.import(path, &name.ident.to_string(), None, name.span().start().line),
            UseTree::Rename(name) => {
                let line = name.span().start().line;
                self.import(path, &name.ident.to_string(), Some(name.rename.to_string()), line);
            }
            UseTree::Glob(star) => {
                if let Some(path) = self.absolute(path) {
                    self.found.globs.push((path, star.span().start().line));
                }
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.used(tree, path)),
        }
    }

    fn import(&mut self, path: &[String], name: &str, rename: Option<String>, line: usize) {
        let mut path = path.to_vec();
        if name != "self" {
            path.push(name.to_owned());
        }
        let Some(absolute) = self.absolute(&path) else { return };
        let alias = rename.or_else(|| path.last().cloned()).unwrap_or_default();
        // `pub(crate) use inner::inner;` names the item in the module, which has its name.
        if self.top && !self.children.contains(&alias) {
            self.found.aliases.insert(alias, absolute.clone());
        }
        self.found.references.push((absolute, line));
    }

    /// Paths in what a macro is given, or is made of.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let line = first.span().start().line;
                    let mut path = vec![first.to_string()];
                    // `a::b`: an ident, two colons, an ident.
                    loop {
                        let mut ahead = tokens.clone();
                        let colon = |token: Option<TokenTree>| match token {
                            Some(TokenTree::Punct(sign)) => sign.as_char() == ':',
                            _ => false,
                        };
                        let (one, two) = (colon(ahead.next()), colon(ahead.next()));
                        let Some(TokenTree::Ident(next)) = ahead.next().filter(|_| one && two) else { break };
                        path.push(next.to_string());
                        tokens = ahead;
                    }
                    if path.len() > 1 {
                        self.reference(&path, line);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    fn define(&mut self, name: &syn::Ident) {
        self.found.types.push((name.to_string(), name.span().start().line));
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests_or_docs(attributes(item)) {
            return;
        }
        let top = self.top;
        match item {
            // A module of its own.
            Item::Mod(_) => return,
            Item::Use(_) => {}
            Item::Struct(item) => self.define(&item.ident),
            Item::Enum(item) => self.define(&item.ident),
            Item::Union(item) => self.define(&item.ident),
            Item::Trait(item) => self.define(&item.ident),
            _ => {}
        }
        self.top = top && matches!(item, Item::Use(_));
        visit::visit_item(self, item);
        self.top = top;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.used(&item.tree, &mut Vec::new());
    }

    /// `pub(in crate::x)` names no item.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    /// Documentation is an attribute; the paths in others are those of other crates.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.reference(&segments, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }
}

pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
