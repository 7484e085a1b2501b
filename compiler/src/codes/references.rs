//! EK021x: names of trackers, groups, peers and interfaces.

super::codes! {
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
