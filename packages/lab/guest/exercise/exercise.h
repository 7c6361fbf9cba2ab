/* SPDX-License-Identifier: Apache-2.0 */
/* What the areas of the exercise share. */
#ifndef EXERCISE_H
#define EXERCISE_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One round of an area; false ends it. Counted in `operations`; what is not in this kernel is skipped. */
struct area {
	const char *name;
	void (*round)(void);
};

extern const struct area network_areas[], file_areas[], uring_areas[], ipc_areas[], key_areas[], memory_areas[];

/* Of the process at hand: its area, and what it has done. */
extern unsigned long operations, failures;
extern char first_failure[200];

void failed(const char *what, int line);

/* Counts an operation; tells the first that fails. */
#define CHECK(condition) \
	do { \
		operations++; \
		if (!(condition)) \
			failed(#condition, __LINE__); \
	} while (0)

#endif
