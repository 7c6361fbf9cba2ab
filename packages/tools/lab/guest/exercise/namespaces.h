/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/bpf.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/nexthop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

/* Pause between two rounds that make namespaces: the kernel takes them down later, one batch after the other. */
enum { PAUSE_US = 100000 };

static int address_of(int family, const char *text, unsigned char *bytes)
{
	CHECK(inet_pton(family, text, bytes) == 1);
	return family == AF_INET ? 4 : 16;
}

static void interface_up(const char *name)
{
	struct ifreq wish = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(wish.ifr_name, sizeof(wish.ifr_name), "%s", name);
	CHECK(ioctl(fd, SIOCGIFFLAGS, &wish) == 0);
	wish.ifr_flags |= IFF_UP;
	CHECK(ioctl(fd, SIOCSIFFLAGS, &wish) == 0);
	close(fd);
}

static int change_address(int fd, int type, int family, int index, const char *text)
{
	unsigned char bytes[16];
	int size = address_of(family, text, bytes);
	struct ifaddrmsg message = {
		.ifa_family = family, .ifa_prefixlen = family == AF_INET ? 24 : 64, .ifa_flags = IFA_F_NODAD, .ifa_index = index,
	};
	struct request request = request_of(type, type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0, &message, sizeof(message));

	attribute(&request, IFA_LOCAL, bytes, size);
	attribute(&request, IFA_ADDRESS, bytes, size);
	return talk(fd, &request);
}

static int change_route(int fd, int type, int family, int index, const char *to, const char *via)
{
	unsigned char bytes[16];
	int size = address_of(family, to, bytes);
	struct rtmsg message = {
		.rtm_family = family, .rtm_dst_len = family == AF_INET ? 24 : 64, .rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_STATIC, .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST,
	};
	struct request request = request_of(type, type == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_EXCL : 0, &message, sizeof(message));

	attribute(&request, RTA_DST, bytes, size);
	address_of(family, via, bytes);
	attribute(&request, RTA_GATEWAY, bytes, size);
	attribute(&request, RTA_OIF, &index, sizeof(index));
	return talk(fd, &request);
}

static int change_nexthop(int fd, int type, int index, const char *via)
{
	struct nhmsg message = { .nh_family = type == RTM_NEWNEXTHOP ? AF_INET : AF_UNSPEC };
	struct request request = request_of(type, type == RTM_NEWNEXTHOP ? NLM_F_CREATE | NLM_F_EXCL : 0, &message, sizeof(message));
	unsigned id = 7;
	unsigned char bytes[16];

	attribute(&request, NHA_ID, &id, sizeof(id));
	if (type == RTM_NEWNEXTHOP) {
		attribute(&request, NHA_GATEWAY, bytes, address_of(AF_INET, via, bytes));
		attribute(&request, NHA_OIF, &index, sizeof(index));
	}
	return talk(fd, &request);
}

/* A kind of link, and for a tunnel the attributes of its two ends. */
struct kind {
	const char *name;
	int local, remote, family;
	const char *from, *to;
};

/* From linux/if_tunnel.h, which does not go together with netinet/ip.h. */
enum { SIT_LOCAL = 2, SIT_REMOTE = 3, GRE_LOCAL = 6, GRE_REMOTE = 7, VTI_LOCAL = 4, VTI_REMOTE = 5 };

static const struct kind dummy_kind = { .name = "dummy" };
static const struct kind tunnel_kinds[] = {
	{ "sit", SIT_LOCAL, SIT_REMOTE, AF_INET, "192.0.2.1", "192.0.2.9" },
	{ "ip6gre", GRE_LOCAL, GRE_REMOTE, AF_INET6, "2001:db8::1", "2001:db8::9" },
	{ "vti6", VTI_LOCAL, VTI_REMOTE, AF_INET6, "2001:db8::1", "2001:db8::9" },
};

/* Begins an attribute that holds others; to be closed with `close_nest`. */
static struct rtattr *nest(struct request *request, int type)
{
	struct rtattr *head = (void *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));

	attribute(request, type, NULL, 0);
	return head;
}

static void close_nest(struct request *request, struct rtattr *head)
{
	head->rta_len = (char *)request + request->header.nlmsg_len - (char *)head;
}

/* Makes a link of a kind; the error number where the kernel has none. */
static int new_link(int fd, const char *name, const struct kind *kind)
{
	struct ifinfomsg message = { .ifi_family = AF_UNSPEC };
	struct request request = request_of(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &message, sizeof(message));
	unsigned char bytes[16];

	attribute(&request, IFLA_IFNAME, name, strlen(name) + 1);
	struct rtattr *info = nest(&request, IFLA_LINKINFO);
	attribute(&request, IFLA_INFO_KIND, kind->name, strlen(kind->name));
	if (kind->family != 0) {
		struct rtattr *data = nest(&request, IFLA_INFO_DATA);
		attribute(&request, kind->local, bytes, address_of(kind->family, kind->from, bytes));
		attribute(&request, kind->remote, bytes, address_of(kind->family, kind->to, bytes));
		close_nest(&request, data);
	}
	close_nest(&request, info);
	return talk(fd, &request);
}

static void delete_link(int fd, int index)
{
	struct ifinfomsg message = { .ifi_family = AF_UNSPEC, .ifi_index = index };
	struct request request = request_of(RTM_DELLINK, 0, &message, sizeof(message));

	CHECK(talk(fd, &request) == 0);
}

/* Addresses, routes and next hops of a network of its own. */
static void own_network(void)
{
	CHECK(unshare(CLONE_NEWNET) == 0);
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), link = 0;
	interface_up("lo");
	udp(AF_INET);
	udp(AF_INET6);
	int made = new_link(fd, "exercise0", &dummy_kind);
	if (made == EOPNOTSUPP) {
		absent("dummy links");
	} else {
		CHECK(made == 0);
		interface_up("exercise0");
		link = if_nametoindex("exercise0");
		CHECK(change_address(fd, RTM_NEWADDR, AF_INET, link, "192.0.2.1") == 0);
		CHECK(change_address(fd, RTM_NEWADDR, AF_INET6, link, "2001:db8::1") == 0);
		CHECK(change_address(fd, RTM_NEWADDR, AF_INET, link, "192.0.2.1") == EEXIST);
		CHECK(change_route(fd, RTM_NEWROUTE, AF_INET, link, "198.51.100.0", "192.0.2.2") == 0);
		CHECK(change_route(fd, RTM_NEWROUTE, AF_INET6, link, "2001:db8:1::", "2001:db8::2") == 0);
		CHECK(change_nexthop(fd, RTM_NEWNEXTHOP, link, "192.0.2.3") == 0);
		dumps(fd);
		dump(fd, RTM_GETNEXTHOP, AF_UNSPEC);
		CHECK(change_nexthop(fd, RTM_DELNEXTHOP, link, NULL) == 0);
		CHECK(change_route(fd, RTM_DELROUTE, AF_INET, link, "198.51.100.0", "192.0.2.2") == 0);
		CHECK(change_route(fd, RTM_DELROUTE, AF_INET, link, "198.51.100.0", "192.0.2.2") == ESRCH);
		CHECK(change_route(fd, RTM_DELROUTE, AF_INET6, link, "2001:db8:1::", "2001:db8::2") == 0);
		CHECK(change_address(fd, RTM_DELADDR, AF_INET, link, "192.0.2.1") == 0);
		CHECK(change_address(fd, RTM_DELADDR, AF_INET6, link, "2001:db8::1") == 0);
		delete_link(fd, link);
	}
	/* What a tunnel sends, it sends from here. */
	int lo = if_nametoindex("lo");
	CHECK(change_address(fd, RTM_NEWADDR, AF_INET, lo, "192.0.2.1") == 0 && change_address(fd, RTM_NEWADDR, AF_INET6, lo, "2001:db8::1") == 0);
	for (size_t tunnel = 0; tunnel < sizeof(tunnel_kinds) / sizeof(tunnel_kinds[0]); tunnel++) {
		made = new_link(fd, "exercise1", &tunnel_kinds[tunnel]);
		if (made == EOPNOTSUPP) {
			absent(tunnel_kinds[tunnel].name);
			continue;
		}
		CHECK(made == 0);
		interface_up("exercise1");
		delete_link(fd, if_nametoindex("exercise1"));
	}
	close(fd);
}

static void route_round(void)
{
	in_child(own_network);
	usleep(PAUSE_US);
}

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

static void own_user(void)
{
	char data[] = "in a mount of its own", got[64];

	CHECK(unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) == 0);
	CHECK(put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", "0 0 1") && put("/proc/self/gid_map", "0 0 1"));
	CHECK(getuid() == 0 && sethostname("exercise", 8) == 0);
	CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("exercise", "/mnt", "tmpfs", 0, NULL) == 0);
	int fd = open("/mnt/file", O_RDWR | O_CREAT, 0600);
	CHECK(write(fd, data, sizeof(data)) == sizeof(data));
	CHECK(pread(fd, got, sizeof(got), 0) == sizeof(data) && memcmp(data, got, sizeof(data)) == 0);
	close(fd);
	CHECK(mkdir("/mnt/there", 0700) == 0 && mount("/mnt", "/mnt/there", NULL, MS_BIND, NULL) == 0);
	CHECK(access("/mnt/there/file", R_OK) == 0 && umount("/mnt/there") == 0 && umount("/mnt") == 0);
	int queue = msgget(7, IPC_CREAT | IPC_EXCL | 0600);
	CHECK(queue >= 0 && msgctl(queue, IPC_RMID, NULL) == 0);
}

static void user_round(void)
{
	if (access("/proc/self/ns/user", F_OK) != 0) {
		absent("user namespaces");
		return;
	}
	in_child(own_user);
	usleep(PAUSE_US);
}

static void cgroup_round(void)
{
	char folder[64], path[96];

	snprintf(folder, sizeof(folder), "/sys/fs/cgroup/exercise-%d", getpid());
	if (access("/sys/fs/cgroup/cgroup.procs", W_OK) != 0) {
		absent("cgroup v2");
		return;
	}
	CHECK(put("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset +memory +pids"));
	CHECK(mkdir(folder, 0700) == 0);
	snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	int status;
	pid_t child = fork();
	if (child == 0) {
		/* What it writes is a member's. */
		CHECK(put(path, "0"));
		in_folder("/root");
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	bool gone = false;
	for (int attempt = 0; attempt < 100 && !gone; attempt++) {
		gone = rmdir(folder) == 0;
		if (!gone)
			usleep(10000);
	}
	CHECK(gone);
	usleep(PAUSE_US);
}

static int bpf(int command, union bpf_attr *wish)
{
	return syscall(SYS_bpf, command, wish, sizeof(*wish));
}

static void bpf_round(void)
{
	union bpf_attr wish = { .map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 64 };
	int map = bpf(BPF_MAP_CREATE, &wish);

	if (map < 0 && (errno == ENOSYS || errno == EPERM)) {
		absent("bpf");
		return;
	}
	CHECK(map >= 0);
	for (unsigned key = 0; key < 64; key++) {
		unsigned long long value = key * 3, got = 0;
		union bpf_attr at = { .map_fd = map, .key = (unsigned long)&key, .value = (unsigned long)&value };
		CHECK(bpf(BPF_MAP_UPDATE_ELEM, &at) == 0);
		at.value = (unsigned long)&got;
		CHECK(bpf(BPF_MAP_LOOKUP_ELEM, &at) == 0 && got == key * 3);
		at.value = 0;
		CHECK(bpf(BPF_MAP_DELETE_ELEM, &at) == 0);
		at.value = (unsigned long)&got;
		CHECK(bpf(BPF_MAP_LOOKUP_ELEM, &at) == -1 && errno == ENOENT);
	}
	close(map);
	/* A program that lets four bytes of each datagram pass. */
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 4 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = 2, .insns = (unsigned long)code, .license = (unsigned long)"GPL" };
	int program = bpf(BPF_PROG_LOAD, &load), pair[2];
	char got[64];
	CHECK(program >= 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
	CHECK(setsockopt(pair[1], SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof(program)) == 0);
	CHECK(send(pair[0], "datagram", 8, 0) == 8 && recv(pair[1], got, sizeof(got), 0) == 4);
	close(program);
	close(pair[0]);
	close(pair[1]);
}

static void trace_round(void)
{
	static const char event[] = "/sys/kernel/tracing/events/sched/sched_process_fork/enable";

	if (access(event, W_OK) != 0) {
		absent("tracefs");
		return;
	}
	/*
	 * Without the names of tasks, which would have the scheduler's own tracepoints switched on and off: QEMU before 8.1
	 * may go on with code as it was before the kernel changed it, and what a processor runs all the time is where it
	 * happens.
	 */
	CHECK(put("/sys/kernel/tracing/options/record-cmd", "0"));
	CHECK(put(event, "1"));
	in_child(executed);
	CHECK(put(event, "0"));
	usleep(PAUSE_US);
}

const struct area namespace_areas[] = {
	{ "route", route_round }, { "user", user_round }, { "cgroup", cgroup_round }, { "bpf", bpf_round }, { "trace", trace_round },
	{ NULL, NULL },
};
