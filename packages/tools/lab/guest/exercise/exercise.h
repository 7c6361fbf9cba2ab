/* SPDX-License-Identifier: Apache-2.0 */
/* What the areas of the exercise share. */
#ifndef EXERCISE_H
#define EXERCISE_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* One round of an area. */
struct area {
	const char *name;
	void (*round)(void);
};

extern const struct area network_areas[], namespace_areas[], file_areas[], uring_areas[], ipc_areas[], process_areas[], key_areas[],
	memory_areas[], loop_areas[], seldom_areas[];

/* What an area has done; shared with the processes that it forks, so that what they do counts. */
struct report {
	unsigned long rounds, operations, failures;
	/* The first failure. */
	char first[200];
	/* What this kernel does not have, separated by commas. */
	char absent[400];
};

extern struct report *own;

void failed(const char *what, int line);

/* Counts an operation; tells the first that fails. */
#define CHECK(condition) \
	do { \
		own->operations++; \
		if (!(condition)) \
			failed(#condition, __LINE__); \
	} while (0)

/* Tells, once, of something that this kernel does not have. */
void absent(const char *what);

/* Does the work in a process of its own, which must come to its end. */
void in_child(void (*work)(void));

#endif
