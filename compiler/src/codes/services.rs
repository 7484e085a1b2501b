//! EK0501 to EK0554: services, forwarding, scheduling, quorum. Checks are next door.

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
         destination MAC address is changed. A tunnel wraps it, and what is inside stays the same, \
         too. The real server must listen on the VIP and the service's own port.";
    REAL_SERVER_ELSEWHERE = "EK0505" Error "a real server is not on the segment of the VIP":
        "Direct routing reaches a real server by its MAC address, so director and real server must \
         be on one Ethernet segment without a router between them.";
    REAL_SERVER_IS_DIRECTOR = "EK0506" Warning "a masqueraded real server is also a director of the same \
        router":
        "While the host is Master it answers itself. While another director is, its answers would have to \
         go back through that one, but its gateway cannot be a VIP that it may hold itself: clients get \
         answers from an address that they did not ask. With direct routing and tunnels a director may be \
         a real server of its own VIPs: it has them on `lo`, and balances only while it is Master.";
    TCP_CHECK_ON_UDP = "EK0507" Error "a TCP check on a UDP service":
        "A TCP connection to a port that serves UDP or SCTP is refused, and every real server would be \
         taken out. When the real server has a TCP port that tells its health, name it: \
         `check = { type = \"tcp\", port = … }`.";
    ALL_WEIGHTS_ZERO = "EK0508" Warning "every real server of a service has weight 0":
        "Weight 0 takes no new connections, and a host with `drain = true` has it everywhere, so the service \
         refuses every client. That is right for draining all of it.";
    ZERO_CHECK_TIME = "EK0509" Error "a check with a time of zero":
        "An interval of zero would check without pause, and a timeout of zero would fail every \
         check before it began.";
    SERVICE_PORTS = "EK0510" Error "a service needs one of port, ports and firewall_mark":
        "`port` is one port, `ports` several or ranges, and `firewall_mark` takes whatever the \
         firewall marks. They exclude each other: IPVS finds a virtual server either by VIP, \
         protocol and port or by mark.";
    PROTOCOL_MISSING = "EK0511" Error "a service does not say its protocol":
        "IPVS has a virtual server for each protocol. There is no default on purpose: a service that \
         was meant to be TCP and became UDP refuses every client. Only a service by \
         `firewall_mark` takes packets of any protocol.";
    MARK_KEY = "EK0512" Error "a key that means nothing with a firewall mark":
        "A service by firewall mark takes the packets that the firewall marks, whatever their VIP, \
         protocol and port. Say in the firewall's rule which packets these are.";
    VIP_AND_VIPS = "EK0513" Error "a service has both vip and vips":
        "`vip` is for one VIP, `vips` for several. With both it would be open whether `vip` is one \
         more.";
    VIP_TWICE = "EK0514" Error "a service lists a VIP twice":
        "Each VIP of the list becomes virtual servers of its own, and IPVS has one for an address, \
         protocol and port. Often another VIP was meant.";
    TOO_MANY_FRONTS = "EK0515" Error "a service becomes too many virtual servers":
        "Every VIP with every port is a virtual server of its own in the kernel, with its own list of \
         real servers, so a wide range fills memory and slows each convergence. More than 4096 are \
         not accepted. A firewall mark makes one virtual server of any number of VIPs and ports.";
    DUPLICATE_MARK = "EK0516" Error "two services have the same firewall mark":
        "IPVS has one virtual server for a mark and address family on a director. The same mark may \
         be used by virtual routers that share no director.";
    FAMILY_WITHOUT_MARK = "EK0517" Error "a family without a firewall mark":
        "A VIP shows whether it is IPv4 or IPv6, and so does every service with one. `family` is for \
         services by `firewall_mark`, which have no VIP.";
    MARK_WITHOUT_VIP = "EK0518" Warning "a firewall mark of a family of which there is no VIP":
        "Packets come to a director because it holds the address that they are for. Without a VIP of the \
         family only what the host's own routing brings there is balanced, and real servers are given no \
         address to accept.";
    LINK_LOCAL_VIP = "EK0519" Error "a service on a link-local VIP":
        "A link-local address is of an interface: a real server that has it on `lo` does not accept what \
        comes \
         in elsewhere, and answers would not leave its segment.";
    REAL_SERVER_FAMILY = "EK0520" Error "a real server is not of the VIP's address family":
        "Direct routing and masquerade keep packets in their family: IPv4 clients need real servers \
         with IPv4 addresses. Only a tunnel can carry one family in the other.";
    NAT_WITHOUT_GATEWAY = "EK0521" Warning "no way back from a masqueraded real server is known":
        "With masquerade the answers of a real server must pass the director, which puts the VIP \
         back in as their source. A real server that answers past it sends clients packets from an \
         address they never spoke to. Its default gateway must therefore be a VIP that the directors \
         share. Without `gateway` evenkeel does not know, and you must see to it elsewhere.";
    NAT_GATEWAY = "EK0522" Error "a masqueraded real server's gateway is not a VIP of its directors":
        "Answers must come back through the director that is Master at the time. A VIP of a virtual \
         router with the same directors moves with it; a director's own address, or that of another \
         router, does not.";
    NAT_GATEWAY_APART = "EK0523" Warning "a masqueraded service and its way back can have two Masters":
        "The gateway of the real servers is a VIP of another virtual router than the service's. When \
         one fails over alone, requests come in on one director and answers on the other, which \
         knows nothing of the connection. A sync group keeps both on one director.";
    NAT_SAME_SEGMENT = "EK0524" Warning "a masqueraded real server is on the VIP's segment":
        "A client on that segment gets the real server's answer directly and not through the \
         director, from an address it did not ask. Clients elsewhere are served. Put the real \
         servers on a segment of their own, or use direct routing.";
    TUNNEL_UNUSED = "EK0525" Error "a tunnel that nothing uses":
        "`tunnel` says how packets are wrapped with forwarding method `tun`. No real server of this \
         service is reached that way, so it would have no effect.";
    TUNNEL_KEY = "EK0526" Error "a tunnel has no such setting":
        "Only `gue` has a UDP port, and only `gue` can leave its checksum to the real server's \
         network card (`remote`). `gre` can have a checksum, `ipip` has none.";
    OTHER_FAMILY_SYNCHRONISED = "EK0527" Error "a real server of the other family where connections are \
        synchronised":
        "What directors tell each other of a connection has room for one address family, so the kernel \
         refuses a real server of the other family while a synchronisation runs on the director.";
    GRE_TWO_CHECKSUMS = "EK0528" Error "GRE with and without a checksum at one address":
        "A real server has one interface that unwraps GRE at an address, and the kernel lets it take either \
         packets with a checksum or packets without: those of the other service would be dropped.";
    FLAG_OF_OTHER_SCHEDULER = "EK0530" Error "flags of a scheduler that has none":
        "`fallback` and `port` are flags of the hashing schedulers `sh` and `mh`. IPVS stores them \
         with any scheduler and the others never look.";
    FLAG_TWICE = "EK0531" Error "a scheduler flag is listed twice":
        "A flag is set or not set; saying it again changes nothing. There are two, `fallback` and `port`, \
         and often the other one was meant.";
    PERSISTENT_HASH = "EK0532" Warning "persistence with a hashing scheduler":
        "`sh` and `mh` always send a client to the same real server by themselves, `dh` a \
         destination. Persistence then adds a table entry for each client and keeps clients where \
         they are when a real server returns, but does not decide anything else. Choose one.";
    PERSISTENCE_TIME = "EK0533" Error "a persistence timeout that IPVS cannot have":
        "IPVS counts it in whole seconds. Zero is no persistence at all: leave `persistence` out.";
    PERSISTENCE_PREFIX = "EK0534" Error "a persistence prefix is longer than an address":
        "An IPv4 address has 32 bits, an IPv6 address 128. With `prefix = 24` the clients of one /24 \
         stay together.";
    ENGINE_PROTOCOL = "EK0535" Error "the SIP engine on a service that is not UDP":
        "The kernel's engine reads the Call-ID from UDP datagrams only. On other protocols it finds \
         none, and no connection would be persistent.";
    ONE_PACKET_PROTOCOL = "EK0536" Error "one_packet on a service that is not UDP":
        "Balancing each packet for itself tears connections apart; the kernel does it for UDP only \
         and ignores the flag otherwise.";
    ONE_PACKET_PERSISTENCE = "EK0537" Warning "one_packet with persistence by address":
        "`one_packet` balances each datagram anew, persistence sends all datagrams of a client to \
         one real server. Persistence wins. With `engine = \"sip\"` both make sense: each call \
         stays together.";
    EQUAL_WEIGHTS = "EK0538" Warning "a failover scheduler without an order":
        "`fo` sends everything to the real server with the highest weight, `ovf` fills the one with the \
         highest weight until it has as many connections as its weight. When several share \
         the highest weight it is chance which one it is.";
    WEIGHT_IGNORED = "EK0539" Warning "weights that the scheduler does not look at":
        "`rr`, `lc` and `dh` only ask whether a weight is zero. Their weighted sisters are `wrr` and \
         `wlc`; `mh` and `sh` hash with weights.";
    THRESHOLDS = "EK0540" Error "connection thresholds contradict each other":
        "A real server gets no new connections from `upper_threshold` on and gets them again below \
         `lower_threshold`. The kernel refuses a lower one above the upper one, or without one.";
    QUORUM_TOO_HIGH = "EK0545" Error "a quorum that cannot be reached":
        "The weights of all real servers together are less than the quorum, so the service would be \
         down even while every one is healthy.";
    QUORUM_HYSTERESIS = "EK0546" Error "a quorum with a hysteresis that leaves no room":
        "The service goes down below `weight` less `hysteresis` and comes up at `weight` plus \
         `hysteresis`. The first must be above zero, or it never goes down; the second must not be \
         more than all weights together, or it never comes up again.";
    NEEDS_CHECK = "EK0547" Warning "a setting that needs a health check":
        "Without a check every real server counts as healthy for ever: nothing fails, no quorum is \
         lost, no sorry server is used and no program is told.";
    ZERO_TIME = "EK0549" Error "a time of zero":
        "A drain of zero ends every connection at once, as without a drain; a program that may run \
         for no time is killed before it begins.";
    STAY_WITH_REMOVED = "EK0550" Warning "UDP clients stay with a real server that was removed":
        "IPVS remembers a UDP client by address and port for 300 s after its last packet. A client that \
         always sends from the same port stays with its real server, and when that was removed every packet \
         of it is dropped, unless `net.ipv4.vs.expire_nodest_conn` is 1. Plans of directors with such a \
         service set it; the cluster file says 0.\n\n\
         The setting holds for all services of a director. TCP clients of a removed real server are reset \
         with 1, where with 0 they wait; where a check fails for a moment only, with 0 they may go on.";
    STAY_WITH_QUIESCED = "EK0551" Warning "clients bound by persistence stay with a quiesced real server":
        "Persistence sends a client to its real server even at weight 0, unless \
         `net.ipv4.vs.expire_quiescent_template` is 1: with `on_failure = \"quiesce\"` to one that failed. \
         Plans of directors with such a service set it, unless the cluster file says 0 or a service of the \
         director has persistence and `drain`.\n\n\
         A real server that drains has weight 0, too, and there clients that persistence binds are meant to \
         stay until the time is over. The setting holds for all services of a director and cannot tell the \
         two apart: where both are there, `ipvs.sysctls` must say which it is to be. Real servers that are \
         removed (`on_failure = \"remove\"`, the default) bind nobody, whatever the setting is.";
    UDP_STAYS_WITH_QUIESCED = "EK0552" Warning "UDP clients stay with a quiesced real server":
        "A real server that fails and is quiesced stays in the table with weight 0 and keeps its clients. \
         IPVS forgets a UDP client 300 s after its last packet, so one that always sends from the same port \
         stays with it for ever, and no setting of the kernel changes that. A TCP client gives up and \
         connects \
         anew. Removed real servers lose their UDP clients at once.";
}
