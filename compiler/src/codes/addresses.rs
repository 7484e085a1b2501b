//! EK03xx: addresses of hosts, VIPs and segments.

super::codes! {
    DUPLICATE_HOST_ADDRESS = "EK0301" Error "two hosts have the same address":
        "Two machines with one address disturb each other's traffic, and IPVS would count both as \
         one destination.";
    HOST_OUTSIDE = "EK0302" Error "a host is on no segment":
        "A host belongs to the segment that has a subnet with its address. Without a segment it is \
         unknown which VRIDs it hears and which VIPs it can answer for.";
    HOST_NETWORK_ADDRESS = "EK0303" Error "a host has the network or broadcast address of its subnet":
        "The first address of a subnet names the subnet and the last is its broadcast address; \
         neither can belong to a host. In a /31 and a /32 every address can. In IPv6 \
         the first address means any router of the subnet (RFC 4291 §2.6.1), up to a /126.";
    SUBNETS_OVERLAP = "EK0304" Error "two segments have overlapping subnets":
        "An address would be on two segments at once. Directors, VIPs and real servers are matched \
         by segment, so each address must be on exactly one.";
    DUPLICATE_VIP = "EK0305" Error "a VIP is listed twice":
        "Two virtual routers with one VIP elect two Masters, and both answer ARP for it: clients \
         reach now one, now the other. Services that share a VIP name the same router.";
    VIP_IS_HOST = "EK0306" Error "a VIP is a host's own address":
        "The host keeps its address while another director is Master, and two machines then answer \
         ARP for it. Only the owner of a virtual router has its VIPs as its own addresses: a director \
         with priority 255, which is Master whenever it runs.";
    VIP_OUTSIDE = "EK0307" Error "a VIP is on no segment":
        "The Master announces a VIP by gratuitous ARP, which only reaches the segment it is on. The \
         VIP must lie in a subnet of the segment of its directors.";
    VIP_NETWORK_ADDRESS = "EK0309" Error "a VIP is the network or broadcast address of its subnet":
        "The first address of a subnet names the subnet and the last is its broadcast address; \
         hosts will not talk to either. In a /31 and a /32 every address can be used. In IPv6 \
         the first address means any router of the subnet (RFC 4291 §2.6.1), up to a /126.";
    LOOPBACK_INTERFACE = "EK0311" Error "a host's interface is the loopback":
        "`interface` is the network card that has the host's address: advertisements are sent \
         there. The VIPs of a real server are put on `lo` without being asked to.";
    UNUSABLE_ADDRESS = "EK0312" Error "an address that no host can have":
        "Loopback (127.0.0.0/8, ::1), multicast (224.0.0.0/4, ff00::/8), unspecified (0.0.0.0, ::) \
         and limited broadcast (255.255.255.255) addresses belong to no interface on a network.";
    HOST_BITS = "EK0313" Warning "a subnet is written with host bits":
        "`192.0.2.7/24` is read as `192.0.2.0/24`. Often it is a host's address with its prefix, \
         put where the subnet belongs.";
}
