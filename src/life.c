/* SPDX-License-Identifier: MIT */
/* What the short life of a group takes: a call each to make it, to wait for its program and read what it counted, and to
   remove it. In Python these are ten calls, which take as long as the kernel's own part where the caches are cold. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LONGEST_PATH = 4096 };

/* Open a file in a directory; -1 also where the path is too long. One descriptor at a time, as they may be scarce. */
static int open_in(const char *directory, const char *name, int flags)
{
    char path[LONGEST_PATH];

    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path)
        return -1;
    return open(path, flags | O_CLOEXEC);
}

static int is_written(const char *directory, const char *name, const char *text)
{
    int file = open_in(directory, name, O_WRONLY), is_done = file >= 0 && write(file, text, strlen(text)) >= 0;

    if (file >= 0)
        close(file);
    return is_done;
}

/* Make a directory and write into its files: so many strings are the name of a file, and what to write, by turns.
   Return whether all of that was done; else nothing was, or it was undone. */
static int pycgroup_make(const char *directory, const char *settings, int count)
{
    if (mkdir(directory, 0777) != 0)
        return 0;
    for (; count > 0; count -= 2) {
        const char *text = settings + strlen(settings) + 1;

        if (!is_written(directory, settings, text)) {
            rmdir(directory);
            return 0;
        }
        settings = text + strlen(text) + 1;
    }
    return 1;
}

/* Read a file; return the length of its text without the last newline, 0 for one that cannot be read or does not leave
   a byte of the room. */
static int text_of(const char *directory, const char *name, char *text, int room)
{
    int file = open_in(directory, name, O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, text, (size_t)room);

    if (file >= 0)
        close(file);
    if (length <= 0 || length >= room)
        return 0;
    return (int)length - (text[length - 1] == '\n');
}

static int links_of(const char *directory, char *text, int room)
{
    struct stat about;
    int length = stat(directory, &about) != 0 ? 0 : snprintf(text, (size_t)room, "%lu", (unsigned long)about.st_nlink);

    return length < room ? length : 0;
}

/* Of so many strings each that begins with a slash is a directory, of which the number of links is wanted, and the
   others are files in the last one. Write their texts, with a NUL after each, and return the length of it all. */
static int pycgroup_read(const char *names, int count, char *texts, int size)
{
    const char *directory = "";
    int used = 0;

    for (; count > 0; count--, names += strlen(names) + 1) {
        int room = size - used - count; /* each of the others has a NUL, too */

        if (*names == '/')
            directory = names;
        if (room > 0)
            used += *names == '/' ? links_of(names, texts + used, room) : text_of(directory, names, texts + used, room);
        if (used < size)
            texts[used++] = '\0';
    }
    return used;
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static int returncode_of(int status)
{
    if (WIFSIGNALED(status))
        return -WTERMSIG(status);
    return WIFSTOPPED(status) ? -WSTOPSIG(status) : WEXITSTATUS(status); /* one that is traced: as subprocess has it */
}

/* Wait for a child, and read then as pycgroup_read() does; or return -1 after a signal. Its pid is 0 when it has been
   waited for, so that nobody takes another process for it. */
static int pycgroup_finish(struct pycgroup_child *child, const char *names, int count, char *texts, int size)
{
    struct rusage used;
    int status = 0;
    pid_t pid = wait4(child->pid, &status, 0, &used);

    if (pid < 0 && errno == EINTR)
        return -1;
    /* Who is not to be found was waited for by somebody else, or by nobody, as SIGCHLD is ignored. */
    child->returncode = returncode_of(status);
    child->user_time = pid < 0 ? -1 : seconds(used.ru_utime);
    child->system_time = pid < 0 ? -1 : seconds(used.ru_stime);
    child->pid = 0;
    return pycgroup_read(names, count, texts, size);
}

/* Kill a child for which nobody is going to wait, unless it has ended; return whether it is still to be waited for. */
static int pycgroup_let_go(struct pycgroup_child *child)
{
    if (child->pid <= 0 || waitpid(child->pid, NULL, WNOHANG) != 0) {
        child->pid = 0;
        return 0;
    }
    kill(child->pid, SIGKILL); /* which cannot be done where it has become another user, as sudo does */
    return 1;
}

/* Remove a directory without extended attributes; return whether that was done. */
static int pycgroup_remove(const char *directory)
{
    return listxattr(directory, NULL, 0) == 0 && rmdir(directory) == 0;
}
