//! The servers: how each is set up and started below the host's scratch directory, and the checks that are
//! tried on it. Those of the book are read from the book.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use lab::{Daemon, Host};

/// The page of the book with the recipes.
const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/language/check-recipes.md");

/// A check, and whether it is to succeed while its server serves.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// A table of TOML.
    pub(crate) check: String,
    pub(crate) good: bool,
}

/// A server of Debian.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// The program, in the foreground; it and its children are one process group.
    argv: Vec<String>,
    pub(crate) cases: Vec<Case>,
}

impl Server {
    pub(crate) fn start(&self, host: &Host) -> Daemon {
        host.spawn(self.name, &self.argv, &[])
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The check of the book below this heading.
fn book(heading: &str) -> String {
    let text = fs::read_to_string(BOOK).expect("the page of recipes");
    let (_, below) = text.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let (_, from) = below.split_once("\ncheck = ").expect("a check");
    from.lines().next().expect("a line").to_owned()
}

fn good(name: &'static str, check: impl Into<String>) -> Case {
    Case { name, check: check.into(), good: true }
}

fn bad(name: &'static str, check: impl Into<String>) -> Case {
    Case { name, check: check.into(), good: false }
}

/// A directory for a server, and whoever it runs as may write to it.
struct Place(PathBuf);

impl Place {
    fn new(host: &Host, name: &str) -> Self {
        let directory = host.scratch().join(name);
        fs::create_dir_all(&directory).expect("a directory");
        for open in directory.ancestors().take(3) {
            drop(fs::set_permissions(open, fs::Permissions::from_mode(0o755)));
        }
        Self(directory)
    }

    fn owned_by(self, host: &Host, user: &str) -> Self {
        host.run(["chown", "-R", user, &self.text()]);
        self
    }

    fn text(&self) -> String {
        self.0.display().to_string()
    }

    /// Writes a file in which `@` is the directory.
    fn write(&self, name: &str, text: &str) -> String {
        let file = self.file(name);
        fs::write(&file, text.replace('@', &self.text())).expect("a file");
        file
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

/// All servers, set up and not started.
pub(crate) fn all(host: &Host) -> Vec<Server> {
    vec![
        nginx(host),
        opensmtpd(host),
        unbound(host),
        grpc(host),
        redis(host),
        postgresql(host),
        mariadb(host),
        slapd(host),
        dovecot(host),
        kamailio(host),
    ]
}

/// Authorities, a server's certificate for `www.example.com`, a client's; another authority.
fn certificates(host: &Host, place: &Place) {
    let made = |name: &str, subject: &str, more: &[&str]| {
        let (key, certificate) = (place.file(&format!("{name}.key")), place.file(&format!("{name}.pem")));
        let argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        let argv = argv.into_iter().chain(["-nodes", "-days", "30", "-subj", subject]);
        let argv = argv.chain(["-keyout", &key, "-out", &certificate]);
        host.run(argv.chain(more.iter().copied()));
    };
    made("ca", "/CN=ca", &[]);
    made("other", "/CN=other", &[]);
    let (ca, key) = (place.file("ca.pem"), place.file("ca.key"));
    let signed =
        ["-CA", ca.as_str(), "-CAkey", key.as_str(), "-addext", "basicConstraints=critical,CA:FALSE"];
    let names = ["-addext", "subjectAltName=DNS:www.example.com"];
    made("server", "/CN=www.example.com", &[&signed[..], &names].concat());
    made("client", "/CN=director", &signed);
}

fn nginx(host: &Host) -> Server {
    let place = Place::new(host, "nginx");
    certificates(host, &place);
    let configuration = place.write(
        "nginx.conf",
        "daemon off;\npid @/pid;\nerror_log @/error.log;\nuser root;\nworker_processes 1;\nevents {}\n\
         http {\n  access_log off;\n  client_body_temp_path @;\n  proxy_temp_path @;\n  \
         fastcgi_temp_path @;\n  \
         uwsgi_temp_path @;\n  scgi_temp_path @;\n  ssl_certificate @/server.pem;\n  ssl_certificate_key \
         @/server.key;\n  \
         server {\n    listen 80;\n    location / { return 200 'all is well\\n'; }\n    \
         location /ill { return \
         503; }\n  }\n  \
         server {\n    listen 443 ssl http2;\n    location / { return 200 'all is well\\n'; }\n  }\n  \
         server {\n    listen 444 ssl;\n    ssl_client_certificate @/ca.pem;\n    ssl_verify_client on;\n    \
         location / { return 200 'all is well\\n'; }\n  }\n}\n",
    );
    let ca = place.file("ca.pem");
    let verified = format!("server_name = \"www.example.com\", verify_certificate = true, ca = \"{ca}\"");
    let client = format!(
        "certificate = \"{}\", certificate_key = \"{}\"",
        place.file("client.pem"),
        place.file("client.key")
    );
    Server {
        name: "nginx",
        argv: words(&format!("nginx -c {configuration}")),
        cases: vec![
            good("http", "{ type = \"http\", port = 80, path = \"/\", body = \"all is well\" }"),
            good("http_ill_is_503", "{ type = \"http\", port = 80, path = \"/ill\", status = [\"503\"] }"),
            bad("http_ill", "{ type = \"http\", port = 80, path = \"/ill\" }"),
            bad("http_body", "{ type = \"http\", port = 80, path = \"/\", body = \"something else\" }"),
            good("https", format!("{{ type = \"https\", port = 443, path = \"/\", {verified} }}")),
            good(
                "http2",
                format!("{{ type = \"https\", port = 443, path = \"/\", http_version = \"2\", {verified} }}"),
            ),
            bad(
                "https_other_ca",
                format!(
                    "{{ type = \"https\", port = 443, path = \"/\", server_name = \"www.example.com\", \
                     verify_certificate = true, ca = \"{}\" }}",
                    place.file("other.pem")
                ),
            ),
            bad(
                "https_other_name",
                format!(
                    "{{ type = \"https\", port = 443, path = \"/\", server_name = \"ftp.example.com\", \
                     verify_certificate = true, ca = \"{ca}\" }}"
                ),
            ),
            good(
                "https_client",
                format!("{{ type = \"https\", port = 444, path = \"/\", {verified}, {client} }}"),
            ),
            bad("https_no_client", format!("{{ type = \"https\", port = 444, path = \"/\", {verified} }}")),
            good(
                "tcp",
                "{ type = \"tcp\", port = 80 , send = \"GET / HTTP/1.0\\r\\n\\r\\n\", expect = \"200\" }",
            ),
        ],
    }
}

fn opensmtpd(host: &Host) -> Server {
    let place = Place::new(host, "opensmtpd");
    // OpenSMTPD looks its client up before it greets: here a look-up fails at once.
    let resolver = place.write("resolv.conf", "nameserver 127.0.0.1\n");
    host.run(["mount", "--bind", &resolver, "/etc/resolv.conf"]);
    let configuration = place.write(
        "smtpd.conf",
        "listen on 0.0.0.0\naction \"local\" maildir \"@/mail\"\nmatch from any for any reject\n",
    );
    Server {
        name: "opensmtpd",
        argv: words(&format!("smtpd -d -f {configuration}")),
        cases: vec![good("smtp", "{ type = \"smtp\", port = 25 }")],
    }
}

fn unbound(host: &Host) -> Server {
    let place = Place::new(host, "unbound");
    let configuration = place.write(
        "unbound.conf",
        "server:\n  interface: 0.0.0.0\n  port: 53\n  access-control: 0.0.0.0/0 allow\n  chroot: \"\"\n  \
         username: \"\"\n  directory: \"@\"\n  pidfile: \"@/pid\"\n  use-syslog: no\n  do-daemonize: no\n  \
         num-threads: 1\n  module-config: \"iterator\"\n  local-zone: \"example.com.\" static\n  local-data: \
         \"www.example.com. A 192.0.2.1\"\n\
         remote-control:\n  control-enable: no\n",
    );
    Server {
        name: "unbound",
        argv: words(&format!("unbound -d -c {configuration}")),
        cases: vec![
            good("dns", "{ type = \"dns\", port = 53, name = \"www.example.com\", record = \"A\" }"),
            bad("dns_nobody", "{ type = \"dns\", port = 53, name = \"ftp.example.com\", record = \"A\" }"),
        ],
    }
}

fn grpc(host: &Host) -> Server {
    let place = Place::new(host, "grpc");
    // The messages of grpc.health.v1 are too small to want a compiler: field 1 of the answer is the state.
    let program = place.write(
        "serve.py",
        r#"
import grpc
from concurrent import futures

def check(request, context):
    if request == b"":
        return b"\x08\x01"
    if request == b"\x0a\x03ill":
        return b"\x08\x02"
    context.abort(grpc.StatusCode.NOT_FOUND, "no such service")

class Health(grpc.GenericRpcHandler):
    def service(self, call):
        if call.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(check)

server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
server.add_generic_rpc_handlers((Health(),))
server.add_insecure_port("0.0.0.0:50051")
server.start()
server.wait_for_termination()
"#,
    );
    Server {
        name: "grpc",
        argv: words(&format!("/usr/bin/python3 {program}")),
        cases: vec![
            good("grpc", "{ type = \"grpc\", port = 50051 }"),
            bad("grpc_ill", "{ type = \"grpc\", port = 50051, grpc_service = \"ill\" }"),
            bad("grpc_nobody", "{ type = \"grpc\", port = 50051, grpc_service = \"nobody\" }"),
        ],
    }
}

fn redis(host: &Host) -> Server {
    let place = Place::new(host, "redis");
    Server {
        name: "redis",
        argv: words(&format!(
            "redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --save  --dir {}",
            place.text()
        ))
        .into_iter()
        // `--save ""`: no snapshots.
        .flat_map(|word| if word == "--save" { vec![word, String::new()] } else { vec![word] })
        .collect(),
        cases: vec![good("redis", book("Redis and Valkey"))],
    }
}

fn postgresql(host: &Host) -> Server {
    let place = Place::new(host, "postgresql").owned_by(host, "postgres");
    let bin = host.run(["sh", "-c", "echo /usr/lib/postgresql/*/bin"]).trim().to_owned();
    let data = place.file("data");
    let initdb = format!("{bin}/initdb");
    host.run(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", &initdb, "-D", &data]);
    Server {
        name: "postgresql",
        argv: words(&format!(
            "setpriv --reuid=postgres --regid=postgres --clear-groups {bin}/postgres -D {data} \
             -h 0.0.0.0 -k {}",
            place.text()
        )),
        cases: vec![good("postgresql", book("PostgreSQL"))],
    }
}

fn mariadb(host: &Host) -> Server {
    let place = Place::new(host, "mariadb");
    let users = place.file("users.sql");
    fs::write(&users, "CREATE USER 'check'@'10.1.0.%';\n").expect("a file");
    let place = place.owned_by(host, "mysql");
    let data = place.file("data");
    let install = format!(
        "mariadb-install-db --no-defaults --user=mysql --datadir={data} \
         --auth-root-authentication-method=normal"
    );
    host.run(words(&install));
    Server {
        name: "mariadb",
        argv: words(&format!(
            "mariadbd --no-defaults --user=mysql --datadir={data} --socket={data}/socket \
             --pid-file={data}/pid --bind-address=0.0.0.0 --skip-name-resolve --init-file={users}"
        )),
        cases: vec![good("mariadb", book("MariaDB and MySQL"))],
    }
}

fn slapd(host: &Host) -> Server {
    let place = Place::new(host, "slapd");
    let configuration = place.write(
        "slapd.conf",
        "include /etc/ldap/schema/core.schema\npidfile @/pid\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
         database mdb\nsuffix \"dc=example,dc=com\"\ndirectory @\n",
    );
    Server {
        name: "slapd",
        argv: words(&format!("slapd -d 0 -h ldap://0.0.0.0:389/ -f {configuration}")),
        cases: vec![good("ldap", book("LDAP"))],
    }
}

fn dovecot(host: &Host) -> Server {
    let place = Place::new(host, "dovecot");
    let configuration = place.write(
        "dovecot.conf",
        "base_dir = @/run\nlog_path = @/log\nprotocols = imap pop3\nssl = no\nlisten = 0.0.0.0\n\
         mail_location = maildir:@/mail\npassdb {\n  driver = static\n  args = nopassword=y\n}\n\
         userdb {\n  driver = static\n  args = uid=mail gid=mail home=@/mail\n}\n",
    );
    Server {
        name: "dovecot",
        argv: words(&format!("dovecot -F -c {configuration}")),
        cases: vec![
            good("imap", book("IMAP and POP3")),
            good("pop3", "{ type = \"tcp\", port = 110, expect = '^\\+OK' }"),
        ],
    }
}

fn kamailio(host: &Host) -> Server {
    let place = Place::new(host, "kamailio");
    let configuration = place.write(
        "kamailio.cfg",
        "#!KAMAILIO\ndebug=1\nlog_stderror=yes\nfork=yes\nchildren=1\n\
         disable_tcp=yes\nlisten=udp:0.0.0.0:5060\n\
         mpath=\"/usr/lib/x86_64-linux-gnu/kamailio/modules/\"\nloadmodule \"sl.so\"\nrequest_route {\n  \
         sl_send_reply(\"200\", \"OK\");\n  exit;\n}\n",
    );
    Server {
        name: "kamailio",
        argv: words(&format!(
            "kamailio -DD -E -P {} -Y {} -f {configuration}",
            place.file("pid"),
            place.text()
        )),
        cases: vec![good("sip", book("SIP by UDP"))],
    }
}
