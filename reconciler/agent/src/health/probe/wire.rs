//! A connection of a probe, plain or by TLS, and a dialogue that is carried over it within the probe's time.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use evenkeel_health::ask::{Dialogue, End, Step};
use evenkeel_health::{Fault, FaultLabel, Found, Says};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use super::tls::{self, Secure};
use super::tools::Tools;
use super::unprepared;
use super::{Whom, socket};

/// Bytes that are read at a time. They are on the stack only while they are looked at.
const PIECE: usize = 16 * 1024;

/// As many keepalives without an answer end a connection.
const KEEPALIVES: u32 = 3;
/// As many bytes over an idle connection are read without a pause.
const CHATTER: usize = 64 * 1024;
/// The pause then: 640 KB/s of nonsense are read at most.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Has the kernel ask an idle connection whether it is there still: after this time of silence, and so
    /// that the answer is missed after the limit (tcp(7)).
    pub(super) fn keep_alive(&self, silence: Duration, limit: Duration) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        let second = Duration::from_secs(1);
        let keepalive = TcpKeepalive::new()
            .with_time(silence.max(second))
            .with_interval((limit / KEEPALIVES).max(second))
            .with_retries(KEEPALIVES);
        // Without it a target that vanishes is not missed, but one that closes is.
        SockRef::from(stream).set_tcp_keepalive(&keepalive).ok();
    }

    /// Waits until an idle connection ends: why; none when it was closed in order. What comes is dropped.
    pub(crate) async fn broken(mut self) -> Option<Fault> {
        let mut came = 0;
        loop {
            let read = std::future::poll_fn(|context| {
                let mut space = [MaybeUninit::uninit(); PIECE];
                let mut piece = ReadBuf::uninit(&mut space);
                let read = ready!(Pin::new(&mut self).poll_read(context, &mut piece));
                Poll::Ready(read.map(|()| piece.filled().len()))
            });
            match read.await {
                Ok(0) => return None,
                Ok(bytes) => came += bytes,
                // By TLS: closed without saying so.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
                Err(error) => {
                    return match broken(&error) {
                        Found::Failed(fault) => Some(fault),
                        _ => None,
                    };
                }
            }
            // Nobody speaks over an idle connection. Who does so without end is heard slowly.
            if came > CHATTER {
                came = 0;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The time of a probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    began: Instant,
    limit: Duration,
}

impl Course {
    /// Begins the course of a probe, and its time.
    pub(super) fn begin(whom: Whom<'_>) -> Self {
        Self { began: Instant::now(), limit: whom.limit }
    }

    fn end(self) -> Instant {
        self.began + self.limit
    }

    /// The outcome of a future; none when the probe's time is over before.
    pub(super) async fn bound<T>(self, future: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.end(), future).await.ok()
    }

    /// Nothing more comes: the time is over.
    pub(super) fn out_of_time(self) -> End {
        End::OutOfTime(self.limit)
    }

    /// Opens a connection; also what people should know of the server's certificate.
    pub(super) async fn open(
        self,
        whom: Whom<'_>,
        secure: Option<Secure<'_>>,
        tools: &Tools,
    ) -> Result<(Wire, Option<String>), Found> {
        let ready = match secure {
            Some(secure) => {
                let ready = self.bound(tls::prepare(&tools.tls, whom, secure)).await;
                let late = || unprepared("the files of certificates could not be read in time".to_owned());
                Some((ready.ok_or_else(late)??, secure))
            }
            None => None,
        };
        let opened = self.bound(socket::connect(whom, &tools.paths)).await;
        let stream = opened.ok_or_else(|| Found::from(Fault::no_answer(self.limit)))??;
        // Requests are short, and waited for.
        stream.set_nodelay(true).ok();
        let Some((ready, secure)) = ready else { return Ok((Wire::Plain(stream), None)) };
        let shaken = self.bound(tls::shake(ready, stream, secure)).await;
        let late = || Found::from(self.out_of_time().without("TLS handshake"));
        let shaken = shaken.ok_or_else(late)?.map_err(|found| self.timed(found))?;
        Ok((Wire::Tls(shaken.stream), shaken.remark))
    }

    /// Carries a dialogue to its end.
    pub(super) async fn carry(self, wire: &mut Wire, dialogue: &mut impl Dialogue) -> Result<Says, Found> {
        let carried = self.bound(carry(wire, dialogue)).await;
        match carried {
            Some(Ok(said)) => said.map_err(|fault| self.timed(fault.into())),
            Some(Err(error)) => Err(self.timed(broken(&error))),
            None => dialogue.ended(self.out_of_time()).map_err(Found::from),
        }
    }

    /// Sends bytes, and waits for nothing.
    pub(super) async fn send(self, wire: &mut Wire, bytes: &[u8]) -> Result<(), Found> {
        let send = async {
            wire.write_all(bytes).await?;
            wire.flush().await
        };
        match self.bound(send).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.timed(broken(&error))),
            None => Err(self.out_of_time().without("reader of what was sent").into()),
        }
    }

    /// A fault, and after which time it was found. One that is a matter of time says so itself.
    pub(super) fn timed(self, found: Found) -> Found {
        match found {
            Found::Failed(fault) if fault.label != FaultLabel::Timeout => {
                let ms = self.began.elapsed().as_millis();
                let reason = format!("{}, after {ms} ms", fault.reason);
                fault.worded(reason).into()
            }
            other => other,
        }
    }
}

/// A healthy target, and what people should know of its certificate.
pub(super) fn healthy(mut says: Says, remark: Option<String>) -> Found {
    if let Some(remark) = remark {
        // One line, and not longer than a reason.
        says.remark = Some(Fault::new(FaultLabel::Certificate, remark).reason);
    }
    Found::Healthy(says)
}

/// Meaning of an error of an open connection.
pub(super) fn broken(error: &io::Error) -> Found {
    tls::fault(error).map_or_else(|| socket::failed(error), Found::from)
}

async fn carry(wire: &mut Wire, dialogue: &mut impl Dialogue) -> io::Result<Result<Says, Fault>> {
    let mut step = dialogue.begin();
    loop {
        match step {
            Step::Over(verdict) => return Ok(verdict),
            Step::Send(bytes) => {
                wire.write_all(&bytes).await?;
                wire.flush().await?;
            }
            Step::Read => {}
        }
        step = match std::future::poll_fn(|context| read(wire, dialogue, context)).await? {
            Some(step) => step,
            None => return Ok(dialogue.ended(End::Closed)),
        };
    }
}

/// Step of a dialogue after the next bytes; none at the end of the connection.
fn read(
    wire: &mut Wire,
    dialogue: &mut impl Dialogue,
    context: &mut Context<'_>,
) -> Poll<io::Result<Option<Step>>> {
    let mut space = [MaybeUninit::uninit(); PIECE];
    let mut piece = ReadBuf::uninit(&mut space);
    match ready!(Pin::new(wire).poll_read(context, &mut piece)) {
        Ok(()) => {}
        // By TLS: closed without saying so, as many servers do.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(None)),
        Err(error) => return Poll::Ready(Err(error)),
    }
    let bytes = piece.filled();
    Poll::Ready(Ok((!bytes.is_empty()).then(|| dialogue.received(bytes))))
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        piece: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, piece),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, piece),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
