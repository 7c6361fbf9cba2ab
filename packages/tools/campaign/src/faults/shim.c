/*
 * Faults for the agent's own process, by /etc/ld.so.preload: the agent's bytes stay what they are. It counts the calls
 * that change the disk (and the calls that hand modules to the kernel), and at one chosen step kills, stops or fails.
 *
 * It acts in the agent's Node (the program AGENT_NODE) and in the insmod and rmmod that it starts; every other program
 * is left alone. A step is a call below the watched folders. Steps are counted from the moment the plan file changes,
 * over all processes of the role, so that a plan can be laid while the agent runs:
 *
 *   mode=trace|kill|stop|error  what to do; trace: only write the steps down
 *   role=WORD                   the agent's first argument (loader, boot, fetcher-once); absent: any
 *   n=N                         the N-th step; or, absent: the nth= (default 1) one that fits op= and path=
 *   op=PATTERN path=PATTERN     fnmatch(3) of the operation and of the path; several patterns are parted by |
 *   when=before|after           before the call (default) or after it
 *   errno=N span=one|all        error: what fails, that step alone or all from there until the plan goes
 *   short=1                     error: a write takes half of its bytes before it fails
 *
 * It fires once a boot: that is noted in DIRECTORY/state, which is shared by all processes. The kernel argument
 * "labfault=off" keeps it still for a whole boot: whoever cut the power at a step needs nothing written to the disk for
 * that.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim/steps.h"

#define STEP(op, path, failed, call) \
	do { \
		struct step step; \
		before(&step, op, path); \
		if (step.error) { errno = step.error; return failed; } \
		__auto_type result = (call); \
		after(&step); \
		return result; \
	} while (0)

/* Opening for reading changes nothing. */
static const char *opening(int flags)
{
	if (flags & O_CREAT) return "create";
	if (flags & O_TRUNC) return "truncate";
	return NULL;
}

#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		REAL(name); \
		va_list rest; \
		va_start(rest, flags); \
		mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
		va_end(rest); \
		const char *op = opening(flags); \
		STEP(op ? op : "", op ? path : NULL, -1, real(path, flags, mode)); \
	}
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
	int name(int directory, const char *path, int flags, ...) \
	{ \
		REAL(name); \
		char full[PATH_MAX]; \
		va_list rest; \
		va_start(rest, flags); \
		mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
		va_end(rest); \
		const char *op = opening(flags); \
		STEP(op ? op : "", op ? path_at(directory, path, full) : NULL, -1, real(directory, path, flags, mode)); \
	}
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size)
{
	REAL(write);
	char path[PATH_MAX];
	struct step step;
	before(&step, "write", path_of(fd, path));
	if (step.half && real(fd, data, size / 2) < 0) return -1;
	if (step.error) { errno = step.error; return -1; }
	ssize_t result = real(fd, data, size);
	after(&step);
	return result;
}

#define PWRITE(name, offset_type) \
	ssize_t name(int fd, const void *data, size_t size, offset_type offset) \
	{ \
		REAL(name); \
		char path[PATH_MAX]; \
		struct step step; \
		before(&step, "write", path_of(fd, path)); \
		if (step.half && real(fd, data, size / 2, offset) < 0) return -1; \
		if (step.error) { errno = step.error; return -1; } \
		ssize_t result = real(fd, data, size, offset); \
		after(&step); \
		return result; \
	}
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	REAL(writev);
	char path[PATH_MAX];
	STEP("write", path_of(fd, path), -1, real(fd, parts, count));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
	REAL(pwritev);
	char path[PATH_MAX];
	STEP("write", path_of(fd, path), -1, real(fd, parts, count, offset));
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
	REAL(pwritev64);
	char path[PATH_MAX];
	STEP("write", path_of(fd, path), -1, real(fd, parts, count, offset));
}
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned flags)
{
	REAL(copy_file_range);
	char path[PATH_MAX];
	STEP("write", path_of(out, path), -1, real(in, in_at, out, out_at, size, flags));
}
ssize_t sendfile(int out, int in, off_t *offset, size_t size);
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size);
ssize_t sendfile(int out, int in, off_t *offset, size_t size)
{
	REAL(sendfile);
	char path[PATH_MAX];
	STEP("write", path_of(out, path), -1, real(out, in, offset, size));
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size)
{
	REAL(sendfile64);
	char path[PATH_MAX];
	STEP("write", path_of(out, path), -1, real(out, in, offset, size));
}

int fsync(int fd)
{
	REAL(fsync);
	char path[PATH_MAX];
	STEP("fsync", path_of(fd, path), -1, real(fd));
}
int fdatasync(int fd)
{
	REAL(fdatasync);
	char path[PATH_MAX];
	STEP("fsync", path_of(fd, path), -1, real(fd));
}
int ftruncate64(int fd, off64_t size)
{
	REAL(ftruncate64);
	char path[PATH_MAX];
	STEP("truncate", path_of(fd, path), -1, real(fd, size));
}
int fchmod(int fd, mode_t mode)
{
	REAL(fchmod);
	char path[PATH_MAX];
	STEP("chmod", path_of(fd, path), -1, real(fd, mode));
}
int chmod(const char *path, mode_t mode)
{
	REAL(chmod);
	STEP("chmod", path, -1, real(path, mode));
}
int chown(const char *path, uid_t user, gid_t group)
{
	REAL(chown);
	STEP("chown", path, -1, real(path, user, group));
}
int rename(const char *from, const char *to)
{
	REAL(rename);
	STEP("rename", to, -1, real(from, to));
}
int link(const char *from, const char *to)
{
	REAL(link);
	STEP("link", to, -1, real(from, to));
}
int symlink(const char *target, const char *path)
{
	REAL(symlink);
	STEP("symlink", path, -1, real(target, path));
}
int unlink(const char *path)
{
	REAL(unlink);
	STEP("unlink", path, -1, real(path));
}
int unlinkat(int directory, const char *path, int flags)
{
	REAL(unlinkat);
	char full[PATH_MAX];
	STEP(flags & AT_REMOVEDIR ? "rmdir" : "unlink", path_at(directory, path, full), -1, real(directory, path, flags));
}
int rmdir(const char *path)
{
	REAL(rmdir);
	STEP("rmdir", path, -1, real(path));
}
int mkdir(const char *path, mode_t mode)
{
	REAL(mkdir);
	STEP("mkdir", path, -1, real(path, mode));
}
char *mkdtemp(char *pattern)
{
	REAL(mkdtemp);
	STEP("mkdir", pattern, NULL, real(pattern));
}

/* Keeps the bytes that the kernel is handed, for whoever wants to compare them. `fd` < 0: `image` and `size`. */
static void keep_module(int fd, const void *image, size_t size)
{
	struct stat status;
	char path[128];
	inside = 1;
	snprintf(path, sizeof path, DIRECTORY "/handed/%d.ko", getpid());
	if (fd >= 0 && syscall(SYS_fstat, fd, &status) == 0 && status.st_size > 0) {
		size = status.st_size;
		image = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	}
	int out = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	for (size_t done = 0; out >= 0 && image && image != MAP_FAILED && done < size;) {
		long wrote = syscall(SYS_write, out, (const char *)image + done, size - done);
		if (wrote <= 0) break;
		done += wrote;
	}
	if (out >= 0) syscall(SYS_close, out);
	inside = 0;
}

int init_module(void *image, unsigned long size, const char *words);
int delete_module(const char *name, int flags);
int init_module(void *image, unsigned long size, const char *words)
{
	REAL(init_module);
	if (place == TOOL) keep_module(-1, image, size);
	STEP("insmod", place == TOOL ? "/sys/kernel/livepatch" : NULL, -1, real(image, size, words));
}
int delete_module(const char *name, int flags)
{
	REAL(delete_module);
	char path[256];
	snprintf(path, sizeof path, "/sys/kernel/livepatch/%.200s", name);
	STEP("rmmod", place == TOOL ? path : NULL, -1, real(name, flags));
}

/* kmod calls finit_module through this one (libkmod/libkmod-module.c). */
long syscall(long number, ...)
{
	static long (*real)(long, ...);
	if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	va_list rest;
	va_start(rest, number);
	long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
	long d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
	va_end(rest);
	if (place != TOOL || inside || number != SYS_finit_module) return real(number, a, b, c, d, e, f);
	char path[PATH_MAX];
	keep_module((int)a, NULL, 0);
	STEP("insmod", path_of((int)a, path), -1, real(number, a, b, c, d, e, f));
}

/* Node gives its children an environment of their own: the tools that change the kernel are told here. */
int execvp(const char *file, char *const words[])
{
	REAL(execvp);
	const char *name = strrchr(file, '/');
	name = name ? name + 1 : file;
	if (place == NODE && (!strcmp(name, "insmod") || !strcmp(name, "rmmod"))) {
		static char *with[256], role[64];
		size_t count = 0;
		for (char **variable = environ; *variable && count < 250; variable++) with[count++] = *variable;
		snprintf(role, sizeof role, ROLE_VARIABLE "=%s", own_role);
		with[count++] = "LD_PRELOAD=" LIBRARY;
		with[count++] = role;
		with[count] = NULL;
		environ = with;
	}
	return real(file, words);
}
