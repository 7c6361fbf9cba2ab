/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses many parts of a kernel for a time and checks what comes back: `exercise SECONDS`, as root. A process an area, all side by side. Prints
 * one JSON object, an area a key; ends with 1 if anything went wrong.
 */
#define _GNU_SOURCE
#include <time.h>

#include "exercise/exercise.h"

#include "exercise/network.h"

#include "exercise/files.h"

#include "exercise/uring.h"

#include "exercise/ipc.h"

#include "exercise/keys.h"

#include "exercise/memory.h"

unsigned long operations, failures;
char first_failure[200];

void failed(const char *what, int line)
{
	int error = errno;

	if (failures++ == 0)
		snprintf(first_failure, sizeof(first_failure), "line %d: %.120s (errno %d)", line, what, error);
}

struct report {
	unsigned long rounds, operations, failures;
	char first[200];
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void run(const struct area *area, double until, struct report *report)
{
	/* What blocks for ever is a failure, not a hang of the whole. */
	alarm((unsigned)(until - now()) + 120);
	while (now() < until) {
		area->round();
		report->rounds++;
		report->operations = operations;
		report->failures = failures;
		memcpy(report->first, first_failure, sizeof(report->first));
	}
}

int main(int count, char **words)
{
	const struct area *const families[] = { network_areas, file_areas, uring_areas, ipc_areas, key_areas, memory_areas };
	double until = now() + (count > 1 ? atof(words[1]) : 10);
	const struct area *areas[64];
	pid_t children[64];
	int number = 0, bad = 0;
	struct report *reports = mmap(NULL, sizeof(struct report) * 64, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (size_t family = 0; family < sizeof(families) / sizeof(families[0]); family++)
		for (const struct area *area = families[family]; area->name; area++)
			areas[number++] = area;
	for (int index = 0; index < number; index++) {
		children[index] = fork();
		if (children[index] == 0) {
			run(areas[index], until, &reports[index]);
			_exit(0);
		}
	}
	printf("{");
	for (int index = 0; index < number; index++) {
		int status = 0;
		struct report *report = &reports[index];

		waitpid(children[index], &status, 0);
		if (status != 0 || report->failures > 0 || report->rounds == 0)
			bad = 1;
		printf("%s\"%s\":{\"rounds\":%lu,\"operations\":%lu,\"failures\":%lu,\"status\":%d,\"first\":\"", index ? "," : "",
		       areas[index]->name, report->rounds, report->operations, report->failures, status);
		for (const char *text = report->first; *text; text++)
			putchar(*text == '"' || *text == '\\' ? '\'' : *text);
		printf("\"}");
	}
	printf("}\n");
	return bad;
}
