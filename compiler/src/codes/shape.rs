//! EK01xx: the shape of the file: keys, types, ranges.

super::codes! {
    UNKNOWN_KEY = "EK0101" Error "unknown key":
        "The language has no such key at this place. A misspelled key is never ignored: the \
         setting it was meant to change would silently keep its default.\n\n\
         Mind that in TOML every `key = value` belongs to the last `[table]` header above it: a \
         key of the whole cluster must stand before the first header.";
    MISSING_KEY = "EK0102" Error "a required key is missing":
        "This key has no default, because no value would be right for everyone. The hint shows \
         where it belongs and what it looks like.";
    WRONG_TYPE = "EK0103" Error "a value has the wrong type":
        "Numbers are written without quotes, texts (names, addresses, durations) with quotes, \
         lists in `[ ]`, tables in `{ }` or below a `[header]`. There are no decimal numbers and \
         no dates in a cluster file.";
    NOT_ALLOWED = "EK0104" Error "a value is not one of those allowed":
        "The key takes one of a fixed set of words. The message lists them. Words of other tools \
         differ in places: forwarding `dr` is keepalived's `lb_kind DR` and ipvsadm's `-g`.";
    OUT_OF_RANGE = "EK0105" Error "a number is out of range":
        "The range comes from the protocol or from the kernel: a VRID and a priority are one byte, \
         a port is two.";
    MALFORMED = "EK0106" Error "a text is not well formed":
        "Addresses are written as `192.0.2.1`, networks as `192.0.2.0/24`, durations as a whole \
         number with a unit (`500ms`, `5s`, `2m`, `1h`). An advertisement interval is a multiple of \
         10ms up to 40950ms, because it is sent in centiseconds in 12 bits.";
    EMPTY_LIST = "EK0107" Error "a list is empty":
        "At least one item is needed: a segment without subnets holds no address, a virtual router \
         without VIPs or directors does nothing, a service without real servers serves nobody.";
    BAD_NAME = "EK0108" Error "not a name":
        "Names of clusters, segments, hosts, virtual routers and services are 1 to 63 letters, \
         digits, `_`, `.` or `-`, with a letter or digit at both ends. They become file names and \
         words in logs, so they hold no spaces and no slashes.";
    EXACTLY_ONE = "EK0109" Error "exactly one key is needed":
        "The table takes one key out of several that exclude each other. Two of them would leave \
         open which one counts.";
    LANGUAGE_VERSION = "EK0110" Error "unknown version of the language":
        "`version` is the version of the cluster file's language, not of the cluster. This \
         evenkeel reads version 1. A file for a later version needs a later evenkeel.";
}
