/* SPDX-License-Identifier: MIT */
/* What the short life of a group takes: a call each to make it, to wait for its program and read what it counted, and to
   remove it. In Python these are ten calls, which take as long as the kernel's own part where the caches are cold. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LONGEST_PATH = 4096, HIGH = 64 };

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

/* Read a file and close it; return the length of its text without the last newline, 0 for one that cannot be read or
   does not leave a byte of the room. */
static int text_of(int file, char *text, int room)
{
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

/* Take a file that is opened already; -1 for none. */
static int taken(struct files *files, int number)
{
    int file = number < files->count ? files->opened[number] : -1;

    if (file >= 0)
        files->opened[number] = -1;
    return file;
}

/* Read as pycgroup_read() says, from the files that are opened where there are such. */
static int read_all(struct files *files, const char *names, int count, char *texts, int size)
{
    const char *directory = "";
    int used = 0;

    for (int i = 0; i < count; i++, names += strlen(names) + 1) {
        int room = size - used - (count - i), file; /* each of the others has a NUL, too */

        if (*names == '/') {
            directory = names;
            used += room > 0 ? links_of(names, texts + used, room) : 0;
        } else {
            file = taken(files, i);
            used += text_of(file < 0 ? open_in(directory, names, O_RDONLY) : file, texts + used, room > 0 ? room : 0);
        }
        if (used < size)
            texts[used++] = '\0';
    }
    return used;
}

/* Of so many strings each that begins with a slash is a directory, of which the number of links is wanted, and the
   others are files in the last one. Write their texts, with a NUL after each, and return the length of it all. */
static int pycgroup_read(const char *names, int count, char *texts, int size)
{
    struct files none = {0};

    return read_all(&none, names, count, texts, size);
}

/* Descriptors may be scarce, with hundreds of threads that wait for a child each: what gets a high one is not kept. */
static int open_if_many_are_left(const char *directory, const char *name)
{
    int file = open_in(directory, name, O_RDONLY);

    if (file < HIGH)
        return file;
    close(file);
    return -1;
}

/* Open the files that pycgroup_read() would read, for the child's end: not what cannot be opened now. */
static void pycgroup_open(struct pycgroup_child *child, const char *names, int count)
{
    struct files *files = &child->files;
    const char *directory = "";

    for (; files->count < count && files->count < MOST_FILES; files->count++, names += strlen(names) + 1) {
        if (*names == '/')
            directory = names;
        files->opened[files->count] = *names == '/' ? -1 : open_if_many_are_left(directory, names);
    }
}

static void pycgroup_close(struct pycgroup_child *child)
{
    int file;

    for (int i = 0; i < child->files.count; i++)
        if ((file = taken(&child->files, i)) >= 0)
            close(file);
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Wait for a child, and read then as pycgroup_read() does, with what was opened before; or return -1 after a signal. Its
   pid is 0 when it has been waited for, so that nobody takes another process for it. */
static int pycgroup_finish(struct pycgroup_child *child, const char *names, int count, char *texts, int size)
{
    struct rusage used;
    int status = 0;
    pid_t pid = wait4(child->pid, &status, 0, &used);

    if (pid < 0 && errno == EINTR)
        return -1;
    /* Who is not to be found was waited for by somebody else, or by nobody, as SIGCHLD is ignored. */
    child->returncode = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    child->user_time = pid < 0 ? -1 : seconds(used.ru_utime);
    child->system_time = pid < 0 ? -1 : seconds(used.ru_stime);
    child->pid = 0;
    return read_all(&child->files, names, count, texts, size);
}

/* Remove a directory without extended attributes; return whether that was done. */
static int pycgroup_remove(const char *directory)
{
    return listxattr(directory, NULL, 0) == 0 && rmdir(directory) == 0;
}
