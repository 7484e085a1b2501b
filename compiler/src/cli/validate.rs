//! `evenkeel validate`: everything wrong with a cluster file, and nothing written.

use evenkeel::render;

use super::files::Trust;
use super::{Terminal, Validate, input};

pub(super) fn run(arguments: &Validate, terminal: &Terminal) -> bool {
    let format = arguments.format;
    let trust = Trust::of(arguments.untrusted);
    trust.watch(terminal);
    let Some(compilation) = input::load_cluster(&arguments.input, trust, format, terminal) else {
        return false;
    };
    let warnings = compilation.counts().1;
    if let Some(cluster) = &compilation.cluster {
        terminal.say_beside(format, render::valid(cluster, warnings));
    }
    true
}
