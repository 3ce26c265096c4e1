/* SPDX-License-Identifier: MIT */
/* Read /dev/kmsg: a record a call, and of the eighty or so that the kernel writes for a kill two or three tell of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Records of others than the kernel have a priority from here on: its upper bits say who wrote it. */
enum { LONGEST_RECORD = 8192, FIRST_OF_OTHERS = 8 };

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

/* Read on, and keep the lines of the kernel that begin with one of several texts, and those that go on with what was
   kept, or with what was before where `goes_on`. Each has a 'c' before it, or a '-', and a newline after it. Return the
   length of all, 0 when there is nothing more to read, or a negative errno. */
static int pycgroup_read_log(int log, const char *beginnings, int goes_on, char *kept, int size)
{
    char record[LONGEST_RECORD + 1], *text;
    int length = 0;

    while (size - length > LONGEST_RECORD) {
        ssize_t count = read(log, record, LONGEST_RECORD);

        if (count < 0 && errno == EPIPE)
            continue; /* the oldest were overwritten before they were read */
        if (count <= 0)
            return length || !count || errno == EAGAIN ? length : -errno;
        record[count] = 0;
        text = strchr(record, ';');
        if (!text++ || strtol(record, NULL, 10) >= FIRST_OF_OTHERS)
            continue;
        if (begins_with_one(text, beginnings) || (goes_on && is_continued(record, text))) {
            goes_on = 1;
            text[strcspn(text, "\n")] = 0;
            kept[length++] = is_continued(record, text) ? 'c' : '-';
            length += (int)(stpcpy(kept + length, text) - kept) - length;
            kept[length++] = '\n';
        }
    }
    return length;
}
