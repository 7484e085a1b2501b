//! `evenkeel graph`: a picture of the cluster, to standard output or into a file.

use std::path::Path;

use evenkeel::graph::{Graph as Picture, mermaid, svg};

use super::files::Trust;
use super::terminal::Shown;
use super::{Format, Graph, GraphFormat, Terminal, disk, input};

pub(super) fn run(arguments: &Graph, terminal: &Terminal) -> bool {
    let Some(compilation) = input::load_cluster(&arguments.input, Trust::Own, Format::Human, terminal) else {
        return false;
    };
    let Some(cluster) = &compilation.cluster else {
        return false;
    };
    let picture = Picture::of(cluster);
    let text = match arguments.format.unwrap_or_else(|| by_name(arguments.out.as_deref())) {
        GraphFormat::Svg => svg(&picture),
        GraphFormat::Mermaid => mermaid(&picture),
    };
    let Some(file) = &arguments.out else {
        terminal.say(text.trim_end());
        return true;
    };
    match disk::replace(file, text.as_bytes(), disk::PUBLIC) {
        Ok(()) => {
            terminal.say(format_args!("The picture of {} is in {}.", cluster.name(), file.shown()));
            true
        }
        Err(error) => {
            terminal.complain(format_args!("{} cannot be written: {error}", file.shown()));
            false
        }
    }
}

/// What the file's name asks for; Mermaid where it says nothing.
fn by_name(file: Option<&Path>) -> GraphFormat {
    match file.and_then(Path::extension).and_then(|extension| extension.to_str()) {
        Some("svg") => GraphFormat::Svg,
        _ => GraphFormat::Mermaid,
    }
}
