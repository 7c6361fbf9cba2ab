/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/un.h>

static int loopback(int family, struct sockaddr_storage *address, socklen_t *size)
{
	memset(address, 0, sizeof(*address));
	if (family == AF_INET) {
		struct sockaddr_in *in = (void *)address;
		in->sin_family = AF_INET;
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		*size = sizeof(*in);
	} else {
		struct sockaddr_in6 *in = (void *)address;
		in->sin6_family = AF_INET6;
		in->sin6_addr = in6addr_loopback;
		*size = sizeof(*in);
	}
	return family;
}

static bool whole(int fd, bool out, char *data, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t now = out ? write(fd, data + done, size - done) : read(fd, data + done, size - done);
		if (now <= 0)
			return false;
		done += now;
	}
	return true;
}

static void tcp(int family)
{
	struct sockaddr_storage address;
	socklen_t size;
	char sent[8192], got[8192];
	int one = 1, listener = socket(loopback(family, &address, &size), SOCK_STREAM, 0);

	CHECK(listener >= 0);
	CHECK(bind(listener, (void *)&address, size) == 0);
	CHECK(listen(listener, 4) == 0);
	CHECK(getsockname(listener, (void *)&address, &size) == 0);
	int client = socket(family, SOCK_STREAM, 0);
	CHECK(setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
	CHECK(connect(client, (void *)&address, size) == 0);
	int server = accept(listener, NULL, NULL);
	CHECK(server >= 0);
	for (int round = 0; round < 20; round++) {
		memset(sent, 'a' + round, sizeof(sent));
		CHECK(whole(client, true, sent, sizeof(sent)));
		CHECK(whole(server, false, got, sizeof(got)));
		CHECK(memcmp(sent, got, sizeof(sent)) == 0);
	}
	/* From a file into the connection, and out of it into a pipe. */
	char self[4096];
	int file = open("/proc/self/exe", O_RDONLY), pipes[2];
	CHECK(file >= 0 && pipe(pipes) == 0);
	CHECK(sendfile(client, file, NULL, sizeof(self)) == sizeof(self));
	for (ssize_t left = sizeof(self); left > 0;) {
		ssize_t moved = splice(server, NULL, pipes[1], NULL, left, 0);
		CHECK(moved > 0);
		if (moved <= 0)
			break;
		left -= moved;
	}
	CHECK(whole(pipes[0], false, got, sizeof(self)) && pread(file, self, sizeof(self), 0) == sizeof(self));
	CHECK(memcmp(self, got, sizeof(self)) == 0);
	close(file);
	close(pipes[0]);
	close(pipes[1]);
	struct tcp_info info;
	socklen_t length = sizeof(info);
	CHECK(getsockopt(client, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
	CHECK(shutdown(client, SHUT_WR) == 0);
	CHECK(read(server, got, 1) == 0);
	close(server);
	close(client);
	close(listener);
}

static void udp(int family)
{
	struct sockaddr_storage address;
	socklen_t size;
	char data[1400] = "datagram", got[1500];
	int receiver = socket(loopback(family, &address, &size), SOCK_DGRAM, 0), sender = socket(family, SOCK_DGRAM, 0);

	CHECK(bind(receiver, (void *)&address, size) == 0);
	CHECK(getsockname(receiver, (void *)&address, &size) == 0);
	for (int round = 0; round < 20; round++) {
		CHECK(sendto(sender, data, sizeof(data), 0, (void *)&address, size) == sizeof(data));
		CHECK(recv(receiver, got, sizeof(got), 0) == sizeof(data));
	}
	/* More than one packet: fragments on the way. */
	static char large[20000];
	CHECK(sendto(sender, large, sizeof(large), 0, (void *)&address, size) == sizeof(large));
	CHECK(recv(receiver, large, sizeof(large), 0) == sizeof(large));
	close(receiver);
	close(sender);
}

/* Internet checksum (RFC 1071) of a message of whole words. */
static unsigned short checksum(const void *data, size_t size)
{
	const unsigned short *words = data;
	unsigned sum = 0;

	for (size_t word = 0; word < size / 2; word++)
		sum += words[word];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/*
 * Sends a message through a raw socket until an answer comes whose byte `at` is `wanted`: the socket sees everybody's.
 */
static void echo(int family, int protocol, const void *message, size_t size, size_t at, unsigned char wanted)
{
	struct sockaddr_storage address;
	socklen_t length;
	unsigned char got[256];
	int fd = socket(loopback(family, &address, &length), SOCK_RAW, protocol);
	bool answered = false;

	CHECK(fd >= 0);
	CHECK(sendto(fd, message, size, 0, (void *)&address, length) == (ssize_t)size);
	for (int packet = 0; packet < 100 && !answered; packet++) {
		struct pollfd waiting = { .fd = fd, .events = POLLIN };
		answered = poll(&waiting, 1, 2000) == 1 && recv(fd, got, sizeof(got), 0) > (ssize_t)at && got[at] == wanted;
	}
	CHECK(answered);
	close(fd);
}

/* Sends a datagram and looks for a control message of a level and type that comes with it. */
static void with_control(int sender, int receiver, int family, int level, int type)
{
	struct sockaddr_storage address;
	socklen_t size;
	char byte;
	union {
		char space[512];
		struct cmsghdr align;
	} control;
	struct iovec vector = { &byte, 1 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	bool found = false;

	loopback(family, &address, &size);
	CHECK(bind(receiver, (void *)&address, size) == 0 && getsockname(receiver, (void *)&address, &size) == 0);
	CHECK(sendto(sender, "x", 1, 0, (void *)&address, size) == 1);
	CHECK(recvmsg(receiver, &message, 0) == 1);
	for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
		found = found || (header->cmsg_level == level && header->cmsg_type == type);
	CHECK(found);
}

static void ipv4_round(void)
{
	tcp(AF_INET);
	udp(AF_INET);
	/* Options: a record of the route, on its way through ip_options. */
	unsigned char options[] = { 7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, back[64];
	socklen_t size = sizeof(back);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), receiver = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
	CHECK(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, options, sizeof(options)) == 0);
	CHECK(getsockopt(fd, IPPROTO_IP, IP_OPTIONS, back, &size) == 0 && size == sizeof(options));
	CHECK(setsockopt(receiver, IPPROTO_IP, IP_RECVOPTS, &one, sizeof(one)) == 0);
	with_control(fd, receiver, AF_INET, IPPROTO_IP, IP_RECVOPTS);
	close(receiver);
	struct ip_mreq group = { .imr_multiaddr.s_addr = htonl(0xe0000163), .imr_interface.s_addr = htonl(INADDR_LOOPBACK) };
	CHECK(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)) == 0);
	CHECK(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof(group)) == 0);
	close(fd);
	struct icmphdr ping = { .type = ICMP_ECHO, .un.echo.id = htons(getpid() & 0xffff) };
	ping.checksum = checksum(&ping, sizeof(ping));
	echo(AF_INET, IPPROTO_ICMP, &ping, sizeof(ping), 20, ICMP_ECHOREPLY);
}

static void ipv6_round(void)
{
	tcp(AF_INET6);
	udp(AF_INET6);
	/* Hop-by-hop options (RFC 8200, 4.3): eight bytes, six of them padding. */
	unsigned char options[] = { 0, 0, 1, 4, 0, 0, 0, 0 };
	int fd = socket(AF_INET6, SOCK_DGRAM, 0), receiver = socket(AF_INET6, SOCK_DGRAM, 0), one = 1;
	CHECK(setsockopt(fd, IPPROTO_IPV6, IPV6_HOPOPTS, options, sizeof(options)) == 0);
	CHECK(setsockopt(receiver, IPPROTO_IPV6, IPV6_RECVHOPOPTS, &one, sizeof(one)) == 0);
	CHECK(setsockopt(receiver, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one)) == 0);
	with_control(fd, receiver, AF_INET6, IPPROTO_IPV6, IPV6_HOPOPTS);
	close(receiver);
	struct ipv6_mreq group = { .ipv6mr_multiaddr.s6_addr = { 0xff, 2, [15] = 0x63 }, .ipv6mr_interface = if_nametoindex("lo") };
	CHECK(setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &group, sizeof(group)) == 0);
	CHECK(setsockopt(fd, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &group, sizeof(group)) == 0);
	close(fd);
	/* The kernel fills in the checksum. */
	struct icmp6_hdr ping = { .icmp6_type = ICMP6_ECHO_REQUEST, .icmp6_id = htons(getpid() & 0xffff) };
	echo(AF_INET6, IPPROTO_ICMPV6, &ping, sizeof(ping), 0, ICMP6_ECHO_REPLY);
}

static void unix_server(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char got[16];
	struct ucred peer;
	socklen_t length = sizeof(peer);

	/* An abstract name: nothing in the file system. */
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "exercise-%d", getpid());
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(bind(listener, (void *)&address, sizeof(address)) == 0 && listen(listener, 1) == 0);
	CHECK(connect(client, (void *)&address, sizeof(address)) == 0);
	int server = accept(listener, NULL, NULL);
	CHECK(getsockopt(server, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid == getpid());
	CHECK(write(client, "stream", 6) == 6);
	CHECK(recv(server, got, sizeof(got), MSG_PEEK) == 6 && read(server, got, sizeof(got)) == 6);
	close(server);
	close(client);
	close(listener);
}

static void unix_round(void)
{
	int pair[2], pipes[2];
	char byte = 'x';
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec vector = { &byte, 1 };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(pipe(pipes) == 0);
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &pipes[1], sizeof(int));
	CHECK(sendmsg(pair[0], &message, 0) == 1);
	memset(&control, 0, sizeof(control));
	message.msg_controllen = sizeof(control);
	CHECK(recvmsg(pair[1], &message, 0) == 1);
	int passed = -1;
	if (CMSG_FIRSTHDR(&message))
		memcpy(&passed, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	CHECK(passed >= 0 && write(passed, &byte, 1) == 1 && read(pipes[0], &byte, 1) == 1);
	close(passed);
	close(pipes[0]);
	close(pipes[1]);
	close(pair[0]);
	close(pair[1]);
	unix_server();
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
	CHECK(send(pair[0], "datagram", 8, 0) == 8);
	char got[16];
	CHECK(recv(pair[1], got, sizeof(got), 0) == 8);
	close(pair[0]);
	close(pair[1]);
}

static void packet_round(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex("lo") };
	char got[2048];

	if (fd < 0 && errno == EAFNOSUPPORT) {
		absent("packet sockets");
		return;
	}
	CHECK(fd >= 0);
	CHECK(bind(fd, (void *)&address, sizeof(address)) == 0);
	udp(AF_INET);
	struct pollfd waiting = { .fd = fd, .events = POLLIN };
	CHECK(poll(&waiting, 1, 2000) == 1);
	CHECK(recv(fd, got, sizeof(got), 0) > 0);
	close(fd);
}

const struct area network_areas[] = {
	{ "ipv4", ipv4_round }, { "ipv6", ipv6_round }, { "unix", unix_round },
	{ "netlink", netlink_round }, { "packet", packet_round }, { NULL, NULL },
};
