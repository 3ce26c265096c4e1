/* SPDX-License-Identifier: MIT */
/* Events of cgroup v1: register an eventfd for a control file, and wait for it.

   A call each: who has slept finds the caches cold, so that every further step in Python costs as much as a system
   call. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How long the kernel may take to signal a removal: it waits for all CPUs to take notice first, 16 ms as a rule, and
   wakes nobody who sleeps before that. */
enum { LONGEST_LINE = 4096, LONGEST_TEXT = 256, MANY = 256, BILLION = 1000000000, REMOVAL = BILLION / 4 };

static int announce(int control, int event, int watched, const char *argument)
{
    char line[LONGEST_LINE];
    int length = snprintf(line, sizeof line, "%d %d %s", event, watched, argument);

    if (length >= (int)sizeof line) {
        errno = EINVAL;
        return -1;
    }
    return (int)write(control, line, (size_t)length);
}

/* A directory has a link from the one above it, one from itself, and one from each that is in it. */
static int is_above_others(int group)
{
    struct stat about;

    return fstat(group, &about) != 0 || about.st_nlink > 2;
}

/* Not where no text is expected, so that the file is not read then. */
static int holds(int file, const char *expected)
{
    char text[LONGEST_TEXT];
    size_t length = strlen(expected);

    return length && pread(file, text, sizeof text, 0) == (ssize_t)length && !memcmp(text, expected, length);
}

static int has_news(int log)
{
    struct pollfd polled = {log, POLLIN, 0};

    return poll(&polled, 1, 0) != 0;
}

/* With thousands of groups descriptors are scarce: half of those that the process may have are for other things. */
static int is_scarce(int file)
{
    struct rlimit limit;

    return file > MANY && getrlimit(RLIMIT_NOFILE, &limit) == 0 && (rlim_t)file > limit.rlim_cur / 2;
}

/* Three strings: a directory, the file that is to be watched there, and an argument. Return the eventfd in bits 0 to 28,
   the descriptor of the watched file in bits 29 to 57, and answers: whether there may be groups below; once it is
   registered, whether the file holds the expected text, and whether the log has something to read; and whether
   descriptors are scarce. Or a negative errno. Three descriptors at a time are enough. */
static long long pycgroup_register(const char *directory, const char *expected, int log)
{
    const char *file = directory + strlen(directory) + 1, *argument = file + strlen(file) + 1;
    int group = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC), watched, control = -1, event = -1, number = 0;
    long long answers;

    if (group < 0)
        return -errno;
    answers = is_above_others(group);
    watched = openat(group, file, O_RDONLY | O_CLOEXEC);
    /* Write-only, which is all that the owner of a delegated group may. */
    if (watched < 0 || (control = openat(group, "cgroup.event_control", O_WRONLY | O_CLOEXEC)) < 0)
        number = errno;
    close(group);
    if (!number && ((event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
                    announce(control, event, watched, argument) < 0))
        number = errno;
    if (control >= 0)
        close(control);
    if (!number) {
        answers |= holds(watched, expected) << 1 | has_news(log) << 2 | is_scarce(watched) << 3;
        return answers << 58 | (long long)watched << 29 | event;
    }
    if (watched >= 0)
        close(watched);
    if (event >= 0)
        close(event);
    return -number;
}

static int polls(struct pollfd *polled, int count, long long nanoseconds)
{
    struct timespec limit = {nanoseconds / BILLION, nanoseconds % BILLION};

    return ppoll(polled, count, nanoseconds < 0 ? NULL : &limit, NULL);
}

/* Who listens: to which eventfd, for which file's events; how many signals were taken, and the last when, in seconds
   since the epoch; and how many of them have been told, which is for others to note. */
struct pycgroup_listener {
    int event, watched;
    long long signals;
    double time;
    long long told;
};

static void note(struct pycgroup_listener *listener, uint64_t signals)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    listener->signals += (long long)signals;
    listener->time = (double)now.tv_sec + (double)now.tv_nsec / BILLION;
}

/* Wait for so many nanoseconds, below 0 for ever, and return how many signals are still to be told: 0 if the time is
   over, or somebody's signal came. It is negative where the watched file may be gone, with its group: such a file
   polls as an error, and of one that is not kept open (-1) nobody can tell. The kernel signals the removal too, a
   moment later, which this call waits for where there is nothing else to tell. What was taken before is returned at
   once, until it has been told: the last answer may have been lost to a signal handler. */
static long long pycgroup_wait(struct pycgroup_listener *listener, long long nanoseconds)
{
    int event = listener->event, watched = listener->watched;
    struct pollfd polled[] = {{event, POLLIN, 0}, {watched, 0, 0}};
    uint64_t signals;
    long long untold = listener->signals - listener->told;
    int is_ready = polls(polled, 2, untold ? 0 : nanoseconds), is_gone = polled[1].revents & POLLERR;

    if (is_gone && !untold && !(polled[0].revents & POLLIN))
        is_ready = polls(polled, 1, nanoseconds < 0 || nanoseconds > REMOVAL ? REMOVAL : nanoseconds);
    if (is_ready > 0 && read(event, &signals, sizeof signals) > 0)
        note(listener, signals);
    untold = listener->signals - listener->told;
    return is_gone || watched < 0 ? -untold : untold;
}

/* Take what is there. The listener's address is a number: with a single argument, and one that needs no conversion, the
   call takes half as long where the caches are cold. */
static long long pycgroup_take(long long listener)
{
    return pycgroup_wait((struct pycgroup_listener *)(intptr_t)listener, 0);
}
