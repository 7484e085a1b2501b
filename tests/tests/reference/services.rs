//! Every option of a service that the compiler lets pass is one that the kernel gets: seen with `ipvsadm`.

use lab::{Reference, guest};

/// Services with everything that a virtual server can have, in place of the example's.
const SERVICES: &str = r#"
[ipvs.sysctls]
expire_nodest_conn = 1

[services.many]
router = "VI_1"
protocol = "tcp"
ports = ["80", "8000-8002"]
scheduler = "mh"
scheduler_flags = ["fallback", "port"]
real_servers = [{ host = "rs1", weight = 3, upper_threshold = 1000, lower_threshold = 800 }, { host = "rs2" }]

[services.sticky]
router = "VI_1"
protocol = "tcp"
port = 443
scheduler = "wrr"
persistence = { timeout = "300s", prefix = 24 }
real_servers = [{ label = "web", weight = 5 }]

[services.names]
router = "VI_1"
protocol = "udp"
port = 53
scheduler = "rr"
one_packet = true
real_servers = [{ pool = "web" }]

[services.calls]
router = "VI_1"
protocol = "udp"
port = 5060
scheduler = "lc"
persistence = { engine = "sip" }
real_servers = [{ pool = "web", weight = 9 }]

[services.signals]
router = "VI_1"
protocol = "sctp"
port = 2905
scheduler = "sh"
scheduler_flags = ["port"]
real_servers = [{ host = "rs2" }]

[pools.web]
real_servers = [{ host = "rs1", weight = 2 }, { host = "rs2", weight = 4 }]
"#;

const EXPECTED: &str = "\
--sctp-service 192.168.188.120:2905 sh -b sh-port
> 192.168.188.110:2905 -g -w 1
-t 192.168.188.120:443 wrr -p 300 -M 255.255.255.0
> 192.168.188.107:443 -g -w 5
> 192.168.188.110:443 -g -w 5
-t 192.168.188.120:80 mh -b mh-fallback,mh-port
> 192.168.188.107:80 -g -w 3
> 192.168.188.110:80 -g -w 1
-t 192.168.188.120:8000 mh -b mh-fallback,mh-port
> 192.168.188.107:8000 -g -w 3
> 192.168.188.110:8000 -g -w 1
-t 192.168.188.120:8001 mh -b mh-fallback,mh-port
> 192.168.188.107:8001 -g -w 3
> 192.168.188.110:8001 -g -w 1
-t 192.168.188.120:8002 mh -b mh-fallback,mh-port
> 192.168.188.107:8002 -g -w 3
> 192.168.188.110:8002 -g -w 1
-u 192.168.188.120:5060 lc -p 360 --pe sip
> 192.168.188.107:5060 -g -w 9
> 192.168.188.110:5060 -g -w 9
-u 192.168.188.120:53 rr -o
> 192.168.188.107:53 -g -w 2
> 192.168.188.110:53 -g -w 4
";

#[test]
fn every_option_of_a_service_reaches_the_kernel() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let dir1 = &reference.hosts.dir1;
        let example = Reference::cluster_file();
        let (head, _) = example.split_once("[services.web]").expect("the example's service");
        let labelled = ["rs1", "rs2"].iter().fold(head.to_owned(), |text, host| label(&text, host));
        reference.compile_text(&(labelled + SERVICES));
        // Once without election, and once more to see that nothing is left to do.
        let first = reference.evenkeeld(dir1, "converge", &[]).expect_success();
        print!("{first}");
        let diff = reference.evenkeeld(dir1, "diff", &["--detailed-exitcode"]).expect_success();
        assert!(diff.contains("No changes"), "{diff}");
        let table: Vec<String> = dir1.run(["ipvsadm", "-Sn"]).lines().map(str::to_owned).collect();
        print!("{}", table.join("\n"));
        assert_eq!(readable(&table), EXPECTED);
        let thresholds = dir1.run(["ipvsadm", "-Ln", "--thresholds"]);
        let limited: Vec<&str> = thresholds.lines().filter(|line| line.contains("1000")).collect();
        assert_eq!(limited.len(), 4, "{thresholds}");
        assert!(
            limited.iter().all(|line| line.contains("192.168.188.107") && line.contains("800")),
            "{thresholds}"
        );
        assert_eq!(dir1.sysctl("net.ipv4.vs.expire_nodest_conn"), "1");
    });
}

/// The host's line with a label.
fn label(text: &str, host: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(host)).unwrap_or_else(|| panic!("no {host}"));
    text.replace(line, &line.replacen("interface =", "labels = [\"web\"], interface =", 1))
}

/// `ipvsadm -Sn` with each service before its destinations, sorted, without what is said of every line.
fn readable(table: &[String]) -> String {
    let mut services: Vec<(String, Vec<String>)> = Vec::new();
    for line in table {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["-A", kind, address, "-s", rest @ ..] => {
                services.push((format!("{kind} {address} {}", rest.join(" ")), Vec::new()));
            }
            ["-a", _, _, "-r", rest @ ..] => {
                let destinations = &mut services.last_mut().expect("a service first").1;
                destinations.push(format!("> {}", rest.join(" ")));
            }
            other => panic!("a line that nobody expects: {other:?}"),
        }
    }
    services.sort();
    let lines = services.into_iter().flat_map(|(service, mut destinations)| {
        destinations.sort();
        std::iter::once(service).chain(destinations)
    });
    lines.map(|line| line + "\n").collect()
}
