/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

static void in_folder(const char *folder)
{
	char base[200], path[256], other[256], data[4096], got[4096];

	snprintf(base, sizeof(base), "%s/exercise-%d", folder, getpid());
	CHECK(mkdir(base, 0700) == 0);
	snprintf(path, sizeof(path), "%s/file", base);
	snprintf(other, sizeof(other), "%s/other", base);
	int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	CHECK(watch >= 0 && inotify_add_watch(watch, base, IN_ALL_EVENTS) >= 0);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0);
	for (int block = 0; block < 32; block++) {
		memset(data, block, sizeof(data));
		CHECK(pwrite(fd, data, sizeof(data), block * 4096L) == sizeof(data));
	}
	CHECK(fsync(fd) == 0);
	for (int block = 31; block >= 0; block--) {
		memset(data, block, sizeof(data));
		CHECK(pread(fd, got, sizeof(got), block * 4096L) == sizeof(got) && memcmp(data, got, sizeof(data)) == 0);
	}
	/* Every other block away: many extents. */
	for (int block = 0; block < 32; block += 2)
		CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, block * 4096L, 4096) == 0);
	CHECK(pread(fd, got, sizeof(got), 8192) == sizeof(got) && got[0] == 0 && got[4095] == 0);
	CHECK(fallocate(fd, 0, 0, 1 << 20) == 0);
	CHECK(ftruncate(fd, 100000) == 0);
	char *map = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	if (map != MAP_FAILED) {
		map[5] = 'm';
		CHECK(msync(map, 65536, MS_SYNC) == 0);
		CHECK(pread(fd, got, 1, 5) == 1 && got[0] == 'm');
		munmap(map, 65536);
	}
	/* The only kind that tmpfs has before 6.6, too. */
	CHECK(fsetxattr(fd, "trusted.kmend", "value", 5, 0) == 0);
	CHECK(fgetxattr(fd, "trusted.kmend", got, sizeof(got)) == 5 && memcmp(got, "value", 5) == 0);
	CHECK(flistxattr(fd, got, sizeof(got)) >= (ssize_t)sizeof("trusted.kmend"));
	CHECK(fremovexattr(fd, "trusted.kmend") == 0);
	CHECK(flock(fd, LOCK_EX) == 0 && flock(fd, LOCK_UN) == 0);
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	CHECK(fcntl(fd, F_SETLK, &lock) == 0);
	lock.l_type = F_UNLCK;
	CHECK(fcntl(fd, F_SETLK, &lock) == 0);
	CHECK(link(path, other) == 0);
	struct stat status;
	CHECK(stat(other, &status) == 0 && status.st_nlink == 2 && status.st_size == 100000);
	CHECK(rename(other, path) == 0 && unlink(other) == 0);
	CHECK(symlink(path, other) == 0 && readlink(other, got, sizeof(got)) == (ssize_t)strlen(path));
	int copy = open(base, O_TMPFILE | O_RDWR, 0600);
	CHECK(copy >= 0 && lseek(fd, 0, SEEK_SET) == 0);
	CHECK(sendfile(copy, fd, NULL, 100000) > 0);
	close(copy);
	DIR *directory = opendir(base);
	int names = 0;
	while (directory && readdir(directory))
		names++;
	CHECK(names >= 4);
	closedir(directory);
	struct statfs system;
	CHECK(fstatfs(fd, &system) == 0);
	CHECK(read(watch, data, sizeof(data)) > 0);
	close(watch);
	close(fd);
	CHECK(unlink(other) == 0 && unlink(path) == 0 && rmdir(base) == 0);
}

static void disk_round(void)
{
	in_folder("/root");
}

static void tmpfs_round(void)
{
	in_folder("/dev/shm");
}

static void pipe_round(void)
{
	int pipes[2], second[2], epoll = epoll_create1(0);
	char data[1000] = "through the pipe", got[1000];
	struct epoll_event event = { .events = EPOLLIN };

	CHECK(pipe(pipes) == 0 && pipe(second) == 0);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, second[0], &event) == 0);
	for (int round = 0; round < 50; round++) {
		CHECK(write(pipes[1], data, sizeof(data)) == sizeof(data));
		CHECK(splice(pipes[0], NULL, second[1], NULL, sizeof(data), 0) == sizeof(data));
		CHECK(epoll_wait(epoll, &event, 1, 2000) == 1);
		CHECK(read(second[0], got, sizeof(got)) == sizeof(got) && memcmp(data, got, sizeof(got)) == 0);
	}
	CHECK(epoll_ctl(epoll, EPOLL_CTL_DEL, second[0], NULL) == 0);
	close(epoll);
	for (int end = 0; end < 2; end++) {
		close(pipes[end]);
		close(second[end]);
	}
}

static void read_all(const char *path)
{
	char got[4096];
	int fd = open(path, O_RDONLY);

	CHECK(fd >= 0);
	while (read(fd, got, sizeof(got)) > 0)
		own->operations++;
	close(fd);
}

static void proc_round(void)
{
	static const char *const paths[] = {
		"/proc/self/status", "/proc/self/maps", "/proc/self/smaps", "/proc/self/mountinfo", "/proc/meminfo", "/proc/vmstat",
		"/proc/net/tcp", "/proc/net/udp", "/proc/net/unix", "/proc/net/packet", "/proc/net/netlink", "/proc/net/snmp",
		"/proc/net/ptype", "/proc/net/igmp6", "/proc/net/route", "/proc/net/ipv6_route", "/proc/net/raw", "/proc/self/cgroup",
		"/proc/slabinfo", "/proc/interrupts", "/proc/stat", "/proc/modules", "/proc/keys", "/proc/sysvipc/shm", "/proc/locks",
	};

	for (size_t index = 0; index < sizeof(paths) / sizeof(paths[0]); index++) {
		if (access(paths[index], R_OK) == 0)
			read_all(paths[index]);
		else
			absent(paths[index]);
	}
}

const struct area file_areas[] = {
	{ "disk", disk_round }, { "tmpfs", tmpfs_round }, { "pipe", pipe_round }, { "proc", proc_round }, { NULL, NULL },
};
