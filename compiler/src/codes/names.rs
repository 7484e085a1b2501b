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
    UNKNOWN_MEMBER_ROUTER = "EK0210" Error "a group names a virtual router that does not exist":
        "`virtual_routers` of a sync group and `router` of a connection synchronisation are names of \
         tables below `[virtual_routers]`. A group without one of its members would move without it.";
    UNKNOWN_TRACKER = "EK0211" Error "something tracks a tracker that does not exist":
        "`track` lists names of entries in `[trackers]`. What does not exist never fails, so the \
         election would not see what it was to watch.";
    TRACKED_TWICE = "EK0212" Error "a tracker is tracked twice":
        "A tracker has one weight in a virtual router or sync group. Listed twice it would be \
         unclear whether both count or which of them.";
    UNUSED_TRACKER = "EK0213" Warning "a tracker is not tracked":
        "A tracker does nothing by itself: a virtual router or sync group must name it in `track`. \
         Often it was defined and that line forgotten.";
    UNKNOWN_TRACKED_SERVICE = "EK0214" Error "a tracker watches a service that does not exist":
        "`service` is the name of a table below `[services]`. The tracker fails while that service \
         lacks its quorum.";
    UNKNOWN_INTERFACE = "EK0215" Warning "an interface that directors are not said to have":
        "An interface that is misspelled counts as down for ever: a tracker of it fails from the \
         start, and an address cannot be put on it. This file only knows interfaces that have \
         addresses in `[hosts]`, so one without an address is right all the same.";
    IN_TWO_GROUPS = "EK0216" Error "a virtual router is in two sync groups":
        "Members of a group are Master together or not at all. A router in two groups would tie both \
         together without either saying so, and a router twice in one group says nothing.";
    SETTINGS_OF_NO_VIP = "EK0217" Error "settings for an address that is no VIP of the router":
        "The keys of `vip_settings` are VIPs of the same virtual router, from `vips` or \
         `unadvertised_vips`. Settings for another address would do nothing; often the VIP was \
         changed in one of the two places only.";
    SETTINGS_TWICE = "EK0218" Error "two settings for one VIP":
        "An IPv6 address can be written in several ways, and as keys of a table they differ. Only one \
         of the two could have effect.";
    UNKNOWN_PEER = "EK0219" Error "a unicast peer that is not a director":
        "`unicast.peers` says which directors of the router advertise to which others. Whoever is \
         not a director takes no part in the election, and would be sent what it does not read.";
    HOST_LABEL_TWICE = "EK0220" Warning "a host has a label twice":
        "It has no effect. Often another label was meant, and a service that chooses by that one does \
         without this host.";
}
