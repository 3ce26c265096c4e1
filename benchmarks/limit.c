/* SPDX-License-Identifier: MIT
 *
 * The limit: each operation as a C program would do it, with nothing around it.
 *
 * A co-process, so that its turns fall between those of Python: it reads lines "OPERATION COUNT" and answers each
 * with the nanoseconds that COUNT operations took. It works on the very directories that Python works on:
 *
 *     limit GROUP CHILD THERE BACK
 *
 * GROUP exists and has memory.limit_in_bytes, CHILD is created and removed, the process moves to THERE and BACK.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HANDLES = 256, STATS = 128 };

static const long long limit = 64LL << 20;
static char limit_file[4096], stat_file[4096], there_file[4096], back_file[4096];
static char child_limit_file[4096], child_tasks_file[4096], child_oom_file[4096], child_peak_file[4096];
static const char *group, *child;
static int there, back;

/* Results go here, so that the compiler cannot leave out the work. */
static volatile long long sink;
static struct { char name[64]; long long value; } stats[STATS];

static void check(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void put(const char *file, const char *text, size_t length)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);
	check(fd >= 0 && write(fd, text, length) == (ssize_t)length, file);
	close(fd);
}

static size_t get(const char *file, char *text, size_t size)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);
	check(length >= 0, file);
	close(fd);
	text[length] = 0;
	return (size_t)length;
}

static void put_limit(const char *file)
{
	char text[32];
	put(file, text, (size_t)snprintf(text, sizeof text, "%lld", limit));
}

static void op_write(void) { put_limit(limit_file); }

static void op_read(void)
{
	char text[64];
	get(limit_file, text, sizeof text);
	sink = strtoll(text, NULL, 10);
}

/* Every line becomes a name and a number, as in the object that Python returns. */
static void op_stat(void)
{
	char text[16384], *line = text;
	int count = 0;
	get(stat_file, text, sizeof text);
	while (*line && count < STATS) {
		size_t length = strcspn(line, " ");
		check(length < sizeof stats[0].name, "a name in memory.stat");
		memcpy(stats[count].name, line, length);
		stats[count].name[length] = 0;
		stats[count++].value = strtoll(line + length, &line, 10);
		line += *line == '\n';
	}
	sink = count;
}

static void op_cycle(void)
{
	check(mkdir(child, 0755) == 0, child);
	put_limit(child_limit_file);
	check(rmdir(child) == 0, child);
}

static void op_attach(void)
{
	check(write(there, "0", 1) == 1, there_file);
	check(write(back, "0", 1) == 1, back_file);
}

static void op_attach_open(void)
{
	put(there_file, "0", 1);
	put(back_file, "0", 1);
}

/* With where the process was, which is what a detach() needs to know. */
static void op_attach_known(void)
{
	char text[4096];
	sink = (long long)get("/proc/self/cgroup", text, sizeof text);
	op_attach_open();
}

static void run_true(const char *tasks_file)
{
	int status;
	pid_t pid = vfork();
	if (pid == 0) {
		int fd = tasks_file ? open(tasks_file, O_WRONLY | O_CLOEXEC) : -1;
		if (!tasks_file || (fd >= 0 && write(fd, "0", 1) == 1))
			execl("/bin/true", "true", NULL);
		_exit(127);
	}
	check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "/bin/true");
}

static void op_run(void) { run_true(NULL); }

/* With what there is to know in the end: whether the OOM killer struck, and the most memory that was in use. */
static void op_life(void)
{
	char text[256];
	check(mkdir(child, 0755) == 0, child);
	put_limit(child_limit_file);
	run_true(child_tasks_file);
	sink = (long long)(get(child_oom_file, text, sizeof text) + get(child_peak_file, text, sizeof text));
	check(rmdir(child) == 0, child);
}

static long long timed(void (*operation)(void), int count)
{
	long long start = now();
	while (count-- > 0)
		operation();
	return now() - start;
}

/* Opening alone is timed: closing is not part of having a handle. */
static long long timed_handle(int count)
{
	int fds[HANDLES];
	long long spent = 0;
	while (count > 0) {
		int some = count < HANDLES ? count : HANDLES;
		long long start = now();
		for (int i = 0; i < some; i++)
			check((fds[i] = open(group, O_PATH | O_CLOEXEC)) >= 0, group);
		spent += now() - start;
		for (int i = 0; i < some; i++)
			close(fds[i]);
		count -= some;
	}
	return spent;
}

static const struct { const char *name; void (*operation)(void); } operations[] = {
	{"write", op_write},
	{"read", op_read},
	{"stat", op_stat},
	{"cycle", op_cycle},
	{"attach", op_attach},
	{"attach-open", op_attach_open},
	{"attach-known", op_attach_known},
	{"run", op_run},
	{"life", op_life},
};

static long long turn(const char *name, int count)
{
	if (!strcmp(name, "handle"))
		return timed_handle(count);
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
		if (!strcmp(name, operations[i].name))
			return timed(operations[i].operation, count);
	fprintf(stderr, "limit: no operation %s\n", name);
	exit(1);
}

int main(int argc, char **argv)
{
	char name[32];
	int count;
	if (argc != 5) {
		fprintf(stderr, "usage: limit GROUP CHILD THERE BACK\n");
		return 2;
	}
	group = argv[1];
	child = argv[2];
	snprintf(limit_file, sizeof limit_file, "%s/memory.limit_in_bytes", group);
	snprintf(stat_file, sizeof stat_file, "%s/memory.stat", group);
	snprintf(child_limit_file, sizeof child_limit_file, "%s/memory.limit_in_bytes", child);
	snprintf(child_tasks_file, sizeof child_tasks_file, "%s/tasks", child);
	snprintf(child_oom_file, sizeof child_oom_file, "%s/memory.oom_control", child);
	snprintf(child_peak_file, sizeof child_peak_file, "%s/memory.max_usage_in_bytes", child);
	snprintf(there_file, sizeof there_file, "%s/tasks", argv[3]);
	snprintf(back_file, sizeof back_file, "%s/tasks", argv[4]);
	check((there = open(there_file, O_WRONLY | O_CLOEXEC)) >= 0, there_file);
	check((back = open(back_file, O_WRONLY | O_CLOEXEC)) >= 0, back_file);
	while (scanf("%31s %d", name, &count) == 2) {
		printf("%lld\n", turn(name, count));
		fflush(stdout);
	}
	return 0;
}
