/* SPDX-License-Identifier: Apache-2.0 */
/* System calls, options and messages that no ordinary program uses. */
#include <linux/errqueue.h>
#include <linux/futex.h>
#include <linux/net_tstamp.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <sys/time.h>

enum { NUMBER_SETTIMEOFDAY_32 = 79, NUMBER_GETSOCKOPT_32 = 365, ICMP_PROBE = 42, PATIENCE_MS = 1000 };

/*
 * A system call as a 32-bit program makes it; its pointers have to lie below 4 GiB. The negative error number where it
 * fails.
 */
static long compat_call(long number, long a, long b, long c, long d, long e)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static void clocks(void)
{
	struct timezone utc = { 0 };

	CHECK(syscall(SYS_settimeofday, NULL, &utc) == 0);
	int *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	CHECK(low != MAP_FAILED);
	long said = compat_call(NUMBER_SETTIMEOFDAY_32, 0, (long)low, 0, 0, 0);
	if (said == -ENOSYS)
		absent("32-bit system calls");
	else
		CHECK(said == 0);
	/* The rules of the packet filter as a 32-bit iptables asks for them: IPT_SO_GET_ENTRIES of no table. */
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), arp = 97, entries = 65;
	low[16] = 64;
	if (fd >= 0) {
		CHECK(compat_call(NUMBER_GETSOCKOPT_32, fd, IPPROTO_IP, entries, (long)low, (long)&low[16]) < 0);
		CHECK(compat_call(NUMBER_GETSOCKOPT_32, fd, IPPROTO_IP, arp, (long)low, (long)&low[16]) < 0);
		close(fd);
	}
	munmap(low, 4096);
}

static void descriptors_of_others(void)
{
	int self = syscall(SYS_pidfd_open, getpid(), 0), null = open("/dev/null", O_RDONLY);

	CHECK(self >= 0 && null >= 0);
	int copy = syscall(SYS_pidfd_getfd, self, null, 0);
	CHECK(copy >= 0);
	close(copy);
	close(null);
	close(self);
}

/* Moves nobody from one futex to another, and waits for what has changed already. */
static void requeues(void)
{
	unsigned one = 5, other = 7;
	struct timespec soon = { 0 };

	CHECK(syscall(SYS_futex, &one, FUTEX_CMP_REQUEUE, 1, 1, &other, 5) == 0);
	CHECK(syscall(SYS_futex, &one, FUTEX_CMP_REQUEUE, 1, 1, &other, 6) == -1 && errno == EAGAIN);
	CHECK(syscall(SYS_futex, &one, FUTEX_WAIT_REQUEUE_PI, 6, &soon, &other, 0) == -1);
}

/* Asks whether an interface is there (RFC 8335), by its index. */
static void probes(void)
{
	struct {
		struct icmphdr head;
		unsigned char extension[4], object[4];
		unsigned index;
	} __attribute__((packed)) message = { .head = { .type = ICMP_PROBE } };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	unsigned sum = 0;

	if (!put("/proc/sys/net/ipv4/icmp_echo_enable_probe", "1")) {
		absent("ICMP probes");
		return;
	}
	message.head.un.echo.sequence = htons(0x0101);
	message.extension[0] = 0x20;
	message.object[1] = 8;
	message.object[2] = 3;
	message.object[3] = 2;
	message.index = htonl(1);
	for (size_t at = 0; at < sizeof(message); at += 2)
		sum += *(unsigned short *)((char *)&message + at);
	sum = (sum & 0xffff) + (sum >> 16);
	message.head.checksum = ~((sum & 0xffff) + (sum >> 16));
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	CHECK(sendto(fd, &message, sizeof(message), 0, (void *)&to, sizeof(to)) == sizeof(message));
	close(fd);
}

/* What a connection has measured comes with the time stamps of what it sent. */
static void stamped(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	int wish = SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_STATS |
		   SOF_TIMESTAMPING_OPT_TSONLY | SOF_TIMESTAMPING_OPT_ID;
	char got[4096], control[4096];

	CHECK(bind(listener, (void *)&at, sizeof(at)) == 0 && listen(listener, 1) == 0 && getsockname(listener, (void *)&at, &size) == 0);
	CHECK(connect(client, (void *)&at, sizeof(at)) == 0);
	int server = accept(listener, NULL, NULL);
	CHECK(setsockopt(client, SOL_SOCKET, SO_TIMESTAMPING, &wish, sizeof(wish)) == 0);
	CHECK(send(client, "stamped", 7, 0) == 7 && recv(server, got, sizeof(got), 0) == 7);
	struct pollfd errors = { .fd = client };
	struct iovec vector = { got, sizeof(got) };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	CHECK(poll(&errors, 1, PATIENCE_MS) == 1 && recvmsg(client, &message, MSG_ERRQUEUE) >= 0);
	close(server);
	close(client);
	close(listener);
}

/* Every header of an IPv6 packet is told to the receiver. */
static void headers(void)
{
	static const int wishes[] = { IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_RECVHOPOPTS, IPV6_RECVRTHDR, IPV6_RECVDSTOPTS };
	struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	unsigned char padding[8] = { 0, 0, 1, 4 };
	socklen_t size = sizeof(at);
	int on = 1, fd = socket(AF_INET6, SOCK_DGRAM, 0);
	char got[64], control[512];

	CHECK(bind(fd, (void *)&at, sizeof(at)) == 0 && getsockname(fd, (void *)&at, &size) == 0);
	for (size_t wish = 0; wish < sizeof(wishes) / sizeof(wishes[0]); wish++)
		CHECK(setsockopt(fd, IPPROTO_IPV6, wishes[wish], &on, sizeof(on)) == 0);
	CHECK(setsockopt(fd, IPPROTO_IPV6, IPV6_HOPOPTS, padding, sizeof(padding)) == 0);
	CHECK(setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, padding, sizeof(padding)) == 0);
	CHECK(sendto(fd, "headers", 7, 0, (void *)&at, sizeof(at)) == 7);
	struct iovec vector = { got, sizeof(got) };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	CHECK(recvmsg(fd, &message, 0) == 7 && message.msg_controllen > 0);
	close(fd);
}

static void seldom_round(void)
{
	clocks();
	descriptors_of_others();
	requeues();
	probes();
	stamped();
	headers();
	usleep(PAUSE_US);
}

const struct area seldom_areas[] = { { "seldom", seldom_round }, { NULL, NULL } };
