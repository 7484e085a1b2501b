//! EK0430 to EK0443: trackers, weights, programs, own faults.

super::codes! {
    TRACKER_WITHOUT_KEY = "EK0430" Error "a tracker does not say what it watches":
        "Each type of tracker has one key that it needs: `interface`, `command` of a script, \
         `process`, `path` of a file, `service`.";
    KEY_OF_OTHER_TRACKER = "EK0431" Error "a key that this type of tracker does not have":
        "It would do nothing. Often the type is wrong: a `command` belongs to \"script\", a `path` to \
         \"file\", an `interface` to \"interface\".";
    COMMAND_PATH = "EK0432" Error "a program is not named by an absolute path":
        "Programs are run without a shell and without a search path, so that nobody can put another \
         of the same name before it. The first item is the path, each further one an argument.";
    NO_SUCH_USER = "EK0433" Error "a user that cannot exist":
        "`user` is the name of a user of the directors; empty, with white space or with a colon it is \
         none. Without `user` programs run as \
         `evenkeel_script` where the host has that user, and as `nobody` elsewhere.";
    TRACKER_PATH = "EK0434" Error "the file of a tracker has no absolute path":
        "The daemon has no directory of its own that a relative path could start from. A file that \
         is not there counts as a failure.";
    TRACKER_TIMEOUT = "EK0435" Warning "a script may run longer than its interval":
        "A script is never run twice at once: one that hangs puts off the next look, and a failure \
         is noticed that much later than the interval says.";
    ZERO_WEIGHT = "EK0436" Error "a weight of zero":
        "It adds nothing to the priority. In keepalived the weight 0 means that a failure takes the \
         instance out of the election; here that is said by leaving the weight out.";
    WEIGHTS_TOO_SMALL = "EK0437" Warning "weights that never change the Master":
        "A Backup takes over when its priority is higher than the Master's, not when it is equal. If \
         all weights together do not bridge the distance between the first two directors by more than \
         nothing, the first stays Master, unless a tracker without a weight fails on it.";
    WEIGHTS_BEYOND_RANGE = "EK0438" Warning "weights lead out of the range of priorities":
        "Priorities go from 1 to 254; what is beyond is cut off. Directors whose priorities are cut \
         off become equal, and the higher address decides who is Master (RFC 9568 §6.4.3), not the \
         order that was written.";
    WEIGHT_WITHOUT_PREEMPTION = "EK0439" Warning "a weight in a router that does not preempt":
        "Weights change priorities, and with `preempt = false` a higher priority does not take over \
         from a Master that runs. The VIPs stay on a director whose tracker fails. A tracker without \
         a weight takes the director out of the election, and that moves them.";
    SERVICE_ELSEWHERE = "EK0440" Error "a director tracks a service that it does not balance":
        "A service's quorum is counted by the health checks of the directors of its own virtual \
         router. Another host knows nothing of it.";
    ALL_AT_ONCE = "EK0441" Warning "all directors leave the election at once":
        "Directors check the same real servers. When a service has lost its quorum, it has lost it on \
         all of them: with a tracker without a weight none takes part in the election, and nobody \
         holds the VIPs, those of other services included. That is right where an upstream router is to \
         send clients elsewhere.";
    OWN_FAULT_UNCHECKED = "EK0442" Warning "an own fault that nobody can find":
        "A director finds that its own link is at fault when none of the real servers behind it answers \
         its checks any more. Without checks it never does.";
}
