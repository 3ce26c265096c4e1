/* SPDX-License-Identifier: MIT
 *
 * Events: the limit, and what makes them happen.
 *
 *     events listen DIRECTORY FILE ARGUMENT   prints the nanosecond at which each read of the eventfd returned
 *     events drive DIRECTORY THRESHOLD        for each line: crosses the threshold once, prints the nanosecond of the
 *                                             page that did it; the first line takes memory, the next gives it back
 *     events die DIRECTORY STAMP              for one line: takes memory until it is killed; STAMP, a file of a page,
 *                                             holds the nanosecond of the last page
 *     events register DIRECTORY COUNT         prints nanoseconds for each of COUNT registrations for OOM; and for each of
 *                                             as many by which kills and the removal can be told, too: the counters are
 *                                             read, and the file is kept open
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, MOST = 64 << 20 };

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "events: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void say(long long value)
{
	printf("%lld\n", value);
	fflush(stdout);
}

static int open_in(const char *directory, const char *file, int flags)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", directory, file);
	int fd = open(path, flags | O_CLOEXEC);
	check(fd >= 0, path);
	return fd;
}

/* With a text of so many bytes the file is read into it, and stays open. */
static int subscribe_and_read(const char *directory, const char *file, const char *argument, int flags, char *text,
			      size_t size)
{
	char line[128];
	int event = eventfd(0, EFD_CLOEXEC | flags);
	int watched = open_in(directory, file, O_RDONLY), control = open_in(directory, "cgroup.event_control", O_WRONLY);
	int length = snprintf(line, sizeof line, "%d %d %s", event, watched, argument);
	check(write(control, line, (size_t)length) == length, "cgroup.event_control");
	close(control);
	if (text)
		check(pread(watched, text, size, 0) > 0, file);
	else
		close(watched);
	return event;
}

static int subscribe(const char *directory, const char *file, const char *argument, int flags)
{
	return subscribe_and_read(directory, file, argument, flags, NULL, 0);
}

static void enter(const char *directory)
{
	int fd = open_in(directory, "tasks", O_WRONLY);
	check(write(fd, "0", 1) == 1, "tasks");
	close(fd);
}

static volatile char *memory_of(size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(memory != MAP_FAILED, "mmap");
	madvise(memory, size, MADV_NOHUGEPAGE);
	return memory;
}

static void listen_for(char **arguments)
{
	uint64_t signals;
	int event = subscribe(arguments[0], arguments[1], arguments[2], 0);
	puts("ready");
	fflush(stdout);
	while (read(event, &signals, sizeof signals) == sizeof signals)
		say(now());
}

/* The group's threshold wakes this eventfd in the same moment as the listener's. */
static int fired(int event)
{
	uint64_t signals;
	return read(event, &signals, sizeof signals) == sizeof signals;
}

static void drive(char **arguments)
{
	char line[16];
	volatile char *memory = NULL;
	int event = subscribe(arguments[0], "memory.usage_in_bytes", arguments[1], EFD_NONBLOCK);
	enter(arguments[0]);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		long long stamp = 0;
		volatile char *rest = memory ? memory_of(MOST) : NULL;
		if (memory)
			munmap((void *)memory, MOST);
		volatile char *used = memory ? rest : memory_of(MOST);
		if (!(memory && fired(event)))
			for (size_t at = 0; at < MOST; at += PAGE) {
				stamp = now();
				used[at] = 1;
				if (fired(event))
					break;
				if (memory && at % (256 * PAGE) == 0)
					madvise((void *)used, MOST, MADV_DONTNEED);
			}
		if (memory)
			munmap((void *)used, MOST);
		memory = memory ? NULL : used;
		say(stamp);
	}
}

static void die(char **arguments)
{
	char line[16];
	int fd = open(arguments[1], O_RDWR);
	volatile long long *stamp = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(stamp != MAP_FAILED, arguments[1]);
	enter(arguments[0]);
	volatile char *memory = memory_of(MOST);
	puts("ready");
	fflush(stdout);
	check(fgets(line, sizeof line, stdin) != NULL, "stdin");
	for (size_t at = 0; at < MOST; at += PAGE) {
		*stamp = now();
		memory[at] = 1;
	}
}

static void register_many(char **arguments)
{
	int count = atoi(arguments[1]);
	int warm = subscribe(arguments[0], "memory.oom_control", "", 0);
	char text[256];
	long long start = now();
	for (int i = 0; i < count; i++)
		subscribe(arguments[0], "memory.oom_control", "", 0);
	say((now() - start) / count);
	start = now();
	for (int i = 0; i < count; i++)
		subscribe_and_read(arguments[0], "memory.oom_control", "", 0, text, sizeof text);
	say((now() - start) / count);
	close(warm);
}

int main(int count, char **arguments)
{
	static const struct { const char *name; int count; void (*run)(char **); } modes[] = {
		{ "listen", 5, listen_for }, { "drive", 4, drive }, { "die", 4, die }, { "register", 4, register_many },
	};
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
		if (count == modes[i].count && strcmp(arguments[1], modes[i].name) == 0) {
			modes[i].run(arguments + 2);
			return 0;
		}
	fputs("usage: see the head of events.c\n", stderr);
	return 2;
}
