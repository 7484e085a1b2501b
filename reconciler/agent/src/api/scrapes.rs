//! Pages of metrics: made when somebody asks, at most once in [`FRESH`] for each format.
//!
//! A page of a large cluster takes the daemon's main loop and the kernel some work, so scrapers that come
//! close together share one. The page is forgotten afterwards: it may be large.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_schemas::status::Status;
use hyper::body::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::sleep;

use super::asks::Ask;
use super::metrics::{self, Detail, Format, ProcessFigures};

/// Time for which a page is fresh enough for the next scraper.
const FRESH: Duration = Duration::from_secs(1);

/// The pages, and how to make them.
#[derive(Clone)]
pub(crate) struct Scrapes {
    asks: mpsc::Sender<Ask>,
    detail: Detail,
    open_metrics: Arc<Mutex<Option<Bytes>>>,
    prometheus: Arc<Mutex<Option<Bytes>>>,
}

impl Scrapes {
    pub(crate) fn new(asks: mpsc::Sender<Ask>, detail: Detail) -> Self {
        Self { asks, detail, open_metrics: Arc::default(), prometheus: Arc::default() }
    }

    /// A page of this format; none when the daemon stops.
    pub(crate) async fn page(&self, format: Format) -> Option<Bytes> {
        let slot = match format {
            Format::OpenMetrics => &self.open_metrics,
            Format::Prometheus => &self.prometheus,
        };
        // Others that want the same page wait here for it.
        let mut kept = slot.lock().await;
        if let Some(page) = &*kept {
            return Some(page.clone());
        }
        let (reply, status) = oneshot::channel::<Status>();
        self.asks.send(Ask::Status(true, reply)).await.ok()?;
        let (status, detail) = (status.await.ok()?, self.detail);
        let render = move || metrics::render(status, ProcessFigures::read(), detail, format).ok();
        let page = Bytes::from(tokio::task::spawn_blocking(render).await.ok()??);
        *kept = Some(page.clone());
        drop(kept);
        let slot = Arc::clone(slot);
        tokio::spawn(async move {
            sleep(FRESH).await;
            slot.lock().await.take();
        });
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn scrapers_that_come_together_share_a_page() {
        let (asks, mut asked) = mpsc::channel(1);
        let scrapes = Scrapes::new(asks, Detail::Services);
        let daemon = tokio::spawn(async move {
            let mut times = 0;
            while let Some(ask) = asked.recv().await {
                let Ask::Status(true, reply) = ask else { panic!("metrics are with usage") };
                reply.send(metrics::tests::document(include_str!("metrics/tests/director.json"))).ok();
                times += 1;
            }
            times
        });
        let pages: Vec<_> = (0..20).map(|_| scrapes.page(Format::Prometheus)).collect();
        for page in pages {
            assert!(page.await.expect("a page").starts_with(b"# HELP evenkeel_build_info "));
        }
        sleep(FRESH * 2).await;
        assert!(scrapes.prometheus.lock().await.is_none(), "forgotten");
        scrapes.page(Format::Prometheus).await.expect("a page");
        scrapes.page(Format::OpenMetrics).await.expect("a page");
        drop(scrapes);
        assert_eq!(daemon.await.expect("ended"), 3, "one for the crowd, one later, one of the other format");
    }
}
