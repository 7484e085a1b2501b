/*
 * Loaded into the host-side User-Mode Linux process, only on hosts whose CPU has a register set bigger than that kernel
 * was built for (Intel AMX and later).
 *
 * Up to 6.12 User-Mode Linux keeps 2696 bytes of XSAVE state for each guest process. A host kernel hands out a prefix of its
 * own, bigger, area but takes back only the whole of it: PTRACE_SETREGSET answers EFAULT and the guest panics before its first
 * program runs. Here the missing tail is filled with zeros, the initial state of registers no guest program uses.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

static long (*real_ptrace)(enum __ptrace_request, ...);
static unsigned char whole_area[1 << 16];
static size_t whole_size;

long ptrace(enum __ptrace_request request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    pid_t process = va_arg(arguments, pid_t);
    void *address = va_arg(arguments, void *);
    struct iovec *area = va_arg(arguments, void *);
    va_end(arguments);

    if (!real_ptrace)
        *(void **)&real_ptrace = dlsym(RTLD_NEXT, "ptrace");
    if (request != PTRACE_SETREGSET || (unsigned long)address != NT_X86_XSTATE)
        return real_ptrace(request, process, address, area);

    if (!whole_size) {
        struct iovec question = { whole_area, sizeof whole_area };
        if (real_ptrace(PTRACE_GETREGSET, process, address, &question) < 0)
            return -1;
        whole_size = question.iov_len;
        memset(whole_area, 0, sizeof whole_area);
    }
    if (area->iov_len >= whole_size)
        return real_ptrace(request, process, address, area);
    memcpy(whole_area, area->iov_base, area->iov_len);
    struct iovec whole = { whole_area, whole_size };
    return real_ptrace(request, process, address, &whole);
}
