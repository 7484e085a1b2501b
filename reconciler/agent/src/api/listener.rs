//! `--metrics ADDRESS`: metrics over TCP, for a Prometheus on another host. Nothing else is served there, and
//! nothing can be ordered.
//!
//! An address that cannot be bound costs the metrics and nothing else: it is tried again, since an address
//! may come later than the daemon.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::scrapes::Scrapes;
use super::server::connections::{ConnectionPlace, Connections, Step};
use super::server::{metrics, not_found, serve_request};

/// Time between attempts to bind the address, and between attempts to accept while none succeeds.
const PAUSE: Duration = Duration::from_secs(5);

/// Serves metrics at an address until the task is dropped; for ever without an address.
pub(crate) async fn serve(address: Option<SocketAddr>, scrapes: Scrapes) {
    let Some(address) = address else { return std::future::pending().await };
    let listener = bind(address).await;
    let connections = Connections::default();
    let mut failing = false;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Logged once: it may last, as when there is no descriptor left.
                if !std::mem::replace(&mut failing, true) {
                    warn!("metrics at {address}: {error}");
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        failing = false;
        while let Some(until) = connections.make_room(Instant::now()) {
            sleep_until(until).await;
        }
        let place = Arc::new(connections.open());
        let number = place.number();
        let task = tokio::spawn(serve_one(stream, place, scrapes.clone()));
        connections.set_task(number, task.abort_handle());
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    let mut warned = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                info!(%address, "metrics are served at http://{address}/metrics");
                return listener;
            }
            Err(error) if !std::mem::replace(&mut warned, true) => {
                warn!(%address, "metrics cannot be served at {address}: {error}; tried again every 5 s");
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

async fn serve_one(stream: TcpStream, place: Arc<ConnectionPlace>, scrapes: Scrapes) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (scrapes, place) = (scrapes.clone(), Arc::clone(&place));
        async move {
            let answer = match request.uri().path() {
                "/metrics" => metrics(&request, &scrapes, &place).await,
                _ => not_found("no such resource; try GET /metrics"),
            };
            place.enter(Step::Answer);
            Ok::<_, Infallible>(answer)
        }
    });
    serve_request(stream, service).await;
}
