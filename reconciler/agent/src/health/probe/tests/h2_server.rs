//! A server of HTTP/2 and gRPC.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::TcpListener;

/// Kinds of answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: &'static [u8],
    pub(super) grpc_status: Option<&'static str>,
    /// Sends the body for ever.
    pub(super) endless: bool,
    /// Takes the request, and says nothing.
    pub(super) silent: bool,
}

impl Answer {
    pub(super) const SERVING: Self = Self {
        status: 200,
        body: b"\0\0\0\0\x02\x08\x01",
        grpc_status: Some("0"),
        endless: false,
        silent: false,
    };
}

/// Starts a server on the runtime of the test; its address.
pub(super) async fn start(answer: Answer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_request, respond))) = connection.accept().await {
                    tokio::spawn(respond_to(respond, answer));
                }
            });
        }
    });
    address
}

async fn respond_to(mut respond: h2::server::SendResponse<Bytes>, answer: Answer) {
    if answer.silent {
        return std::future::pending().await;
    }
    let head = Response::builder().status(answer.status).body(()).expect("a head");
    let Ok(mut stream) = respond.send_response(head, false) else { return };
    loop {
        if stream.send_data(Bytes::from_static(answer.body), false).is_err() {
            return;
        }
        if !answer.endless {
            break;
        }
        stream.reserve_capacity(answer.body.len());
        if std::future::poll_fn(|context| stream.poll_capacity(context)).await.is_none() {
            return;
        }
    }
    let mut trailers = HeaderMap::new();
    if let Some(status) = answer.grpc_status {
        trailers.insert("grpc-status", HeaderValue::from_static(status));
    }
    stream.send_trailers(trailers).ok();
}
