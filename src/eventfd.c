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
enum { LONGEST_LINE = 4096, MANY = 256, STEP = 16, TRIES = 9, BILLION = 1000000000, REMOVAL = BILLION / 4 };
/* Where what pycgroup_register returns has a descriptor, and answers; and the last descriptor that fits. */
enum { DESCRIPTOR = 29, ANSWERS = 2 * DESCRIPTOR, LAST = (1 << DESCRIPTOR) - 1 };

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

/* Whether memory.oom_control is of a group that was never out of memory, as most were when they are subscribed to. */
static int is_fresh(int control)
{
    static const char fresh[] = "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n";
    char text[sizeof fresh];

    return pread(control, text, sizeof text, 0) == sizeof fresh - 1 && !memcmp(text, fresh, sizeof fresh - 1);
}

static int has_news(int log)
{
    struct pollfd polled = {log, POLLIN, 0};

    return poll(&polled, 1, 0) != 0;
}

/* With thousands of groups descriptors are scarce: half of those that the process may have are for other things. While
   their numbers rise the limit, which may be lowered, is asked for once in every eight times. */
static int is_scarce(int file)
{
    static int last, known;
    struct rlimit limit;
    int is_known = file > last && file <= known;

    last = file;
    if (file <= MANY)
        return known = 0;
    if (is_known || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    known = limit.rlim_cur / 2 < (rlim_t)file + STEP ? (int)(limit.rlim_cur / 2) : file + STEP;
    return file > known;
}

/* The directory that a hierarchy is mounted on, held open: the way down to it is a third of what it takes to open a file
   of a group. It is where `path` says, which the caller writes. */
struct pycgroup_top {
    int descriptor;
    unsigned long long device, inode;
    char path[];
};

/* Not where somebody has closed it, as those do who become daemons: the number may be another's by now. */
static int is_open(const struct pycgroup_top *top)
{
    struct stat about;

    return fstat(top->descriptor, &about) == 0 && about.st_dev == top->device && about.st_ino == top->inode;
}

/* Return 0 or a negative errno. */
static int pycgroup_open_top(struct pycgroup_top *top)
{
    struct stat about;

    top->descriptor = open(top->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top->descriptor < 0 || fstat(top->descriptor, &about) != 0)
        return -errno;
    top->device = about.st_dev;
    top->inode = about.st_ino;
    return 0;
}

static void pycgroup_close_top(struct pycgroup_top *top)
{
    if (is_open(top))
        close(top->descriptor);
}

static int open_below(const struct pycgroup_top *top, const char *group, const char *file, int flags)
{
    char path[LONGEST_LINE];

    if (snprintf(path, sizeof path, "%s/%s", group, file) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return openat(top->descriptor, path, flags | O_CLOEXEC);
}

/* Register once; see below. */
static long long attempt(const struct pycgroup_top *top, const char *group, const char *file, const char *argument)
{
    int watched = open_below(top, group, file, O_RDONLY), control = -1, event = -1, number = 0;
    struct stat about;
    long long answers;

    /* The kernel refuses (EINVAL) a file that is not of the control's group, so that what lies between the two is of that
       group, too. Write-only, which is all that the owner of a delegated group may. */
    if (watched < 0 || fstatat(top->descriptor, group, &about, 0) != 0 ||
        (control = open_below(top, group, "cgroup.event_control", O_WRONLY)) < 0 ||
        (event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 || announce(control, event, watched, argument) < 0)
        number = errno;
    if (control >= 0)
        close(control);
    if (!number) {
        /* A directory has a link from the one above it, one from itself, and one from each that is in it. */
        answers = (about.st_nlink > 2) | is_scarce(watched) << 1;
        return answers << ANSWERS | (long long)watched << DESCRIPTOR | event;
    }
    if (watched >= 0)
        close(watched);
    if (event >= 0)
        close(event);
    return -number;
}

/* For a file of the group at a path below the top, which begins with a slash. Return the eventfd in bits 0 to 28, the
   descriptor of the watched file in bits 29 to 57, and answers: whether there are groups below, and whether descriptors
   are scarce. Or a negative errno: EBADF where the top is not open any more; EINVAL, where the group may have become
   another one meanwhile, only after some tries. Three descriptors at a time are enough. */
static long long pycgroup_register(const struct pycgroup_top *top, const char *path, const char *file,
                                   const char *argument)
{
    const char *group = path[1] ? path + 1 : ".";
    long long answer;
    int tries = TRIES;

    if (!is_open(top))
        return -EBADF;
    do
        answer = attempt(top, group, file, argument);
    while (answer == -EINVAL && --tries);
    return answer;
}

/* The same for running out of memory, with two more answers, once it is registered: whether that has happened never yet,
   and whether the log, -1 for none, has something to read. */
static long long pycgroup_register_oom(const struct pycgroup_top *top, const char *path, int log)
{
    long long answer = pycgroup_register(top, path, "memory.oom_control", "");

    if (answer < 0)
        return answer;
    return answer | (long long)(is_fresh(answer >> DESCRIPTOR & LAST) << 2 | has_news(log) << 3) << ANSWERS;
}

static int polls(struct pollfd *polled, int count, long long nanoseconds)
{
    struct timespec limit = {nanoseconds / BILLION, nanoseconds % BILLION};

    return ppoll(polled, count, nanoseconds < 0 ? NULL : &limit, NULL);
}

/* Who listens: to which eventfd, for which file's events; how many signals were taken, and the last when, in seconds
   since the epoch; and how many of them have been told, which is for others to note, or to say by a turn. */
struct pycgroup_listener {
    int event, watched;
    long long signals;
    double time;
    long long told;
    int turn;
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

/* Take what is there, and return as pycgroup_wait() does. The file is asked last: what was read before that may hold the
   removal's signal, which then nobody takes for another. It is called by a listener's address, of which the last bit
   turns when all that was taken has been told. With a single argument, and one that needs no conversion, the call takes
   half as long where the caches are cold; and to note what was told would take as long as that call. */
static long long pycgroup_take(long long address)
{
    struct pycgroup_listener *listener = (struct pycgroup_listener *)(intptr_t)(address & ~1LL);
    struct pollfd polled = {listener->watched, 0, 0};
    int turn = address & 1;
    uint64_t signals;
    long long untold;

    if (turn != listener->turn)
        listener->told = listener->signals;
    listener->turn = turn;
    if (read(listener->event, &signals, sizeof signals) > 0)
        note(listener, signals);
    untold = listener->signals - listener->told;
    if (!untold)
        return 0;
    return listener->watched < 0 || (poll(&polled, 1, 0) > 0 && polled.revents & POLLERR) ? -untold : untold;
}
