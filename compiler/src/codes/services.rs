//! EK05xx: services and their checks. EK06xx: policy. EK08xx: not supported. EK09xx: our own mistakes.

super::codes! {
    DUPLICATE_SERVICE = "EK0501" Error "two services have the same VIP, protocol and port":
        "IPVS has one virtual server for an address, protocol and port. Put the real servers of \
         both into one service, or change a port.";
    VIP_NOT_OF_ROUTER = "EK0502" Error "a service's VIP is not one of its router's":
        "The directors of the router hold the router's VIPs only; packets to another address never \
         reach them.";
    VIP_AMBIGUOUS = "EK0503" Error "a service must say which VIP it uses":
        "`vip` may be left out when the router has one. With several the choice must be written.";
    DR_PORT = "EK0504" Error "direct routing cannot change the port":
        "With direct routing the packet reaches the real server as the client sent it: only the \
         destination MAC address is changed. The real server must listen on the VIP and the \
         service's own port.";
    REAL_SERVER_ELSEWHERE = "EK0505" Error "a real server is not on the segment of the VIP":
        "Direct routing reaches a real server by its MAC address, so director and real server must \
         be on one Ethernet segment without a router between them.";
    REAL_SERVER_IS_DIRECTOR = "EK0506" Error "a real server is also a director of the same router":
        "A real server holds the VIP on `lo` all the time, a director only while it is Master. One \
         host cannot do both for one VIP: as Backup it would deliver the clients' packets to itself. \
         This version does not support local destinations.";
    TCP_CHECK_ON_UDP = "EK0507" Error "a TCP check on a UDP service":
        "A TCP connection to a port that serves UDP is refused, and every real server would be taken \
         out. When the real server has a TCP port that tells its health, name it: \
         `check = { type = \"tcp\", port = … }`.";
    ALL_WEIGHTS_ZERO = "EK0508" Warning "every real server of a service has weight 0":
        "Weight 0 takes no new connections, so the service refuses every client. That is right for \
         draining all of it.";
    ZERO_CHECK_TIME = "EK0509" Error "a check with a time of zero":
        "An interval of zero would check without pause, and a timeout of zero would fail every \
         check before it began.";
    RESYNC_TOO_SHORT = "EK0601" Error "resync is shorter than one second":
        "Each resync reads the whole IPVS table and every kernel setting of the plan. More often \
         than once a second it would load the directors without making repair visibly faster.";
    UNSUPPORTED = "EK0801" Error "not supported by this version":
        "The language is ahead of the daemon: it has words for all that LVS clusters use, so that a \
         cluster file need not be rewritten later. What `evenkeeld` cannot do yet is refused here, \
         because a plan never holds what a host would ignore. Remove it, or take the way that the \
         hint offers.";
    INTERNAL = "EK0901" Error "a mistake in evenkeel":
        "A cluster passed every rule and still could not be compiled: a rule is missing. Please \
         report it with the cluster file, after removing what is secret in it.";
}
