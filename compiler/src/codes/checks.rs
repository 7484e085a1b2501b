//! EK0555 to EK0579: health checks. The oldest codes of checks are among those of services.

super::codes! {
    CHECK_KEY = "EK0555" Error "a key that checks of this type do not have":
        "Each type of check has keys of its own: a TCP connection has no path, a script no status. A \
         key that has no effect would look as if something were tested. Perhaps the type is wrong.";
    CHECK_KEY_MISSING = "EK0556" Error "a check lacks the key that says what to do":
        "A check of type `script` needs its `command`, one of type `file` its `file`: there is no \
         default program and no default file.";
    NOT_ABSOLUTE = "EK0557" Error "a program or file without an absolute path":
        "The daemon has no working directory to speak of and searches no `PATH`, so that nobody can \
         put another program in the way. Write the path from `/` on. Arguments are items of \
         their own: there is no shell.";
    CHECK_STATUS = "EK0558" Error "not a status of HTTP":
        "The status of an answer is a number from 100 to 599, so a check that waits for another one \
         takes every real server out. Ranges are written `\"200-299\"`.";
    CHECK_BODY = "EK0559" Error "a body or answer that cannot be matched":
        "`body`, `body_not` and `expect` are regular expressions of Rust's `regex`: without look-around \
         and back-references, so that their time is bounded. They are searched for anywhere in what is \
         received; `(?-u)\\xff` stands for a byte. An answer to HEAD has no body.";
    CHECK_TEXT = "EK0560" Error "a path, host or name that cannot be sent":
        "The path of a request begins with `/`, and neither it nor a host holds spaces or control \
         characters: they would break the request. A `server_name` has no port. A name that is asked for in \
         DNS has parts of 1 to 63 characters between dots, 253 together.";
    CHECK_WITHOUT_PORT = "EK0561" Error "a check that does not know its port":
        "A service by firewall mark has no port that a check could take: name it with \
         `check = { port = … }`.";
    UDP_CHECK_ON_TCP = "EK0562" Error "a UDP check on a service that is not UDP":
        "Nothing answers a datagram to a port that serves another protocol, and the refusal takes every \
         real server out. When the real server has a UDP port that tells its health, name it \
         with `port`.";
    RETRY_AT_ONCE = "EK0563" Warning "retries without a pause":
        "A retry right after the failure finds the same failure: a real server that restarts refuses \
         connections for a moment, and all retries fall into it. A `retry_delay` of a second or more \
         is what makes retries useful.";
    DUPLICATE_CHECK = "EK0564" Warning "a service has the same check twice":
        "All checks of a service must succeed, so a second equal one costs connections and tells \
         nothing. Often it was to have another port or path.";
    CHECK_FAMILY = "EK0565" Error "a check from one address family to another":
        "Packets from an IPv4 address cannot go to an IPv6 address, nor the other way round, so the check \
         would fail before anything is sent.";
    TWO_DYNAMIC_WEIGHTS = "EK0566" Error "two checks set the weight":
        "A script with `dynamic_weight` sets the weight of its real server. Two of them would undo each \
         other's word for ever.";
    REQUESTS_AND_KEYS = "EK0567" Error "`requests` beside keys of a single request":
        "With `requests` each request has its own `path`, `method`, `body`, `body_not` and `digest`; those \
         of the check would be of none. `host`, `headers` and `status` of the check hold for the requests \
         that say none.";
    SEND_AND_PAYLOAD = "EK0568" Error "a check has both `send` and `payload`":
        "`send` is text, `payload` the same as hexadecimal digits, for bytes that are no text. A check sends \
         one of them.";
    CHECK_HEADER = "EK0569" Error "a header that cannot be sent":
        "The name of a header has letters, digits and a few signs, its value stands on one line (RFC 9110). \
         A line break in either would make one request two. `Host` is the key `host`, and what says how a \
         request is carried is the check's own.";
    SECRET_HEADER = "EK0570" Warning "a header that is a secret":
        "Headers stand in the cluster file and in the plan of every director, readable by all who may read \
         those. A password that opens more than a health page does not belong there.";
    TLS_KEY_WITHOUT_TLS = "EK0571" Error "a key of TLS for a check without TLS":
        "A check of type `tcp`, `smtp` or `grpc` speaks plainly unless it has `tls = true`. A name or \
         certificate without it would look as if something were verified.";
    HALF_CERTIFICATE = "EK0572" Error "a certificate without its key, or a key without its certificate":
        "Who shows a certificate proves with its key that it is its own. `certificate` and \
         `certificate_key` are PEM files on the director, or one file that has both.";
    AUTHORITY_UNUSED = "EK0573" Warning "authorities that verify nothing":
        "`ca` names those who may have signed the server's certificate, which is looked at with \
         `verify_certificate = true` only. Without it any certificate will do.";
    REPLY_LENGTH = "EK0574" Error "the least length of an answer is above the most":
        "No answer has at least `min_reply_length` and at most `max_reply_length` bytes where the first is \
         larger, so every real server would be taken out.";
    CHECK_JITTER = "EK0575" Error "a jitter that is not shorter than the interval":
        "`jitter` makes each check a little late by chance, so that many directors do not ask in step. As \
         long as the interval or longer it would let checks overtake each other.";
    SOURCE_FAMILY = "EK0576" Warning "a check's source is of another family than a real server":
        "Packets from an IPv4 address cannot go to an IPv6 address. The check of such a real server is made \
         from the address that the kernel chooses, as if `source` were not there.";
    VIA_AND_ANOTHER_WAY = "EK0577" Error "a check through the service that says another way":
        "A check with `via = \"service\"` goes to the VIP, from the director's own address, by the way that \
         IPVS forwards to the real server. `address`, `source` and `interface` are of checks that go \
         straight to their target. A check of something else is a check of its own.";
    NO_WAY_TO_VIP = "EK0578" Error "a director whose checks cannot go through the service":
        "A check with `via = \"service\"` connects from the director to a VIP. So there must be a VIP of the \
         service's family, and every director needs an address of its own of the VIP's family: packets from \
         the VIP would be answered to the Master. A link-local address is of no use.";
    CHECK_MARKS = "EK0579" Error "marks of checks that cannot be used":
        "Packets of checks that go through IPVS carry a mark, one for each real server and way to it. A \
         service that takes a mark of the pool `ipvs.check_marks` would get them, and a pool that is smaller \
         than the number of ways leaves some without a mark.";
    QUIESCE_FOR_UNUSED = "EK0585" Error "a time at weight 0 for real servers that are removed at once":
        "`quiesce_for` is how long a failed real server stays at weight 0 with `on_failure = \"quiesce\"`. \
         Where failed ones are removed, none is ever at weight 0.";
    DAMPING_DELAYS = "EK0586" Error "the longest wait of a damping is shorter than the first":
        "The wait of a real server that flaps begins at `delay` and doubles with each return until it is \
         `max_delay`.";
    NAME_OF_DRAIN_HEADER = "EK0587" Error "a header that cannot ask for a drain":
        "`drain_header` is the name of a header (RFC 9110): letters, digits and a few signs.";
    SORRY_OUTSIDE = "EK0588" Warning "a sorry server outside of the cluster needs the VIP":
        "With direct routing packets reach the sorry server with the VIP as their destination, and in a \
         tunnel they come out of it so. On a host of the cluster the plan sets all that this takes. At an \
         address outside it is yours to do: the VIP on `lo`, `arp_ignore` and `arp_announce`, and the end of \
         the tunnel. Without it the sorry server drops what it gets, and clients get no answer when they \
         need one.";
}
