//! DNS checks against unbound as Debian has it.

use std::net::UdpSocket;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Tools, check, probe};

/// A server that ends with the test.
struct Unbound(Child);

impl Drop for Unbound {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Unbound {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).expect("sent");
    }
}

fn start(directory: &std::path::Path, port: u16) -> Unbound {
    let config = directory.join("unbound.conf");
    let text = format!(
        "server:\n  interface: 127.0.0.1@{port}\n  port: {port}\n  do-daemonize: no\n  \
         username: \"\"\n  chroot: \"\"\n  \
         directory: \"{0}\"\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"{0}/log\"\n  num-threads: 1\n  \
         module-config: \"iterator\"\n  local-zone: \"example.com.\" static\n  \
         local-data: \"www.example.com. IN A 192.0.2.1\"\n  local-zone: \"refused.example.\" refuse\n\
         remote-control:\n  control-enable: no\n",
        directory.display()
    );
    std::fs::write(&config, text).expect("written");
    let child = Command::new("/usr/sbin/unbound")
        .arg("-c")
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("unbound runs: `apt-get install unbound`");
    Unbound(child)
}

#[tokio::test]
async fn unbound_is_up_says_what_it_has_not_and_is_down_when_it_is_gone_or_hangs() {
    let scratch = tempfile::tempdir().expect("a directory");
    let target = UdpSocket::bind("127.0.0.1:0").expect("a socket").local_addr().expect("an address");
    let server = start(scratch.path(), target.port());
    let tools = Tools::new();
    let ask = |name: &str, record: &str| {
        check(target, &format!("type = \"dns\"\nname = \"{name}\"\nrecord = \"{record}\"\n"))
    };
    let www = ask("WWW.example.com", "A");
    let until = Instant::now() + Duration::from_secs(20);
    while probe(&www, &tools).await != "up" {
        assert!(
            Instant::now() < until,
            "{}",
            std::fs::read_to_string(scratch.path().join("log")).unwrap_or_default()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(probe(&ask("www.example.com", "MX"), &tools).await, "up", "none of the type");
    assert_eq!(probe(&ask("no.example.com", "A"), &tools).await, "status: name server answered NXDOMAIN");
    assert_eq!(probe(&ask("x.refused.example", "A"), &tools).await, "status: name server answered REFUSED");
    server.signal(Signal::SIGSTOP);
    assert_eq!(probe(&www, &tools).await, "timeout: no answer in 400 ms");
    server.signal(Signal::SIGCONT);
    assert_eq!(probe(&www, &tools).await, "up");
    drop(server);
    assert_eq!(probe(&www, &tools).await, "refused: connection refused");
}
