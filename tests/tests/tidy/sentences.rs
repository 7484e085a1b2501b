//! Texts in the sources of the daemon, against the sentences by which the lab reads its log.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, LitStr};

use super::source::{self, Crate};

/// Sentences, or words before them, that no text of these crates begins with.
pub(crate) fn unsaid<'s>(
    root: &Path,
    crates: &[Crate],
    sentences: impl Iterator<Item = &'s str>,
) -> Vec<&'s str> {
    let mut texts = Texts(Vec::new());
    for file in crates.iter().flat_map(|one| one.modules.values()).map(|module| &module.file) {
        if file.starts_with("reconciler/") {
            let text = std::fs::read_to_string(root.join(file)).expect("a source");
            texts.visit_file(&syn::parse_file(&text).expect("Rust"));
        }
    }
    let said: Vec<String> = texts.0.iter().map(|text| nameless(text)).collect();
    sentences.filter(|words| !said.iter().any(|text| text.starts_with(&nameless(words)))).collect()
}

/// A text whose `{name}` and `{:.1}` are `{}`.
fn nameless(text: &str) -> String {
    let mut pieces = text.split('{');
    let mut nameless = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        nameless += "{";
        nameless += piece.find('}').map_or(piece, |end| &piece[end..]);
    }
    nameless
}

/// Collects texts, those given to macros too, but none that only tests have.
struct Texts(Vec<String>);

impl Texts {
    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                        self.visit_lit_str(&text);
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Texts {
    fn visit_item(&mut self, item: &'ast Item) {
        if !source::is_for_tests_or_docs(source::attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    /// Documentation is an attribute.
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.tokens(called.tokens.clone());
    }

    fn visit_lit_str(&mut self, text: &'ast LitStr) {
        self.0.push(text.value());
    }
}
