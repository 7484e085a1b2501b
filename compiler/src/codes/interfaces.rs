//! EK031x, EK032x: interfaces, gateways, settings of VIPs.

super::codes! {
    INTERFACE_TWICE = "EK0314" Error "`interfaces` of a host names its main interface":
        "`interface` has `address` and `addresses`; `interfaces` is for the others. In two places the \
         addresses of one interface are easily changed in one of them only.";
    OWN_ADDRESS_TWICE = "EK0315" Error "a host has an address twice":
        "An address is on one interface. On two of them the kernel would answer for it on both \
         segments, and it is unclear which of them a director takes for its advertisements.";
    FURTHER_ADDRESS_OUTSIDE = "EK0316" Warning "a further address of a host is on no segment":
        "Segments say which interface a virtual router lives on, and which hosts reach each other \
         directly. An address without a segment counts for neither. It is left alone on the host, so \
         it may be meant; often it is mistyped, or a subnet is missing.";
    GATEWAY_ELSEWHERE = "EK0317" Error "a gateway that the host cannot reach":
        "A gateway must be on a network of the host itself and be another machine: the kernel \
         refuses a route through anything else, and the host would have no default route.";
    GATEWAY_IS_NO_VIP = "EK0318" Warning "the gateway of a host is not a VIP":
        "With masquerade the answers of a real server must go back through the Master, so its \
         gateway is a VIP, which moves with the Master. A fixed address loses all connections at the \
         first failover. For hosts whose services are all direct routing, leave `gateway` to the \
         host's own network configuration.";
    PREFIX_TOO_LONG = "EK0319" Error "a prefix length beyond the address":
        "IPv4 addresses have 32 bits and IPv6 addresses 128. A longer prefix cannot be set.";
    LABEL_ON_IPV6 = "EK0320" Error "a label on an IPv6 address":
        "The kernel has labels for IPv4 addresses only. On IPv6 nothing could keep the label, and the \
         daemon would try to repair it for ever.";
    LABEL_OF_OTHER_INTERFACE = "EK0321" Warning "a label that does not begin with the interface's name":
        "`ip` and `ifconfig` take labels for names of interfaces, and `ip` refuses to set one that \
         does not begin with that of its own: `eth0:1` on `eth0`. Where directors name their \
         interfaces differently, no label fits all of them; do without it.";
    GATEWAY_IS_OWN_VIP = "EK0322" Error "the gateway of a host is a VIP that it has itself":
        "A host cannot send to itself to reach others, and the kernel refuses such a route. A director has \
         the VIP while it is Master, a real server by direct routing or tunnel has it on `lo` all the time.";
}
