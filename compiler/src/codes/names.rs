//! EK02xx: names that refer to something, and objects nothing refers to.

super::codes! {
    UNKNOWN_ROUTER = "EK0201" Error "a service names a virtual router that does not exist":
        "`router` is the name of a table below `[virtual_routers]`. The service takes its VIP and \
         its directors from there.";
    UNKNOWN_DIRECTOR = "EK0202" Error "a virtual router names a director that is no host":
        "`directors` are names of entries in `[hosts]`. A director that does not exist would leave \
         the router with one backup fewer than it seems to have.";
    UNKNOWN_REAL_SERVER = "EK0203" Error "a service names a real server that is no host":
        "`host` is the name of an entry in `[hosts]`; the real server's address comes from there.";
    DUPLICATE_DIRECTOR = "EK0204" Error "a director is listed twice":
        "A director has one priority in a virtual router, and its place in the list decides which. \
         Listed twice it would have two.";
    DUPLICATE_REAL_SERVER = "EK0205" Error "a real server is listed twice in a service":
        "IPVS knows a destination by address and port, once in a service. To send a real server \
         more connections, raise its `weight`.";
    PRIORITY_OF_NO_DIRECTOR = "EK0206" Error "a priority for a host that is not a director":
        "`priorities` holds one number for each of `directors`, and for no other host: often a \
         director was renamed or taken out in one of the two places only.";
    UNUSED_HOST = "EK0207" Warning "a host is neither director nor real server":
        "Its plan will be empty. Often the host was forgotten in `directors` or `real_servers`; \
         if it is being prepared or retired, the warning can be left.";
    UNUSED_SEGMENT = "EK0208" Warning "nothing is on a segment":
        "No host and no VIP has an address in its subnets. Often a subnet is mistyped; then the \
         hosts that belong there are reported too.";
    UNUSED_ROUTER = "EK0209" Warning "a virtual router has no service":
        "Its VIPs move between the directors, but nothing is balanced on them. That is right for a \
         gateway address; otherwise a service is missing or names another router.";
}
