//! EK0470 to EK0473: hosts that are taken out of service, as directors and as real servers.

super::codes! {
    MAINTENANCE_NO_DIRECTOR = "EK0470" Error "a host in maintenance that is no director":
        "`maintenance = true` keeps a host out of the elections of its virtual routers. A host that is no \
         director of any has none, so the key would do nothing, and whoever wrote it would take the host \
         for out of service. A real server is taken out with `drain = true`.";
    NO_DIRECTOR_LEFT = "EK0471" Error "every director of a virtual router is in maintenance":
        "A director in maintenance takes no part in the election. With all of them in maintenance nobody \
         has the VIPs and every client is refused. Take one director after the other: the next goes into \
         maintenance when the one before is back.";
    OWNER_IN_MAINTENANCE = "EK0472" Error "the owner of VIPs in maintenance":
        "A director with priority 255 owns the VIPs: they are its own addresses, which it has whether it \
         takes part in the election or not. While another director holds them as well, they are on two \
         hosts. Lower its priority below 255, or take the host off the segment.";
    DRAIN_NO_REAL_SERVER = "EK0473" Error "a drained host that is no real server":
        "`drain = true` takes new connections away from a host as a real server, in every service that it \
         is a real server of. A host that is one of none would not be changed by it, and whoever wrote \
         the key would take it for out of service. A director is taken out with `maintenance = true`.";
}
