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
    CHECK_BODY = "EK0559" Error "a body that cannot be matched":
        "`body` is a regular expression of Rust's `regex`: without look-around and back-references, so \
         that its time is bounded. It is searched for anywhere in the body. An answer to HEAD has no \
         body.";
    CHECK_TEXT = "EK0560" Error "a path, host or name that cannot be sent":
        "The path of a request begins with `/`, and neither it nor a host holds spaces or control \
         characters: they would break the request. A name that is asked for in DNS has parts of 1 \
         to 63 characters between dots, 253 together.";
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
}
