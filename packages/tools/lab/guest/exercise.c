/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses many parts of a kernel for a time and checks what comes back: `exercise SECONDS`, as root. A process an area,
 * all side by side. Prints one JSON object, an area a key; ends with 1 if anything went wrong.
 */
#define _GNU_SOURCE
#include <time.h>

#include "exercise/exercise.h"

#include "exercise/netlink.h"

#include "exercise/network.h"

#include "exercise/files.h"

#include "exercise/uring.h"

#include "exercise/ipc.h"

#include "exercise/keys.h"

#include "exercise/memory.h"

#include "exercise/process.h"

#include "exercise/namespaces.h"

#include "exercise/loop.h"

#include "exercise/seldom.h"

enum { MOST_AREAS = 64 };

struct report *own;

void failed(const char *what, int line)
{
	int error = errno;

	if (own->failures++ == 0)
		snprintf(own->first, sizeof(own->first), "line %d: %.120s (errno %d)", line, what, error);
}

void absent(const char *what)
{
	size_t length = strlen(own->absent);

	for (const char *at = own->absent; (at = strstr(at, what)) != NULL; at += strlen(what))
		if ((at == own->absent || at[-1] == ',') && (at[strlen(what)] == ',' || at[strlen(what)] == '\0'))
			return;
	snprintf(own->absent + length, sizeof(own->absent) - length, "%s%s", length ? "," : "", what);
}

void in_child(void (*work)(void))
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		/* Not longer than the whole: the parent's alarm is not inherited. */
		alarm(120);
		work();
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void run(const struct area *area, double until)
{
	double rest = until - now();

	/* What blocks for ever is a failure, not a hang of the whole. */
	alarm((rest > 0 ? (unsigned)rest : 0) + 120);
	/* Once at least, however long it took to get here. */
	do {
		area->round();
		own->rounds++;
	} while (now() < until);
}

static void put_text(const char *text)
{
	putchar('"');
	for (; *text; text++)
		putchar(*text == '"' || *text == '\\' ? '\'' : *text);
	putchar('"');
}

static void put_report(const char *name, const struct report *report, int status)
{
	printf("\"%s\":{\"rounds\":%lu,\"operations\":%lu,\"failures\":%lu,\"status\":%d,\"first\":", name, report->rounds, report->operations,
	       report->failures, status);
	put_text(report->first);
	printf(",\"absent\":");
	put_text(report->absent);
	printf("}");
}

int main(int count, char **words)
{
	const struct area *const families[] = { network_areas, namespace_areas, file_areas, uring_areas,
						ipc_areas,     process_areas,   key_areas,  memory_areas, loop_areas, seldom_areas };
	double until = now() + (count > 1 ? atof(words[1]) : 10);
	const struct area *areas[MOST_AREAS];
	pid_t children[MOST_AREAS];
	int number = 0, bad = 0;
	struct report *reports =
		mmap(NULL, sizeof(struct report) * MOST_AREAS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	for (size_t family = 0; family < sizeof(families) / sizeof(families[0]); family++)
		for (const struct area *area = families[family]; area->name; area++)
			areas[number++] = area;
	for (int index = 0; index < number; index++) {
		children[index] = fork();
		if (children[index] == 0) {
			own = &reports[index];
			run(areas[index], until);
			_exit(0);
		}
	}
	printf("{");
	for (int index = 0; index < number; index++) {
		int status = 0;

		waitpid(children[index], &status, 0);
		if (status != 0 || reports[index].failures > 0 || reports[index].rounds == 0)
			bad = 1;
		if (index)
			putchar(',');
		put_report(areas[index]->name, &reports[index], status);
	}
	printf("}\n");
	return bad;
}
