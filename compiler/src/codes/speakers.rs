//! EK0460 to EK0464: whose advertisements count.

super::codes! {
    STRANGERS_WITHOUT_EFFECT = "EK0460" Warning "a choice about strangers without effect":
        "By unicast directors know each other by their addresses, and nobody else's advertisements count. \
         `strangers` is about multicast, where everybody on the segment is heard.";
    LINK_LOCAL_UNKNOWN = "EK0461" Error "strangers are rejected, and a director is one":
        "With `strangers = \"reject\"` only known addresses count. IPv6 is advertised from the link-local \
         address of an interface. Where that is not in the cluster file, directors learn each other's from \
         advertisements that have a VIP of theirs, which a stranger can send as well.";
}
