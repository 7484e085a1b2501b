//! EK04xx: virtual routers.

super::codes! {
    DUPLICATE_VRID = "EK0401" Error "two virtual routers on a segment have the same VRID":
        "Advertisements carry the VRID and nothing else to tell virtual routers apart. Two with one \
         VRID on a segment take each other's advertisements for their own, and one of them never \
         gets a Master. Other VRRP speakers on the segment count too, though this file cannot show \
         them. On different segments a VRID may be used again, and IPv4 and IPv6 have VRIDs of their \
         own.";
    DIRECTOR_ELSEWHERE = "EK0402" Error "a director is not on the segment of the VIP":
        "The Master puts each VIP on its interface of the VIP's segment and answers ARP there, and \
         advertises on its interface of the router's. A director without an address on such a segment \
         has no such interface: add it to `addresses` or `interfaces` of the host, or choose another \
         director. Where an interface has no address of its own, `vip_settings` names it: \
         `vip_settings.\"198.51.100.1\".interface = \"eth1\"`.";
    V2_INTERVAL = "EK0403" Error "VRRP version 2 knows whole seconds only":
        "Version 2 sends the interval as a number of seconds in one byte (RFC 3768 §5.3.7); shorter \
         intervals need version 3, which counts centiseconds. All directors of a router must agree \
         on both.";
    AUTH_NEEDS_V2 = "EK0404" Error "a password needs VRRP version 2":
        "Version 3 has no authentication (RFC 9568 §9): its packets have no field for a password. \
         PASS exists for routers that already use it; it is readable by everyone on the segment \
         and protects against mistakes, not against attackers. `type = \"hmac\"` works with both versions.";
    BAD_PASSWORD = "EK0405" Error "not a PASS password":
        "The field has exactly eight bytes and shorter passwords are padded (RFC 2338 §5.3.10). A \
         longer one would be cut off, and a router that cuts differently would not agree. Printable \
         ASCII is what every router's configuration can hold.";
    LITERAL_SECRET = "EK0406" Warning "a secret is written in the cluster file":
        "Whoever can read the repository can read it, in every past revision too. Keep it in a file \
         on the directors (`secret = { file = \"/etc/evenkeel/vi_1.pass\" }`) or in a systemd \
         credential (`secret = { credential = \"vi_1\" }`). It is never written into a plan.";
    ONE_DIRECTOR = "EK0407" Warning "a virtual router has one director":
        "When it is down nobody holds the VIPs. That may be meant while a second director is being \
         set up.";
    PRIORITY_MISSING = "EK0408" Error "a director has no priority":
        "`priorities` is given for all directors of a virtual router or for none. Without it they \
         get 100, 90, 80, … in the order of `directors`.";
    EQUAL_PRIORITIES = "EK0409" Error "two directors have the same priority":
        "Between equals the higher address wins (RFC 9568 §6.4.3), which hides the choice of the \
         Master in the numbering of the network. Give each its own.";
    TOO_MANY_DIRECTORS = "EK0410" Error "too many directors for default priorities":
        "Default priorities go down from 100 in steps of 10, which is enough for ten directors. \
         With more, write `priorities`.";
    OWNER_PRIORITY = "EK0411" Error "priority 255 is for the owner of the address":
        "255 means that the VIPs are the host's own addresses (RFC 9568 §5.2.4). The highest priority \
         for everyone else is 254.";
    TOO_MANY_VIPS = "EK0412" Error "too many VIPs for one advertisement":
        "An advertisement lists every VIP of its virtual router, each family in its own; the count \
         is one byte and the packet is not fragmented on an MTU of 1500. Split the VIPs over several virtual \
         routers.";
    SECRET_PATH = "EK0413" Error "the path of a secret is not absolute":
        "The daemon has no directory of its own that a relative path could start from. The file is \
         read on each director, not where this is compiled.";
}
