// SPDX-License-Identifier: Apache-2.0
/*
 * Does a traffic filter take the name of a text search algorithm that has no end?
 *
 * net/sched/em_text.c, em_text_change(): unfixed, the kernel reads the name beyond its field and asks for a module of
 * that name (ENOENT); fixed, it answers EINVAL.
 *
 * Prints "vulnerable" (exit 1), "fixed" (0), or why it cannot tell (2). Works in a network namespace of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_ematch/tc_em_text.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOBODY 65534
#define LOOPBACK 1

struct request {
	struct nlmsghdr head;
	struct tcmsg tc;
	char rest[512];
};

static int cannot_tell(const char *what)
{
	printf("cannot tell: %s: %s\n", what, strerror(errno));
	return 2;
}

static struct rtattr *attribute(struct request *request, int type, const void *data, size_t size)
{
	struct rtattr *at = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));

	at->rta_type = type;
	at->rta_len = RTA_LENGTH(size);
	if (size > 0)
		memcpy(RTA_DATA(at), data, size);
	request->head.nlmsg_len = NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(at->rta_len);
	return at;
}

/* Everything behind the attribute becomes its content. */
static void close_nest(struct request *request, struct rtattr *at)
{
	at->rta_len = (char *)request + NLMSG_ALIGN(request->head.nlmsg_len) - (char *)at;
}

static void begin(struct request *request, int type, __u32 parent)
{
	memset(request, 0, sizeof(*request));
	request->head.nlmsg_len = NLMSG_LENGTH(sizeof(request->tc));
	request->head.nlmsg_type = type;
	request->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	request->tc.tcm_family = AF_UNSPEC;
	request->tc.tcm_ifindex = LOOPBACK;
	request->tc.tcm_parent = parent;
}

/* What the kernel answers: 0, or an error number; -1 if it does not answer. */
static int ask(int netlink, struct request *request)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	union {
		struct nlmsghdr head;
		char bytes[4096];
	} answer;

	if (sendto(netlink, request, request->head.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -1;
	if (recv(netlink, &answer, sizeof(answer), 0) < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return -1;
	if (answer.head.nlmsg_type != NLMSG_ERROR)
		return -1;
	return -((struct nlmsgerr *)NLMSG_DATA(&answer.head))->error;
}

/* Adds a filter that searches each packet for a text by an algorithm, whose field of 16 bytes is given. */
static int add_filter(int netlink, unsigned int priority, const char *algorithm)
{
	const struct tcf_ematch_tree_hdr tree = { .nmatches = 1 };
	struct {
		struct tcf_ematch_hdr head;
		struct tcf_em_text text;
		char pattern[4];
	} match = {
		.head = { .kind = TCF_EM_TEXT },
		.text = { .from_layer = 1, .to_layer = 1, .to_offset = 8, .pattern_len = 4 },
		.pattern = { 'k', 'e', 'n', 'd' },
	};
	struct rtattr *options, *ematches, *list;
	struct request request;

	memcpy(match.text.algo, algorithm, sizeof(match.text.algo));
	begin(&request, RTM_NEWTFILTER, TC_H_MAKE(TC_H_INGRESS, 0));
	request.tc.tcm_info = TC_H_MAKE(priority << 16, __builtin_bswap16(ETH_P_ALL));
	attribute(&request, TCA_KIND, "basic", sizeof("basic"));
	options = attribute(&request, TCA_OPTIONS | NLA_F_NESTED, NULL, 0);
	ematches = attribute(&request, TCA_BASIC_EMATCHES | NLA_F_NESTED, NULL, 0);
	attribute(&request, TCA_EMATCH_TREE_HDR, &tree, sizeof(tree));
	list = attribute(&request, TCA_EMATCH_TREE_LIST | NLA_F_NESTED, NULL, 0);
	attribute(&request, 1, &match, sizeof(match));
	close_nest(&request, list);
	close_nest(&request, ematches);
	close_nest(&request, options);
	return ask(netlink, &request);
}

int main(void)
{
	static const char known[16] = "kmp";
	char endless[16];
	struct request request;
	int netlink;

	if (geteuid() == 0 && (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY)))
		return cannot_tell("becoming an unprivileged user");
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return cannot_tell("making a user and a network namespace");
	netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (netlink < 0)
		return cannot_tell("opening a netlink socket");

	begin(&request, RTM_NEWQDISC, TC_H_INGRESS);
	request.tc.tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0);
	attribute(&request, TCA_KIND, "ingress", sizeof("ingress"));
	errno = ask(netlink, &request);
	if (errno)
		return cannot_tell("adding an ingress qdisc");

	/* What the fix leaves alone must work, or a refusal below would mean nothing. */
	errno = add_filter(netlink, 1, known);
	if (errno)
		return cannot_tell("adding a filter with a known algorithm");
	memset(endless, 'x', sizeof(endless));
	errno = add_filter(netlink, 2, endless);
	if (errno == ENOENT) {
		puts("vulnerable");
		return 1;
	}
	if (errno != EINVAL)
		return cannot_tell("adding a filter with a name without an end");
	puts("fixed");
	return 0;
}
