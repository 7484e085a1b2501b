//! TOML blocks are cluster files, and compile.
//!
//! | block | what it is |
//! |---|---|
//! | `toml` | a whole cluster |
//! | `toml,excerpt` | laid over the example `lvs-dr`, the whole compiles |
//! | `toml,excerpt=NAME` | the same over another example |
//! | `toml,mistake=EK0000` | the compiler says this of it; also behind `excerpt` |
//! | `toml,file=PATH` | one of several files of its page, whose first is `cluster.toml` |
//! | `toml,overlay=PATH` | laid over those files |

use std::collections::BTreeMap;
use std::io;

use evenkeel::{Diagnostic, Files, Severity, Start};

use super::book::{Block, Document, Library, root};

/// The example that excerpts are laid over unless they name another one.
const USUAL: &str = "lvs-dr";
/// The first file of a cluster.
const FIRST: &str = "cluster.toml";

/// A tree of files in memory.
#[derive(Default)]
struct Tree<'a>(BTreeMap<String, &'a str>);

impl Files for Tree<'_> {
    fn read(&self, path: &str, limit: usize) -> io::Result<Vec<u8>> {
        let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.as_bytes().iter().take(limit).copied().collect())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let inside = self.0.keys().filter_map(|path| match directory {
            "" => Some(path.as_str()),
            directory => path.strip_prefix(directory)?.strip_prefix('/'),
        });
        let names = inside.filter_map(|path| path.split('/').next());
        Ok(names.map(str::to_owned).collect())
    }
}

/// Diagnostics of the compiler for a cluster in memory, overlays in their order.
fn compile(tree: &Tree<'_>, overlays: &[(&Tree<'_>, &str)]) -> Vec<Diagnostic> {
    let overlays: Vec<Start<'_>> =
        overlays.iter().map(|(files, file)| Start { files: *files, file, shown: "" }).collect();
    let source = evenkeel::load(Start { files: tree, file: FIRST, shown: "" }, &overlays);
    evenkeel::compile(&source).diagnostics
}

/// Blocks that are not what they say.
pub(crate) fn faults(library: &Library) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, document) in &library.documents {
        for block in document.blocks.iter().filter(|block| block.kind().0 == "toml") {
            if let Err(why) = judge(block, document) {
                faults.push(format!("{path}:{}: {why}", block.line));
            }
        }
        if let Some((files, line)) = of_page(document)
            && let Err(why) = without_error(&compile(&files, &[]))
        {
            faults.push(format!("{path}:{line}: the files of this page: {why}"));
        }
    }
    faults
}

/// The files of a page together, and where the first is; none where there are none.
fn of_page(document: &Document) -> Option<(Tree<'_>, usize)> {
    let mut tree = Tree::default();
    let mut first = None;
    for block in &document.blocks {
        let named = block.kind().1.iter().find_map(|word| word.strip_prefix("file=")).map(str::to_owned);
        if let Some(name) = named {
            first.get_or_insert(block.line);
            tree.0.insert(name, &block.text);
        }
    }
    first.map(|line| (tree, line))
}

fn judge(block: &Block, document: &Document) -> Result<(), String> {
    let (_, words) = block.kind();
    let own = |name: &str| Tree(BTreeMap::from([(name.to_owned(), block.text.as_str())]));
    let (mut found, mut mistake) = (None, None);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "excerpt" => {
                let name = if value.is_empty() { USUAL } else { value };
                let base = std::fs::read_to_string(root().join("examples").join(name).join(FIRST));
                let base = base.map_err(|_| format!("there is no example {name}"))?;
                let base = Tree(BTreeMap::from([(FIRST.to_owned(), base.as_str())]));
                found = Some(compile(&base, &[(&own("excerpt.toml"), "excerpt.toml")]));
            }
            "overlay" => {
                let (base, _) = of_page(document).ok_or("there is no file on this page to lay it over")?;
                found = Some(compile(&base, &[(&own(value), value)]));
            }
            // All of a page are judged together.
            "file" => return Ok(()),
            "mistake" => mistake = Some(value),
            other => return Err(format!("`{other}` says nothing about a block")),
        }
    }
    let found = found.unwrap_or_else(|| compile(&own(FIRST), &[]));
    match mistake {
        None => without_error(&found),
        Some(code) if found.iter().any(|diagnostic| diagnostic.code.id == code) => Ok(()),
        Some(code) => Err(format!("the compiler does not say {code} of it")),
    }
}

fn without_error(found: &[Diagnostic]) -> Result<(), String> {
    match found.iter().find(|diagnostic| diagnostic.severity() == Severity::Error) {
        None => Ok(()),
        Some(error) => Err(format!("{}: {}", error.code.id, error.message)),
    }
}

#[test]
fn blocks_that_are_not_what_they_say_are_found() {
    let whole = "version = 1\nname = \"x\"\n[segments.a]\nsubnets = [\"192.0.2.0/24\"]\n[hosts]\nd = { \
        address = \"192.0.2.1\", interface = \"eth0\" }\n";
    let page = |blocks: &str| format!("# A\n\n{blocks}");
    let check = |blocks: &str| faults(&Library::of(&[("docs/a.md", &page(blocks))]));
    let rest = "[hosts]\nd = { address = \"192.0.2.1\", interface = \"eth0\" }\n";
    for good in [
        format!("```toml\n{whole}```\n"),
        "```toml,excerpt\n[services.web]\nport = 81\n```\n".to_owned(),
        "```toml,excerpt=nat\n[services.app]\nport = 81\n```\n".to_owned(),
        "```toml,excerpt,mistake=EK0101\n[services.web]\nportt = 81\n```\n".to_owned(),
        format!(
            "```toml,file=cluster.toml\ninclude = [\"h/*.toml\"]\n{}```\n```toml,file=h/a.toml\n{rest}```\n\
            ```toml,overlay=o.toml\nname = \"y\"\n```\n",
            whole.split("[hosts]").next().expect("first")
        ),
    ] {
        assert_eq!(check(&good), Vec::<String>::new(), "{good}");
    }
    for (bad, word) in [
        ("```toml\nversion = 1\n```\n".to_owned(), "EK0102"),
        ("```toml,excerpt\n[services.web]\nportt = 81\n```\n".to_owned(), "EK0101"),
        ("```toml,excerpt=none\nname = \"x\"\n```\n".to_owned(), "no example none"),
        (
            "```toml,excerpt,mistake=EK0104\n[services.web]\nport = 81\n```\n".to_owned(),
            "does not say EK0104",
        ),
        ("```toml,exerpt\nname = \"x\"\n```\n".to_owned(), "says nothing"),
        ("```toml,overlay=o.toml\nname = \"x\"\n```\n".to_owned(), "no file on this page"),
        (format!("```toml,file=cluster.toml\ninclude = [\"h.toml\"]\n{whole}```\n"), "EK0001"),
        (
            format!("```toml,file=cluster.toml\n{whole}```\n```toml,overlay=o.toml\nnam = \"y\"\n```\n"),
            "EK0101",
        ),
    ] {
        let found = check(&bad);
        assert!(found.len() == 1 && found[0].contains(word), "{bad}: {found:?}");
    }
}
