/* SPDX-License-Identifier: MIT */
/* Read /dev/kmsg: a record a call, and of the eighty or so that the kernel writes for a kill two or three tell of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Records of others than the kernel have a priority from here on: its upper bits say who wrote it. */
enum { LONGEST_RECORD = 8192, FIRST_OF_OTHERS = 8, MOST_KEPT = 4 * LONGEST_RECORD };

/* A log that is read; and `used` bytes of lines that were kept, until somebody takes them and sets it to 0. So nothing is
   lost where a signal handler's exception comes between. */
struct pycgroup_log {
    int file, used;
    char kept[MOST_KEPT];
};

/* Return whether a text begins with one of several, each of which ends with a NUL, the last with two. */
static int begins_with_one(const char *text, const char *beginnings)
{
    for (; *beginnings; beginnings += strlen(beginnings) + 1)
        if (!strncmp(text, beginnings, strlen(beginnings)))
            return 1;
    return 0;
}

/* A record is "PRIORITY,NUMBER,TIME,FLAGS[,MORE];TEXT\n", and lines about the device; with the flag 'c' it goes on with
   the one before. */
static int is_continued(const char *record, const char *text)
{
    for (int commas = 0; record < text; record++)
        if (*record == ',' && ++commas == 3)
            return record[1] == 'c';
    return 0;
}

/* Return how many bytes there are, 0 at the end of the log, or a negative errno. */
static int next_record(int file, char *record)
{
    ssize_t count;

    do /* the oldest may have been overwritten before they were read */
        count = read(file, record, LONGEST_RECORD);
    while (count < 0 && (errno == EPIPE || errno == EINTR));
    return count >= 0 ? (int)count : errno == EAGAIN ? 0 : -errno;
}

/* Read on, and keep the lines of the kernel that begin with one of several texts, and those that go on with what was
   kept, or with what was before where `goes_on`. Each has a 'c' before it, or a '-', and a newline after it. Return 0, or
   a negative errno. */
static int pycgroup_read_log(struct pycgroup_log *log, const char *beginnings, int goes_on)
{
    char record[LONGEST_RECORD + 1], *text;
    int count = 0;

    while (MOST_KEPT - log->used > LONGEST_RECORD && (count = next_record(log->file, record)) > 0) {
        record[count] = 0;
        text = strchr(record, ';');
        if (!text++ || strtol(record, NULL, 10) >= FIRST_OF_OTHERS)
            continue;
        if (begins_with_one(text, beginnings) || (goes_on && is_continued(record, text))) {
            char *end = log->kept + log->used;

            goes_on = 1;
            text[strcspn(text, "\n")] = 0;
            *end++ = is_continued(record, text) ? 'c' : '-';
            end = stpcpy(end, text);
            *end++ = '\n';
            log->used = (int)(end - log->kept);
        }
    }
    return count < 0 ? count : 0;
}
