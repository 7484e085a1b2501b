//! A guest from an ordinary `main`: `cargo run -p evenkeel-tests --example tour`.

use std::process::ExitCode;
use std::time::Duration;

use lab::{Options, run_main};

fn main() -> ExitCode {
    run_main(Options::default(), |lab| {
        let cluster = lab.reference_cluster();
        lab.log("five hosts in a kernel of their own:");
        println!("{}", lab.run(["uname", "-sr"]).trim_end());
        println!("{}", lab.run(["ip", "-br", "link", "show", "master", "br0"]).trim_end());
        let _web = cluster.rs1.web(80);
        let answer = cluster.client.ask(cluster.rs1.ip(), 80);
        lab.log(format!("asked by client, answered by {answer:?}"));
        assert!(cluster.client.ping(cluster.dir1.ip(), Duration::from_secs(1)));
        if std::env::args().any(|argument| argument == "--fail") {
            panic!("as asked");
        }
    })
}
