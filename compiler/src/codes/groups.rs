//! EK0444 to EK0459: what virtual routers share, and routes and rules of the Master.

super::codes! {
    GROUP_OF_ONE = "EK0444" Error "a sync group of one":
        "A sync group makes virtual routers move together. One alone has nothing to move with, so either \
         another is missing, or the group is not needed: trackers and hooks can be written in the \
         virtual router itself. A virtual router with VIPs of both families is a group by itself.";
    GROUP_DIRECTORS = "EK0445" Error "members of a sync group have different directors":
        "All members of a group are Master on the same host. A host that is a director of some only \
         could never hold the group.";
    GROUP_ORDER = "EK0446" Error "members of a sync group prefer different directors":
        "One member would pull the group to one director, another to the other, and each takeover of \
         one calls for that of the next. All members need the same order of preference.";
    GROUP_PREEMPTION = "EK0447" Error "members of a sync group preempt differently":
        "When one member takes over, all of the group follow it. What the others say about \
         preemption would be passed over.";
    TWO_CONNECTION_SYNCS = "EK0448" Error "a director has two connection synchronisations":
        "The kernel has one thread that sends connections and one that receives them in a network \
         namespace, for all virtual services at once. A second could not be started.";
    SYNC_ID_TAKEN = "EK0449" Error "two connection synchronisations have the same id":
        "Directors take over connections from all that send to their group, port and id. On one \
         segment two clusters of directors would fill each other's tables.";
    GROUP_NOT_MULTICAST = "EK0450" Error "connections are sent to an address that is no multicast group":
        "The kernel sends connections by multicast only (224.0.0.0/4, ff00::/8), and refuses any other \
         address.";
    MACVLAN_NAME = "EK0451" Error "an interface for a virtual MAC has a name that is taken":
        "The daemon makes an interface of its own for each virtual MAC address, `vrrp.` and the VRID if \
         no other name is given. Two with one name cannot be on one host; on different segments two \
         virtual routers may well have the same VRID.";
    ROUTE_TWICE = "EK0452" Error "a route is written twice":
        "The kernel knows a route by destination, table and metric. The second would replace the \
         first, or be refused.";
    FAMILIES_MIXED = "EK0453" Error "IPv4 and IPv6 in one route or rule":
        "Destination, gateway and source of a route, and both networks of a rule, are of one family.";
    ROUTE_HOST_BITS = "EK0454" Error "a route or rule with host bits":
        "`10.1.2.3/8` is the address of a host; the network is `10.0.0.0/8`. The kernel refuses such a \
         destination, and the Master would be without the route.";
    VIA_IS_VIP = "EK0455" Error "a route through the router's own VIP":
        "The Master has the VIP itself, and the kernel refuses a gateway that is one of its own \
         addresses.";
    RULE_FOR_EVERYTHING = "EK0456" Error "a policy rule that matches every packet":
        "Without any condition the rule holds for all traffic of the director, its management \
         included, while it is Master, and for neither family in particular. Where that is meant it is \
         written: `from = \"0.0.0.0/0\"`.";
    PREFERENCE_TWICE = "EK0457" Warning "two rules with the same preference":
        "Of two rules with one number the kernel looks at the older first, so the order depends on \
         which was set first. That is harmless only where no packet matches both.";
    TABLE_OF_THE_KERNEL = "EK0458" Warning "a routing table that is not for routes of one's own":
        "Table 255, `local`, holds what the kernel takes for itself: a route there makes it swallow \
         packets. Table 253, `default`, is looked at after `main`, which nearly always has an answer.";
    GROUP_NAME = "EK0459" Error "a sync group is called like a virtual router that is a group by itself":
        "A virtual router with VIPs of both families is two VRRP instances that move together: a sync \
         group, which has the router's name in plans, in `evenkeeld status` and in what hooks are told. \
         Another group of that name would be the same one. In an explicit sync group the router has \
         none of its own.";
}
