//! The documents taken apart: headings and their anchors, links, blocks of code, inline code. Nothing is
//! judged here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use pulldown_cmark::{BrokenLink, CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd};

/// Where the book begins, relative to the top of the repository.
pub(crate) const BOOK: &str = "docs/";
pub(crate) const SUMMARY: &str = "docs/SUMMARY.md";

/// The top of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("workspace").to_owned()
}

/// A line of a document, from 1.
pub(crate) type Line = usize;

/// One document.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) text: String,
    /// Levels of its headings.
    pub(crate) levels: Vec<u8>,
    /// Anchors that a git forge and mdBook both have.
    pub(crate) anchors: BTreeSet<String>,
    pub(crate) links: Vec<(String, Line)>,
    pub(crate) blocks: Vec<Block>,
    /// Inline code.
    pub(crate) codes: Vec<(String, Line)>,
    /// Links whose target is defined nowhere, such as `[text][name]`.
    pub(crate) broken: Vec<(String, Line)>,
}

/// One block of code.
#[derive(Debug)]
pub(crate) struct Block {
    /// Words behind the fence; `None` when the block is only indented.
    pub(crate) info: Option<String>,
    pub(crate) text: String,
    /// Where its first line is.
    pub(crate) line: Line,
}

impl Block {
    /// The language, and what is said about the block behind it: `toml,excerpt=nat`.
    pub(crate) fn kind(&self) -> (&str, Vec<&str>) {
        let mut words = self.info.as_deref().unwrap_or_default().split(',').map(str::trim);
        (words.next().unwrap_or_default(), words.collect())
    }
}

/// All documents, and which files there are.
#[derive(Debug, Default)]
pub(crate) struct Library {
    /// Documents by their path from the top of the repository.
    pub(crate) documents: BTreeMap<String, Document>,
    /// All files of the repository, and all directories of theirs.
    pub(crate) files: BTreeSet<String>,
}

impl Library {
    /// The documents of the work tree, read once.
    pub(crate) fn read() -> &'static Self {
        static LIBRARY: LazyLock<Library> = LazyLock::new(Library::of_the_work_tree);
        &LIBRARY
    }

    /// Files that git knows or would take.
    fn of_the_work_tree() -> Self {
        let output = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(root())
            .output()
            .expect("git ls-files");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let list = String::from_utf8(output.stdout).expect("UTF-8");
        let there = list.lines().filter(|file| root().join(file).exists());
        let mut library = Self::default();
        for file in there {
            library.add_file(file);
            let top = !file.contains('/');
            let example = file.starts_with("examples/");
            if file.ends_with(".md") && (top || example || file.starts_with(BOOK)) {
                let text = std::fs::read_to_string(root().join(file)).expect("read a document");
                library.documents.insert(file.to_owned(), Document::read(&text));
            }
        }
        assert!(library.documents.len() > 20, "the documents have gone");
        library
    }

    /// A library of texts, for tests of the checks.
    pub(crate) fn of(texts: &[(&str, &str)]) -> Self {
        let mut library = Self::default();
        for (path, text) in texts {
            library.add_file(path);
            library.documents.insert((*path).to_owned(), Document::read(text));
        }
        library
    }

    fn add_file(&mut self, file: &str) {
        let ends = file.match_indices('/').map(|(at, _)| at).chain([file.len()]);
        self.files.extend(ends.map(|end| file[..end].to_owned()));
    }

    /// The pages of the book: all but the list of them.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (&String, &Document)> {
        self.documents.iter().filter(|(path, _)| path.starts_with(BOOK) && *path != SUMMARY)
    }
}

impl Document {
    pub(crate) fn read(text: &str) -> Self {
        let mut document = Self { text: text.to_owned(), ..Self::default() };
        let lines = Lines::of(text);
        let mut broken = Vec::new();
        let mut undefined = |link: BrokenLink<'_>| {
            if matches!(link.link_type, LinkType::Reference | LinkType::Collapsed) {
                broken.push((link.reference.to_string(), lines.at(link.span.start)));
            }
            None
        };
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
        let parser = Parser::new_with_broken_link_callback(text, options, Some(&mut undefined));
        let mut slugs = [Slugs::default(), Slugs::default()];
        let (mut heading, mut block): (Option<String>, Option<Block>) = (None, None);
        for (event, range) in parser.into_offset_iter() {
            let line = lines.at(range.start);
            match event {
                Event::Start(Tag::Heading { level, .. }) => {
                    document.levels.push(level as u8);
                    heading = Some(String::new());
                }
                Event::End(TagEnd::Heading(_)) => {
                    let text = heading.take().unwrap_or_default();
                    let [forge, book] = &mut slugs;
                    forge.add(of_a_forge(&text));
                    book.add(of_mdbook(&text));
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    let (info, line) = match kind {
                        CodeBlockKind::Fenced(info) => (Some(info.to_string()), line + 1),
                        CodeBlockKind::Indented => (None, line),
                    };
                    block = Some(Block { info, text: String::new(), line });
                }
                Event::End(TagEnd::CodeBlock) => document.blocks.extend(block.take()),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push((dest_url.to_string(), line));
                }
                Event::Text(part) => match (&mut block, &mut heading) {
                    (Some(block), _) => block.text.push_str(&part),
                    (None, Some(heading)) => heading.push_str(&part),
                    (None, None) => {}
                },
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    document.codes.push((code.to_string(), line));
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    if let Some(id) = html.split_once("<a id=\"").and_then(|(_, rest)| rest.split('"').next())
                    {
                        slugs.iter_mut().for_each(|slugs| slugs.add(id.to_owned()));
                    }
                }
                _ => {}
            }
        }
        let [forge, book] = slugs;
        document.anchors = forge.all.intersection(&book.all).cloned().collect();
        document.broken = broken;
        document
    }
}

/// Where lines begin: a long document is asked for thousands of them.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn at(&self, byte: usize) -> Line {
        self.0.partition_point(|end| *end < byte) + 1
    }
}

/// Anchors of one document: of two that are alike the second gets a number.
#[derive(Debug, Default)]
struct Slugs {
    all: BTreeSet<String>,
    seen: BTreeMap<String, usize>,
}

impl Slugs {
    fn add(&mut self, slug: String) {
        let seen = self.seen.entry(slug.clone()).or_default();
        self.all.insert(if *seen == 0 { slug } else { format!("{slug}-{seen}") });
        *seen += 1;
    }
}

/// As GitHub and GitLab make them: in small letters, blanks are hyphens, and nothing else is left but
/// letters, digits, `-` and `_`.
fn of_a_forge(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// As mdBook makes them (its `normalize_id`): only ASCII letters are made small, and any blank is a hyphen.
fn of_mdbook(heading: &str) -> String {
    let one = |c: char| match c {
        c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c.to_ascii_lowercase()),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    };
    heading.trim().chars().filter_map(one).collect()
}

#[test]
fn a_document_is_taken_apart() {
    let text = "# One `two`: three\n\n[a](b.md#c) and `evenkeel plan`\n\n## Same\n\n## Same\n\n\
        ```toml,excerpt=nat\nversion = 1\n```\n\n    indented\n\n<a id=\"ek0001\"></a>\n\n[x][nowhere] \
        [shortcut]\n";
    let document = Document::read(text);
    let anchors: Vec<&str> = document.anchors.iter().map(String::as_str).collect();
    assert_eq!(anchors, ["ek0001", "one-two-three", "same", "same-1"]);
    assert_eq!(document.links, [("b.md#c".to_owned(), 3)]);
    assert_eq!(document.codes.last(), Some(&("evenkeel plan".to_owned(), 3)));
    assert_eq!(document.blocks[0].kind(), ("toml", vec!["excerpt=nat"]));
    assert_eq!((document.blocks[0].text.as_str(), document.blocks[0].line), ("version = 1\n", 10));
    assert_eq!(document.blocks[1].info, None);
    assert_eq!(document.broken, [("nowhere".to_owned(), 17)]);
}
