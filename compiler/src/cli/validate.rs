//! `evenkeel validate`: everything wrong with a cluster file, and nothing written.

use evenkeel::render;

use super::{Format, Terminal, Validate, input};

pub(super) fn run(arguments: &Validate, terminal: &Terminal) -> bool {
    let Format::Human = arguments.format;
    let Some(compilation) = input::load(&arguments.cluster, terminal) else {
        return false;
    };
    let warnings = compilation.counts().1;
    if let Some(cluster) = &compilation.cluster {
        terminal.say(render::valid(cluster, warnings));
    }
    true
}
