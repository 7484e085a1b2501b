//! A TCP check: a connection that opens is success.

use evenkeel_health::Found;

use super::{Whom, socket};

/// Makes one probe.
pub(super) async fn run(whom: Whom<'_>) -> Found {
    match socket::within(whom.limit, socket::connect(whom)).await {
        Ok(Ok(_)) => Found::healthy(),
        Ok(Err(found)) | Err(found) => found,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evenkeel_health::{Fault, FaultLabel};
    use evenkeel_schemas::plan::CheckOrigin;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_listener_is_healthy_and_a_closed_port_says_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let target = listener.local_addr().expect("address");
        let origin = CheckOrigin::default();
        let whom = Whom { target, origin: &origin, limit: Duration::from_secs(5) };
        assert_eq!(run(whom).await, Found::healthy());
        drop(listener);
        assert_eq!(run(whom).await, Fault::new(FaultLabel::Refused, "connection refused").into());
    }
}
