/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
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

static void ipv4_round(void)
{
	tcp(AF_INET);
	udp(AF_INET);
	/* Options: a record of the route, on its way through ip_options. */
	unsigned char options[] = { 7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, back[64];
	socklen_t size = sizeof(back);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	CHECK(setsockopt(fd, IPPROTO_IP, IP_OPTIONS, options, sizeof(options)) == 0);
	CHECK(getsockopt(fd, IPPROTO_IP, IP_OPTIONS, back, &size) == 0 && size == sizeof(options));
	struct ip_mreq group = { .imr_multiaddr.s_addr = htonl(0xe0000163), .imr_interface.s_addr = htonl(INADDR_LOOPBACK) };
	CHECK(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)) == 0);
	CHECK(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof(group)) == 0);
	close(fd);
}

static void ipv6_round(void)
{
	tcp(AF_INET6);
	udp(AF_INET6);
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
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
	CHECK(send(pair[0], "datagram", 8, 0) == 8);
	char got[16];
	CHECK(recv(pair[1], got, sizeof(got), 0) == 8);
	close(pair[0]);
	close(pair[1]);
}

static void dump(int fd, int type, int family)
{
	struct {
		struct nlmsghdr header;
		struct rtgenmsg message;
	} request = {
		.header = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.message = { .rtgen_family = family },
	};
	static char answer[65536];
	bool done = false;

	CHECK(send(fd, &request, request.header.nlmsg_len, 0) == (ssize_t)request.header.nlmsg_len);
	while (!done) {
		int size = recv(fd, answer, sizeof(answer), 0);
		CHECK(size > 0);
		if (size <= 0)
			return;
		for (struct nlmsghdr *header = (void *)answer; NLMSG_OK(header, (unsigned)size); header = NLMSG_NEXT(header, size)) {
			CHECK(header->nlmsg_type != NLMSG_ERROR);
			if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR)
				done = true;
		}
	}
}

static void netlink_round(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	CHECK(fd >= 0);
	dump(fd, RTM_GETLINK, AF_UNSPEC);
	dump(fd, RTM_GETADDR, AF_UNSPEC);
	dump(fd, RTM_GETROUTE, AF_INET);
	dump(fd, RTM_GETROUTE, AF_INET6);
	dump(fd, RTM_GETNEIGH, AF_UNSPEC);
	dump(fd, RTM_GETRULE, AF_INET);
	close(fd);
}

static void packet_round(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = if_nametoindex("lo") };
	char got[2048];

	if (fd < 0 && errno == EAFNOSUPPORT)
		return;
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
