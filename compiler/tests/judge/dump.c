/* Loaded into keepalived (LD_PRELOAD) while it tests a configuration: when it ends, what it has understood is written to the
 * file that JUDGE_DUMP names. keepalived exports the functions that write it, since its own signal handlers do the same. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

__attribute__((destructor)) static void dump(void)
{
    const char *const parts[] = { "dump_data_check", "dump_data_vrrp" };
    const char *path = getenv("JUDGE_DUMP");
    FILE *out;
    unsigned i;

    /* nsenter, which starts keepalived, loads this, too. */
    if (!path || !dlsym(RTLD_DEFAULT, parts[0]) || !(out = fopen(path, "w")))
        return;
    /* Versions up to 2.3 crash while they write track files that both daemons read: what is before them is kept. */
    setvbuf(out, NULL, _IOLBF, 0);
    for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        void (*write_part)(FILE *) = (void (*)(FILE *))dlsym(RTLD_DEFAULT, parts[i]);
        if (write_part)
            write_part(out);
    }
    fclose(out);
}

/* 2.2.7 takes a test for a daemon whose parent has died, and ends itself, when a program runs as another user. */
int kill(pid_t pid, int number)
{
    int (*next)(pid_t, int) = (int (*)(pid_t, int))dlsym(RTLD_NEXT, "kill");

    if (pid == getpid() && number == SIGTERM && getenv("JUDGE_DUMP"))
        return 0;
    return next(pid, number);
}
