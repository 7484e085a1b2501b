//! EK10xx: plans against plans, and applying them.

super::codes! {
    MAX_CHANGE = "EK1001" Error "more changes than the cluster file allows at once":
        "`policy.max_change` says how many percent of the objects that are there one `apply` or `compile` \
        may \
         change or remove; what is added does not count. It is there for the merge that went wrong and the \
         variable that was empty. Look at the plan. If it is what you mean, give `--override max_change`.";
    PREVENT_REMOVAL = "EK1002" Error "something protected would be removed":
        "A host, virtual router or service with `prevent_removal = true` is not removed, by `apply` or by \
         `compile`. The protection is kept in the plans that are there, so deleting the block does not \
         delete \
         it. To remove it for good apply `prevent_removal = false` first, or give \
         `--override prevent_removal=` and its name.";
    NOTHING_LEFT = "EK1003" Error "nothing of what was there would be left":
        "Every router, service, destination and address would go, which is what a wrong file or an empty \
         branch looks like. If the cluster really ends, or is replaced whole, give `--override empty`.";
    STALE_PLAN = "EK1004" Error "the plans are no longer what the saved plan was made from":
        "A saved plan is applied to exactly what it was compared with, or not at all: what it showed would \
         not be what it does. Somebody applied something else meanwhile; the message lists it. Plan again.";
    OTHER_CLUSTER = "EK1005" Error "the saved plan is for another cluster":
        "The directory has plans of a cluster with another name. Give the directory that the plan was made \
         for. If the cluster was renamed, plan again against the directory.";
    NEWER_TOOL = "EK1006" Error "the saved plan was written by a newer evenkeel":
        "A newer version may mean something by it that this one does not know. Apply it with the version \
         that wrote it, or plan again with this one.";
    DAMAGED_PLAN = "EK1007" Error "the saved plan is damaged":
        "Its first line has a digest of the rest, and they do not agree: the file was cut off, or edited. \
         Nothing of it is applied. Save it again with `evenkeel plan --save`.";
    SECRETS_MISSING = "EK1008" Error "the saved plan needs secrets that it does not hold":
        "Saved plans end up as artifacts of build servers, so secrets that are written in the cluster file \
         are never in them. Name the cluster file with `--secrets-from`; its plans must be those of the \
         saved plan. Secrets in files on the hosts, or in credentials, need nothing.";
    BROKEN_BASE = "EK1009" Error "what to compare with cannot be used":
        "`--against` names plans or a revision that cannot be read or is not valid, so that no difference \
        can \
         be told. The message says why. Give another base: a directory of plans, `git:` and a revision, or \
         `none` when nothing is there yet.";
    LOCKED = "EK1010" Error "somebody else is applying to this directory":
        "Only one apply writes to a directory at a time. The message says who holds the lock; it is released \
         when that process ends, however it ends. `--lock-timeout 60s` waits for it.";
}
