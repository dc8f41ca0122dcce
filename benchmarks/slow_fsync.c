/* Preloaded by bench_kernel.py: lets every fsync take FSYNC_DELAY_US longer, as on a slower disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int (*sync_function)(int);

static int delayed(const char *name, int fd)
{
    int result = ((sync_function)dlsym(RTLD_NEXT, name))(fd);
    const char *given = getenv("FSYNC_DELAY_US");
    long us = given ? atol(given) : 0;
    struct timespec pause = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&pause, NULL);
    return result;
}

int fsync(int fd) { return delayed("fsync", fd); }
int fdatasync(int fd) { return delayed("fdatasync", fd); }
