//! EK0414 to EK0429: families, timing, unicast and interfaces of virtual routers.

super::codes! {
    V2_IPV6 = "EK0414" Error "VRRP version 2 does not carry IPv6":
        "Version 2 (RFC 3768) is for IPv4 only; IPv6 came with version 3 (RFC 5798, now RFC 9568). A \
         virtual router with VIPs of both families needs version 3, or two virtual routers.";
    DIRECTOR_WITHOUT_FAMILY = "EK0415" Error "a director has no address of the family of a VIP":
        "IPv4 and IPv6 are advertised apart, each from an address of its own family on the VIPs' \
         segment. A director without one could take over half of the virtual router only. By \
         multicast IPv6 is advertised from the link-local address, which every interface with IPv6 \
         has; for `unicast` the others must be told an address.";
    NO_LINK_LOCAL_VIP = "EK0416" Warning "IPv6 VIPs without a link-local one":
        "The first IPv6 address of an advertisement is to be the link-local address of the virtual \
         router (RFC 9568 §5.2.9). Hosts that use the VIP as their gateway know it by that address, \
         from router advertisements. Where nobody does, evenkeel and keepalived work without it; \
         other routers may not.";
    DELAY_WITHOUT_PREEMPTION = "EK0417" Warning "a delay of preemption that never happens":
        "`preempt = false` leaves a Master with a lower priority where it is, for ever. \
         `preempt_delay` says how long to wait before taking over from it. One of the two is not meant.";
    ZERO_DURATION = "EK0418" Error "a time of zero where something must take time":
        "A program would be killed before it began, a look would follow the last without pause, \
         packets would be sent without end. Where a thing can be left undone, leave out the key.";
    SHORT_INTERVAL = "EK0419" Warning "advertisements in less than 100ms":
        "A Backup takes over when it heard nothing for about three intervals. Backups of virtual \
         machines, live migration, a loaded host or a switch that recalculates its tree pause for \
         longer than that, and then two hosts hold the VIPs for a moment.";
    LONG_STARTUP_DELAY = "EK0420" Warning "a very long delay at start":
        "After a power failure all directors start at once, and the VIPs are nowhere until the first \
         delay is over. The delay is for networks that come up later than the daemon: seconds, \
         seldom a minute.";
    GARP_REFRESH = "EK0421" Warning "gratuitous ARP is refreshed before its second burst":
        "`garp.delay` is the time to a second burst after a takeover, for switches that were busy with \
         the first. A refresh that is shorter makes it superfluous, and broadcasts all day long.";
    GARP_BURST = "EK0422" Warning "a burst of gratuitous ARP is longer than the time to the next":
        "Packets of one burst are `garp.interval` apart: `repeat` for each VIP. Where a burst takes \
         longer than the time to the next, the Master is never done with it.";
    CHECKSUM_WITHOUT_EFFECT = "EK0423" Warning "a choice of checksum without effect":
        "`checksum` is about version 3 over IPv4, where two kinds are in use. Version 2 has one \
         kind, and so has IPv6.";
    OWN_PEER = "EK0424" Error "a director is its own unicast peer":
        "A director that hears itself takes its own advertisements for those of a rival. Peers are \
         the others.";
    ONE_WAY = "EK0425" Error "unicast advertisements go one way only":
        "Who does not hear the Master becomes Master too, and two hosts hold the VIPs. Each pair of \
         directors must list each other.";
    STRANGERS = "EK0426" Error "two directors do not hear each other":
        "As long as a third director is Master, both follow it. When it is down both become Master, \
         because neither hears the other. Every director needs every other as a peer, which is what \
         it gets without `peers`.";
    TTL_TOO_LOW = "EK0427" Error "advertisements are sent with a TTL that is not accepted":
        "Directors reject advertisements with a TTL below `min_ttl`, which is 255 if nothing is \
         said: then nothing can come from outside the segment. Every router on the way takes one off \
         the TTL. If sent advertisements are below what is accepted, every director becomes Master.";
    VRID_ON_INTERFACE = "EK0428" Error "two virtual routers have the same VRID on one interface":
        "On different segments a VRID may be used again. But a director that has addresses of both \
         segments on one interface hears both virtual routers there, and cannot tell one from the \
         other.";
    MACVLAN_TOO_LONG = "EK0429" Error "the name of an interface for a virtual MAC is too long":
        "Names of interfaces have at most 15 characters. Of a virtual router with VIPs of both families \
         each has a virtual MAC address, and an interface, of its own: that of IPv6 has the name that \
         was written, and a 6.";
}
