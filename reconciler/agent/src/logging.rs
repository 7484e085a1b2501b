//! The log: to standard error, as much of it as `EVENKEEL_LOG` says.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Begins to log. `EVENKEEL_LOG` is a level, or levels by part: `info,evenkeel_agent::convergence=debug`; one that is neither
/// counts as `info`.
pub(crate) fn to_stderr() {
    let wanted = std::env::var("EVENKEEL_LOG").ok().and_then(|text| text.parse::<Targets>().ok());
    let wanted = wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let color =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(color).with_target(false);
    tracing_subscriber::registry().with(lines).with(wanted).init();
}
