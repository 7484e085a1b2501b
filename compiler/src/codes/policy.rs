//! EK06xx: policy and IPVS as a whole. EK08xx: not supported. EK09xx: our own mistakes.

super::codes! {
    RESYNC_TOO_SHORT = "EK0601" Error "resync is shorter than one second":
        "Each resync reads the whole IPVS table and every kernel setting of the plan. More often \
         than once a second it would load the directors without making repair visibly faster.";
    IPVS_TIMEOUT = "EK0602" Error "a time-out that IPVS cannot have":
        "The kernel counts these times in whole seconds, and takes zero as \"leave it as it is\": the \
         setting would be what was there before, and different on every director.";
    UNKNOWN_IPVS_SYSCTL = "EK0603" Error "not a setting of IPVS":
        "Keys of `ipvs.sysctls` are the names of files in `/proc/sys/net/ipv4/vs` that hold one number, \
        without \
         anything before them. Others belong to the host's own `sysctl.d`.";
    IPVS_SYSCTL_VALUE = "EK0604" Error "a setting of IPVS cannot have this value":
        "The kernel refuses the value, or takes it for another one; then the daemon would write it again \
         and again.";
    EXCLUSIVE_BUT_REPORTED = "EK0605" Error "IPVS drift is to be removed and left alone":
        "`exclusive_ipvs = true` removes every IPVS service that is not in the plan, \
         `drift = { ipvs = \"report\" }` leaves the IPVS table alone. Only one can be.";
    IPVS_SYSCTL_MOVES = "EK0606" Warning "a setting that the kernel changes by itself":
        "Modes 1 and 2 of `drop_entry`, `drop_packet` and `secure_tcp` are automatic: the kernel \
         writes 2 into the setting when memory runs short and 1 when there is enough. The daemon \
         takes that for drift and writes it back. 0 is always off, 3 always on.";
    PROBATION_TIMEOUT = "EK0607" Error "a probation that cannot be kept":
        "Within this time a host must take its plan, converge, and be told that all is well; then somebody \
         must have looked. Less than five seconds would take back every change. The time is in whole \
         seconds.";
    IPVS_SYSCTL_NOT_KNOWN = "EK0608" Warning "a setting of IPVS that this version does not know":
        "The known settings are those of Linux 5.10 to 7.2 that hold one number. A newer kernel may have \
        more, so \
         another name is taken as it is written, and so is its value. A director whose kernel does not have \
         it says so in its status and log, and goes on without: a misspelled name does nothing.";
    INTERNAL = "EK0901" Error "a mistake in evenkeel":
        "A cluster passed every rule and still could not be compiled: a rule is missing. Please \
         report it with the cluster file, after removing what is secret in it.";
}
