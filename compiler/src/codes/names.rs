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
    UNKNOWN_SEGMENT = "EK0221" Error "a virtual router names a segment that does not exist":
        "`segment` is the name of a table below `[segments]`: there the directors advertise, and it decides \
         which of their interfaces speaks. Without it that is the segment of the first VIP.";
    UNKNOWN_POOL = "EK0230" Error "a service names a pool that does not exist":
        "`pool` is the name of a table below `[pools]`; the service gets every real server that is \
         listed there.";
    UNKNOWN_LABEL = "EK0231" Error "no host has a label that real servers are chosen by":
        "`label` stands for every host that has it in `labels`. A label that no host has chooses \
         nobody: most often it is misspelled here or at the hosts.";
    REAL_SERVER_UNNAMED = "EK0232" Error "an entry of `real_servers` needs one of host, label and pool":
        "An entry says who it is about in one of three ways: `host` is one host, `label` every host \
         with the label, `pool` everybody of a pool. With two of them it would be open which one \
         counts; write two entries.";
    POOL_IN_POOL = "EK0233" Error "a pool names a pool":
        "Pools hold hosts and labels, not other pools, so that one look at a pool tells who is in it. \
         A service may name several pools.";
    UNUSED_POOL = "EK0234" Warning "no service uses a pool":
        "Its real servers serve nothing. Often the service that was to use it names another, or \
         lists hosts itself.";
    ADDRESS_NOT_OF_HOST = "EK0235" Error "a real server's address is not one of the host's":
        "`address` chooses among the addresses that the host has in `[hosts]`. One that is not there \
         is somebody else's or nobody's: its connections would be lost. Correct it, or add it to the \
         host's `addresses`.";
    ADDRESS_OF_MANY = "EK0236" Error "an address for several real servers":
        "`address` belongs to one host. With `label` or `pool` the entry stands for several hosts, \
         which cannot share it.";
    SORRY_SERVER_UNNAMED = "EK0237" Error "a sorry server needs one of host and address":
        "`host` is a host of this cluster, `address` one outside of it. Exactly one says where \
         clients go while the quorum is lost.";
    UNKNOWN_SORRY_SERVER = "EK0238" Error "a sorry server is no host":
        "`host` is the name of an entry in `[hosts]`. A sorry server outside the cluster is given by \
         its `address` instead.";
    SAME_BUT_FOR_CASE = "EK0239" Error "two hosts differ in upper and lower case only":
        "A plan is a file called like its host. Where file names do not distinguish case, as on macOS, on \
         Windows and on many shares, `dir1.plan.toml` and `DIR1.plan.toml` are one file: a checkout of the \
         plans has one of the two, and a host would get the other's. Names of hosts in DNS do not \
         distinguish \
         case either.";
    DEVICE_NAME = "EK0240" Warning "a host is called like a device":
        "Windows takes files called `con`, `prn`, `aux`, `nul`, `com1` to `com9` and `lpt1` to `lpt9`, \
         whatever follows after a dot, for devices: the plan of such a host cannot be checked out there.";
}
