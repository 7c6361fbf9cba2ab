// SPDX-License-Identifier: Apache-2.0
/*
 * The lab's TCP workload, guest side: waits for one connection, sends numbered records on it and checks that each comes
 * back, whole and in order. Runs until SIGTERM, then waits for what is still on its way, and writes one line of JSON to
 * a file: {"sent":N,"echoed":N,"damaged":N,"longestGapMs":N,"seconds":N,"error":""} A gap is the time between two
 * echoes; `damaged` counts records that came back, but not the one that was due.
 *
 * usage: workload PORT REPORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECORD 64		/* bytes; the same in workload.ts */
#define PACE_MS 5		/* one record each */
#define DRAIN_MS 10000		/* how long the last echoes may take */
#define WINDOW 1024		/* records on their way at most */

static volatile sig_atomic_t stopping;
static uint64_t sent, echoed, damaged;
static double begin, last_echo, longest_gap;
static const char *error = "";

static void on_signal(int number)
{
	(void)number;
	stopping = 1;
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/*
 * The number, big-endian, then bytes that depend on it, so that a shifted or mixed record cannot pass for the right
 * one.
 */
static void fill(unsigned char *record, uint64_t number)
{
	for (int i = 0; i < 8; i++)
		record[i] = (unsigned char)(number >> (56 - 8 * i));
	for (int i = 8; i < RECORD; i++)
		record[i] = (unsigned char)(number * 31 + (uint64_t)i * 7);
}

static int send_all(int fd, const unsigned char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t count = send(fd, bytes, size, MSG_NOSIGNAL);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return -1;
		bytes += count;
		size -= (size_t)count;
	}
	return 0;
}

static void on_record(const unsigned char *record)
{
	unsigned char due[RECORD];
	double now = now_ms();

	fill(due, echoed + damaged);
	if (memcmp(record, due, RECORD) == 0)
		echoed++;
	else
		damaged++;
	if (now - last_echo > longest_gap)
		longest_gap = now - last_echo;
	last_echo = now;
}

static int exchange(int fd)
{
	unsigned char record[RECORD], input[RECORD];
	size_t have = 0;
	double next = now_ms(), drained_by = 0;

	for (;;) {
		double now = now_ms();
		struct pollfd poller = { .fd = fd, .events = POLLIN };
		int wait;

		if (stopping) {
			if (echoed + damaged == sent)
				return 0;
			if (drained_by == 0)
				drained_by = now + DRAIN_MS;
			if (now > drained_by)
				return 0;
		} else if (now >= next && sent - echoed - damaged < WINDOW) {
			fill(record, sent);
			if (send_all(fd, record, RECORD))
				return -1;
			sent++;
			next = now > next + 100 ? now : next + PACE_MS;
		}
		wait = stopping || next <= now ? 1 : (int)(next - now) + 1;
		if (poll(&poller, 1, wait) < 0 && errno != EINTR)
			return -1;
		if (poller.revents) {
			ssize_t count = recv(fd, input + have, RECORD - have, MSG_DONTWAIT);

			if (count == 0) {
				errno = ECONNRESET;
				return -1;
			}
			if (count < 0 && errno != EAGAIN && errno != EINTR)
				return -1;
			if (count > 0)
				have += (size_t)count;
			if (have == RECORD) {
				on_record(input);
				have = 0;
			}
		}
	}
}

static int report(const char *path)
{
	char temporary[4096];
	FILE *file;

	if (last_echo > 0 && now_ms() - last_echo > longest_gap && echoed + damaged < sent)
		longest_gap = now_ms() - last_echo;
	snprintf(temporary, sizeof(temporary), "%s.tmp", path);
	file = fopen(temporary, "w");
	if (!file)
		return 1;
	fprintf(file, "{\"sent\":%llu,\"echoed\":%llu,\"damaged\":%llu,\"longestGapMs\":%.1f,\"seconds\":%.3f,\"error\":\"%s\"}\n",
		(unsigned long long)sent, (unsigned long long)echoed, (unsigned long long)damaged, longest_gap,
		(now_ms() - begin) / 1e3, error);
	return fclose(file) || rename(temporary, path);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY) };
	struct sigaction action = { .sa_handler = on_signal };
	int one = 1, listening, fd;

	if (argc != 3) {
		fprintf(stderr, "usage: workload PORT REPORT\n");
		return 2;
	}
	address.sin_port = htons((uint16_t)atoi(argv[1]));
	sigaction(SIGTERM, &action, NULL);
	begin = last_echo = now_ms();
	listening = socket(AF_INET, SOCK_STREAM, 0);
	if (listening < 0 || setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(listening, (struct sockaddr *)&address, sizeof(address)) || listen(listening, 1)) {
		error = strerror(errno);
		return report(argv[2]);
	}
	fd = accept(listening, NULL, NULL);
	/* The next workload may wait at the same port. */
	close(listening);
	begin = last_echo = now_ms();
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) || exchange(fd))
		error = strerror(errno);
	return report(argv[2]);
}
