/* Moves the wall clock of a process by the seconds in the file "offset", which may change while it runs. Monotonic
 * clocks stay. No function of the C library is called before it is ready: an allocator may ask for the time first. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset_seconds(void) {
    static long known = 0;
    static char path[512] = "";
    if (path[0] == '\0') {
        const char *folder = getenv("PRELOAD_FILES");
        if (folder == NULL || strlen(folder) > 480) {
            return 0;
        }
        strcpy(path, folder);
        strcat(path, "/offset");
    }
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return known;
    }
    char text[32];
    long length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    /* Empty: it is being written. */
    if (length > 0) {
        text[length] = '\0';
        known = strtol(text, NULL, 10);
    }
    return known;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        now->tv_sec += offset_seconds();
    }
    return (int)result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec precise;
    if (clock_gettime(CLOCK_REALTIME, &precise) != 0) {
        return -1;
    }
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *place) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) {
        return -1;
    }
    if (place != NULL) {
        *place = now.tv_sec;
    }
    return now.tv_sec;
}

/* The kernel ends a wait by its own clock, which was not moved, and the caller computes the end by the moved clock. A wait that
 * has begun keeps its length when the clock is moved. */
int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict end) {
    /* A condition may also count by the monotonic clock, which is at most a few years after the start of the machine. */
    if (end->tv_sec < 1000000000) {
        return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, end);
    }
    struct timespec by_the_kernel = *end;
    by_the_kernel.tv_sec -= offset_seconds();
    return pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME, &by_the_kernel);
}
