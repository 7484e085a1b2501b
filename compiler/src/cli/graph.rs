//! `evenkeel graph`: a picture of the cluster, to standard output or into a file.

use std::path::Path;

use evenkeel::graph::{Graph as Picture, mermaid, svg};

use super::files::Trust;
use super::terminal::Shown;
use super::{Format, GraphArguments, GraphFormat, Terminal, disk, input};

pub(super) fn run(arguments: &GraphArguments, terminal: &Terminal) -> bool {
    let format = match arguments.format.map_or_else(|| by_name(arguments.out.as_deref()), Ok) {
        Ok(format) => format,
        Err(why) => {
            terminal.fail(why);
            return false;
        }
    };
    let Some(compilation) = input::load_cluster(&arguments.input, Trust::Own, Format::Human, terminal) else {
        return false;
    };
    let Some(cluster) = &compilation.cluster else {
        return false;
    };
    let picture = Picture::of(cluster);
    let text = match format {
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

/// Format by the ending of the file's name; Mermaid for standard output.
///
/// # Errors
///
/// The ending stands for no format: a sentence for people.
fn by_name(file: Option<&Path>) -> Result<GraphFormat, String> {
    let Some(file) = file else { return Ok(GraphFormat::Mermaid) };
    let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    match ending.as_deref() {
        Some("svg") => Ok(GraphFormat::Svg),
        Some("mmd" | "mermaid") => Ok(GraphFormat::Mermaid),
        // A library that draws text into pixels is sixty crates and the fonts of the machine.
        Some("png") => Err(format!(
            "no PNG is drawn: {} can be made of an SVG, as by `evenkeel graph … --format svg | rsvg-convert`",
            file.shown()
        )),
        // What is no file is refused when it is written.
        None if file.starts_with("/dev") => Ok(GraphFormat::Mermaid),
        _ => Err(format!(
            "how to draw {} is not told by its name: use an ending of .svg, .mmd or .mermaid, or give \
            --format",
            file.shown()
        )),
    }
}
