//! The one line that says what came out.

use super::escape::plain;
use crate::diagnostic::MAX_ERRORS;
use crate::resolve::Resolved;

/// `lvs-dr is valid: 4 hosts, 1 virtual router, 1 service (1 warning).`
#[must_use]
pub fn valid(cluster: &Resolved, warnings: usize) -> String {
    let hosts = count(cluster.host_count(), "host");
    let routers = count(cluster.router_count(), "virtual router");
    let services = count(cluster.service_count(), "service");
    let warnings = match warnings {
        0 => String::new(),
        warnings => format!(" ({})", count(warnings, "warning")),
    };
    format!("{} is valid: {hosts}, {routers}, {services}{warnings}.", cluster.name())
}

/// `cluster.toml is not valid: 2 errors, 1 warning.`
#[must_use]
pub fn invalid(file: &str, errors: usize, warnings: usize, stopped: bool) -> String {
    let (file, mut errors) = (plain(file), count(errors, "error"));
    if stopped {
        // Of errors that are neighbours one is told.
        errors = format!("stopped after {MAX_ERRORS} errors");
    }
    match warnings {
        0 => format!("{file} is not valid: {errors}."),
        warnings => format!("{file} is not valid: {errors}, {}.", count(warnings, "warning")),
    }
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
