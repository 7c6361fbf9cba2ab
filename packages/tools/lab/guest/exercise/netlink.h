/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

struct request {
	struct nlmsghdr header;
	char rest[500];
};

static void append(struct request *request, const void *data, size_t size)
{
	memcpy((char *)request + NLMSG_ALIGN(request->header.nlmsg_len), data, size);
	request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + size;
}

static struct request request_of(int type, int flags, const void *body, size_t size)
{
	struct request request = { .header = { .nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags } };

	append(&request, body, size);
	return request;
}

static void attribute(struct request *request, int type, const void *data, size_t size)
{
	struct rtattr head = { .rta_type = type, .rta_len = RTA_LENGTH(size) };

	append(request, &head, sizeof(head));
	if (size > 0)
		append(request, data, size);
}

/* Sends a request and waits for what becomes of it: 0, or the error number. */
static int talk(int fd, struct request *request)
{
	char answer[4096];

	request->header.nlmsg_flags |= NLM_F_ACK;
	if (send(fd, request, request->header.nlmsg_len, 0) != (ssize_t)request->header.nlmsg_len)
		return errno;
	for (;;) {
		int size = recv(fd, answer, sizeof(answer), 0);
		if (size <= 0)
			return errno;
		for (struct nlmsghdr *header = (void *)answer; NLMSG_OK(header, (unsigned)size); header = NLMSG_NEXT(header, size))
			if (header->nlmsg_type == NLMSG_ERROR)
				return -((struct nlmsgerr *)NLMSG_DATA(header))->error;
	}
}

static void dump(int fd, int type, int family)
{
	struct rtgenmsg message = { .rtgen_family = family };
	struct request request = request_of(type, NLM_F_DUMP, &message, sizeof(message));
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

static void dumps(int fd)
{
	dump(fd, RTM_GETLINK, AF_UNSPEC);
	dump(fd, RTM_GETADDR, AF_UNSPEC);
	dump(fd, RTM_GETROUTE, AF_INET);
	dump(fd, RTM_GETROUTE, AF_INET6);
	dump(fd, RTM_GETNEIGH, AF_UNSPEC);
	dump(fd, RTM_GETRULE, AF_INET);
}

static void netlink_round(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	CHECK(fd >= 0);
	dumps(fd);
	close(fd);
}
