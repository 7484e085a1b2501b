//! A web server of the test's own in the daemon's network namespace: `git http-backend` behind it answers, or
//! it answers as a server that hangs, trickles or breaks off.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How the server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As `git http-backend` does.
    Whole,
    /// Never.
    Silent,
    /// With one byte a second from the beginning.
    Trickle,
    /// With so many bytes of the body, and then the end.
    Cut(usize),
}

/// A running server.
pub(crate) struct Web(Arc<Mutex<Manner>>);

/// Port of the server: the namespace has no other.
pub(crate) const PORT: u16 = 8418;

impl Web {
    /// Starts a server in the network namespace of a process for the repositories in a directory.
    pub(crate) fn start(process: u32, root: &Path) -> Self {
        let manner = Arc::new(Mutex::new(Manner::Whole));
        let (shared, root) = (Arc::clone(&manner), root.to_owned());
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let namespace = std::fs::File::open(format!("/proc/{process}/ns/net")).expect("a namespace");
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("entered");
            let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
            assert!(up.success());
            let listener = TcpListener::bind(("127.0.0.1", PORT)).expect("bound");
            ready.send(()).expect("heard");
            for stream in listener.incoming().map_while(Result::ok) {
                let (manner, root) = (*shared.lock().expect("manner"), root.clone());
                std::thread::spawn(move || serve(stream, manner, &root));
            }
        });
        is_ready.recv().expect("a server");
        Self(manner)
    }

    pub(crate) fn set(&self, manner: Manner) {
        *self.0.lock().expect("manner") = manner;
    }
}

fn serve(mut stream: TcpStream, manner: Manner, root: &PathBuf) {
    let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let found = head.iter().filter_map(|line| line.split_once(": "));
        found.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let mut request = head.first().expect("a request").split(' ');
    let (method, target) = (request.next().expect("method"), request.next().expect("target"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let length: usize = header("Content-Length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    if manner == Manner::Silent {
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", header("Content-Type").unwrap_or_default())
        .env("CONTENT_LENGTH", length.to_string())
        .env("HTTP_CONTENT_ENCODING", header("Content-Encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", header("Git-Protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("http-backend");
    backend.stdin.take().expect("stdin").write_all(&body).expect("asked");
    let mut answer = Vec::new();
    backend.stdout.take().expect("stdout").read_to_end(&mut answer).expect("answered");
    backend.wait().expect("ended");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let (head, body) = answer.split_at(end);
    let beginning = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    let whole = [beginning.as_bytes(), head, body].concat();
    // The other side may give up.
    let written = match manner {
        Manner::Whole | Manner::Silent => stream.write_all(&whole),
        Manner::Cut(bytes) => {
            let most = beginning.len() + head.len() + bytes.min(body.len());
            stream.write_all(whole.get(..most).unwrap_or_default())
        }
        Manner::Trickle => whole.iter().try_for_each(|byte| {
            std::thread::sleep(Duration::from_secs(1));
            stream.write_all(&[*byte])
        }),
    };
    drop(written);
}
