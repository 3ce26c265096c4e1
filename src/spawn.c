/* SPDX-License-Identifier: MIT */
/* Start a program that is inside its control groups before its first instruction.

   The child shares the parent's memory (vfork) until it executes the program: nothing is copied, what it touches is
   charged to the parent, and what goes wrong is written into the parent's own structure. It enters its groups first:
   on v2 the kernel makes it inside (CLONE_INTO_CGROUP, Linux 5.7), everywhere else it writes "0", "the caller", to the
   groups' files. "0" in a v1 `tasks` is the one way in that waits for no grace period of the kernel, and it is safe
   however many threads the parent has, as the child has one.

   Only calls that are safe after vfork are made in the child. It sees nothing of Python. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PYCGROUP_STARTED, PYCGROUP_ENTER, PYCGROUP_PREPARE, PYCGROUP_CHDIR, PYCGROUP_EXEC, PYCGROUP_UNBORN };

/* What the child is to be; the strings come beside it. -1 stands for "leave it" wherever a number is. */
struct pycgroup_child {
    int input, output, error;           /* descriptors that become 0, 1 and 2 */
    int close_fds, restore_signals, new_session;
    int process_group, umask;
    long long user, group;
    int group_count;                    /* of supplementary groups */
    int keep_count;                     /* of descriptors that stay open */
    int stage, number, which, pid;      /* out: where it failed, errno, which group; the child */
    int returncode;                     /* of the end; minus the number of a signal */
    double user_time, system_time;      /* seconds of CPU time until then */
};

/* Several strings, one after the other, each with its NUL. */
struct strings { const char *text; int count; };

struct plan {
    struct pycgroup_child *child;
    struct strings entries;             /* files that take "0" */
    char **programs, **arguments, **environment;
    const char *directory;
    const unsigned int *groups;
    const int *keep;
    int own_memory;                     /* the child does not share the parent's */
    int is_clear;                       /* the kernel has taken the parent's signal handlers from it */
    sigset_t mask;
};

/* clone3 is called without a wrapper, as the C library has none that shares the stack. */
struct clone_arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
#define CLEAR_SIGHAND 0x100000000ULL
#define INTO_CGROUP 0x200000000ULL

static char **split(struct strings strings)
{
    char **list = malloc((strings.count + 1) * sizeof *list);
    const char *text = strings.text;

    if (!list)
        return NULL;
    for (int i = 0; i < strings.count; i++, text += strlen(text) + 1)
        list[i] = (char *)text;
    list[strings.count] = NULL;
    return list;
}

/* Return so many strings, those that come behind others. */
static struct strings behind(struct strings others, int count)
{
    const char *text = others.text;

    for (int i = 0; i < others.count; i++)
        text += strlen(text) + 1;
    return (struct strings){text, count};
}

/* --- in the child ------------------------------------------------------------------------------------------------- */

static void fail(const struct plan *plan, int stage)
{
    plan->child->number = errno;
    plan->child->stage = stage;
    _exit(255);
}

static void enter(const struct plan *plan)
{
    const char *file = plan->entries.text;

    for (int i = 0; i < plan->entries.count; i++, file += strlen(file) + 1) {
        int fd = open(file, O_WRONLY | O_CLOEXEC);

        plan->child->which = i;
        if (fd < 0 || write(fd, "0", 1) < 0)
            fail(plan, PYCGROUP_ENTER);
        close(fd);
    }
}

static void keep_open(const struct plan *plan, int fd)
{
    int flags = fcntl(fd, F_GETFD);

    if (flags < 0 || (flags & FD_CLOEXEC && fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) < 0))
        fail(plan, PYCGROUP_PREPARE);
}

static void place_streams(const struct plan *plan)
{
    int from[3] = {plan->child->input, plan->child->output, plan->child->error};

    /* What would be overwritten before it is copied moves out of the way. */
    for (int i = 0; i < 3; i++)
        if (from[i] >= 0 && from[i] < i && (from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 3)) < 0)
            fail(plan, PYCGROUP_PREPARE);
    for (int i = 0; i < 3; i++) {
        if (from[i] == i)
            keep_open(plan, i);
        else if (from[i] >= 0 && dup2(from[i], i) < 0)
            fail(plan, PYCGROUP_PREPARE);
    }
}

static void reset_signal(int number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    sigaction(number, &action, NULL);
}

/* Handlers are the parent's code: what is not ignored is as it would be after exec. */
static void reset_signals(const struct plan *plan)
{
    struct sigaction action;

    for (int number = 1; number < NSIG && !plan->is_clear; number++)
        if (!sigaction(number, NULL, &action) && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
            reset_signal(number);
    if (plan->child->restore_signals) {
        reset_signal(SIGPIPE);
        reset_signal(SIGXFSZ);
    }
    sigprocmask(SIG_SETMASK, &plan->mask, NULL);
}

/* Straight to the kernel: the C library would tell the other threads, which the child does not have. */
#ifdef SYS_setgroups32
#define SET_GROUPS SYS_setgroups32
#define SET_GROUP SYS_setresgid32
#define SET_USER SYS_setresuid32
#else
#define SET_GROUPS SYS_setgroups
#define SET_GROUP SYS_setresgid
#define SET_USER SYS_setresuid
#endif

static void become(const struct plan *plan)
{
    const struct pycgroup_child *child = plan->child;

    if (child->umask >= 0)
        umask((mode_t)child->umask);
    if (child->new_session && setsid() < 0)
        fail(plan, PYCGROUP_PREPARE);
    if (child->process_group >= 0 && setpgid(0, (pid_t)child->process_group) < 0)
        fail(plan, PYCGROUP_PREPARE);
    if (child->group_count >= 0 && syscall(SET_GROUPS, (long)child->group_count, plan->groups) < 0)
        fail(plan, PYCGROUP_PREPARE);
    if (child->group >= 0 && syscall(SET_GROUP, child->group, child->group, child->group) < 0)
        fail(plan, PYCGROUP_PREPARE);
    if (child->user >= 0 && syscall(SET_USER, child->user, child->user, child->user) < 0)
        fail(plan, PYCGROUP_PREPARE);
}

static int kept(const struct plan *plan, int fd)
{
    for (int i = 0; i < plan->child->keep_count; i++)
        if (plan->keep[i] == fd)
            return 1;
    return fd < 3;
}

/* For kernels without close_range (before 5.9): what /proc lists, read without allocating memory. */
static void close_listed(const struct plan *plan)
{
    struct { uint64_t inode; int64_t offset; unsigned short length; unsigned char type; char name[]; } *entry;
    uint64_t buffer[512];
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    long size;

    while (directory >= 0 && (size = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0)
        for (char *at = (char *)buffer; at < (char *)buffer + size; at += entry->length) {
            int fd = 0;

            entry = (void *)at;
            for (const char *digit = entry->name; *digit >= '0' && *digit <= '9'; digit++)
                fd = fd * 10 + *digit - '0';
            if (fd != directory && !kept(plan, fd))
                close(fd);
        }
}

static void close_others(const struct plan *plan)
{
#ifdef SYS_close_range
    unsigned int first = 3;
    int i = 0;

    for (; i < plan->child->keep_count; i++) {
        unsigned int next = (unsigned int)plan->keep[i];

        if (next > first && syscall(SYS_close_range, first, next - 1, 0) < 0)
            break;
        if (next >= first)
            first = next + 1;
    }
    if (i == plan->child->keep_count && !syscall(SYS_close_range, first, ~0U, 0))
        return;
#endif
    close_listed(plan);
}

static void execute(const struct plan *plan)
{
    int refused = 0;

    for (char **program = plan->programs; *program; program++) {
        execve(*program, plan->arguments, plan->environment);
        if (errno != ENOENT && errno != ENOTDIR && !refused)
            refused = errno;
    }
    if (refused)
        errno = refused;
    fail(plan, PYCGROUP_EXEC);
}

static void __attribute__((noinline, noreturn)) run_child(const struct plan *plan)
{
    plan->child->stage = PYCGROUP_STARTED;
    enter(plan);
    for (int i = 0; i < plan->child->keep_count; i++)
        keep_open(plan, plan->keep[i]);
    place_streams(plan);
    if (plan->directory && chdir(plan->directory) < 0)
        fail(plan, PYCGROUP_CHDIR);
    reset_signals(plan);
    become(plan);
    if (plan->child->close_fds)
        close_others(plan);
    execute(plan);
    _exit(255);
}

/* --- in the parent ------------------------------------------------------------------------------------------------ */

/* clone3 on the parent's own stack, as vfork does it: there must be no return address between it and the child's code,
   so the instruction stands here itself. ENOSYS where nobody has written it down for the processor. */
static inline __attribute__((always_inline)) long clone_here(struct clone_arguments *arguments)
{
#if defined(__x86_64__)
    long result = SYS_clone3;

    __asm__ volatile("syscall" : "+a"(result) : "D"(arguments), "S"(sizeof *arguments) : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long result __asm__("x0") = (long)arguments;
    register long size __asm__("x1") = sizeof *arguments;
    register long number __asm__("x8") = SYS_clone3;

    __asm__ volatile("svc 0" : "+r"(result) : "r"(size), "r"(number) : "memory");
    return result;
#else
    (void)arguments;
    return -ENOSYS;
#endif
}

/* Without the parent's signal handlers, which saves asking for sixty of them; and in a group, unless that is -1. */
static pid_t __attribute__((noinline)) start_new(const struct plan *plan, int into)
{
    struct clone_arguments arguments = {
        .flags = CLEAR_SIGHAND | CLONE_VFORK | (plan->own_memory ? 0 : CLONE_VM) | (into < 0 ? 0 : INTO_CGROUP),
        .exit_signal = SIGCHLD,
        .cgroup = into < 0 ? 0 : (uint64_t)into,
    };
    long pid = clone_here(&arguments);

    if (pid == 0)
        run_child(plan);
    if (pid < 0)
        errno = (int)-pid;
    return pid < 0 ? -1 : (pid_t)pid;
}

static pid_t __attribute__((noinline)) start_here(const struct plan *plan)
{
    pid_t pid = vfork();

    if (pid == 0)
        run_child(plan);
    return pid;
}

/* A child that becomes another user must not share the memory of a parent that may do more: it could be traced. */
static pid_t __attribute__((noinline)) start_apart(const struct plan *plan)
{
#ifdef __s390__
    pid_t pid = (pid_t)syscall(SYS_clone, 0L, (long)(CLONE_VFORK | SIGCHLD), 0L, 0L, 0L);
#else
    pid_t pid = (pid_t)syscall(SYS_clone, (long)(CLONE_VFORK | SIGCHLD), 0L, 0L, 0L, 0L);
#endif

    if (pid == 0)
        run_child(plan);
    return pid;
}

/* Whether a kernel, or what filters its calls, does not know clone3, CLEAR_SIGHAND (Linux 5.5) or INTO_CGROUP (5.7). */
static int is_unknown(int number)
{
    return number == ENOSYS || number == EINVAL || number == E2BIG || number == EPERM;
}

/* Whether the kernel has killed a child before its first instruction. Where cgroup.kill has ever been written in the
   group, some take every child that begins there for one that was forked while the others were killed: they compare the
   kills of its group with those of the parent's (seen on 6.18 and on Debian's 6.1.0-50). */
static int was_killed_at_birth(const struct plan *plan, pid_t pid)
{
    if (pid <= 0 || plan->child->stage != PYCGROUP_UNBORN)
        return 0;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return 1;
}

static pid_t start(struct plan *plan, const char *into)
{
    struct strings entries = plan->entries;
    int directory = into ? open(into, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1, is_done;
    pid_t pid;

    if (into && directory < 0) {
        plan->child->stage = PYCGROUP_ENTER;
        plan->child->which = plan->entries.count - 1;
        return -1;
    }
    if (directory >= 0) {
        /* The last file is that group's own; what the kernel does itself needs no writing. */
        plan->entries.count--;
        plan->child->which = plan->entries.count;
        plan->child->stage = PYCGROUP_UNBORN;
    }
    plan->is_clear = 1;
    pid = start_new(plan, directory);
    is_done = pid >= 0 || !is_unknown(errno);
    plan->is_clear = 0;
    if (directory >= 0) {
        plan->entries = entries;
        close(directory);
        if (pid < 0)
            plan->child->stage = is_done ? PYCGROUP_ENTER : PYCGROUP_STARTED;
        else if (was_killed_at_birth(plan, pid)) {
            plan->child->stage = PYCGROUP_STARTED;
            is_done = 0;
        }
    }
    if (is_done)
        return pid;
    return plan->own_memory ? start_apart(plan) : start_here(plan);
}

/* `texts` are the entries' files, the paths at which the program may be, and its arguments. Return the child's pid, which
   has failed where child->stage says so and is still to be waited for; or -1. */
static int pycgroup_start(struct pycgroup_child *given, const char *into, const char *texts, int entry_count,
                          int program_count, int argument_count, const char *environment, int environment_count,
                          const char *directory, const unsigned int *groups, const int *keep)
{
    struct strings entries = {texts, entry_count};
    struct strings programs = behind(entries, program_count);
    struct plan plan = {
        .child = given,
        .entries = entries,
        .programs = split(programs),
        .arguments = split(behind(programs, argument_count)),
        .environment = split((struct strings){environment, environment_count}),
        .directory = directory,
        .groups = groups,
        .keep = keep,
        .own_memory = given->user >= 0 || given->group >= 0 || given->group_count >= 0,
    };
    pid_t pid = -1;
    int number = ENOMEM;
    void *shared = MAP_FAILED;
    sigset_t all;

    if (plan.own_memory) {
        shared = mmap(NULL, sizeof *given, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (shared == MAP_FAILED)
            goto out;
        plan.child = memcpy(shared, given, sizeof *given);
    }
    if (!plan.programs || !plan.arguments || !plan.environment)
        goto out;
    /* No handler of the parent may run in the child. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &plan.mask);
    pid = start(&plan, into);
    number = errno;
    pthread_sigmask(SIG_SETMASK, &plan.mask, NULL);
out:
    if (shared != MAP_FAILED) {
        memcpy(given, shared, sizeof *given);
        munmap(shared, sizeof *given);
    }
    if (pid < 0)
        given->number = number;
    /* Also here: whoever called may be interrupted before it has the answer. */
    given->pid = (int)pid;
    free(plan.programs);
    free(plan.arguments);
    free(plan.environment);
    return pid;
}

/* Return whether processes that lose their parents go to this one instead of init. */
static int pycgroup_is_subreaper(void)
{
    int is_subreaper = 0;

    prctl(PR_GET_CHILD_SUBREAPER, &is_subreaper);
    return is_subreaper;
}
