/*
 * Faults for the agent's own process, by LD_PRELOAD: the agent's bytes stay what they are. It counts the calls that change the disk
 * (and the calls that hand modules to the kernel), and at one chosen step kills, stops or fails.
 *
 * It acts in the agent's Node (the program AGENT_NODE) and in the insmod and rmmod that it starts; every other program is left alone.
 * A step is a call below the watched folders. Steps are counted from the moment the plan file changes, over all processes of the
 * role, so that a plan can be laid while the agent runs:
 *
 *   mode=trace|kill|stop|error  what to do; trace: only write the steps down
 *   role=WORD                   the agent's first argument (run, boot, ...); absent: any
 *   n=N                         the N-th step; or, absent: the nth= (default 1) one that fits op= and path=
 *   op=PATTERN path=PATTERN     fnmatch(3) of the operation and of the path; several patterns are parted by |
 *   when=before|after           before the call (default) or after it
 *   errno=N span=one|all        error: what fails, that step alone or all from there until the plan goes
 *   short=1                     error: a write takes half of its bytes before it fails
 *
 * It fires once a boot: that is noted in DIRECTORY/state, which is shared by all processes. The kernel argument "labfault=off" keeps it
 * still for a whole boot: whoever cut the power at a step needs nothing written to the disk for that.
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

#ifndef AGENT_NODE
#error "-DAGENT_NODE=\"...\": the agent's Node"
#endif
#define LIBRARY "/usr/local/lib/kmend-fault.so"
#define PLAN "/var/lib/kmend-fault/plan"
#define DIRECTORY "/run/kmend-fault"
#define ROLE_VARIABLE "KMEND_FAULT_ROLE"

static const char *const watched[] = {
	"/var/lib/kmend-agent", "/run/kmend-agent", "/etc/kmend-agent", "/sys/kernel/livepatch",
};

enum mode { NONE, TRACE, KILL, STOP, ERROR };

struct plan {
	enum mode mode;
	char role[32], op[32], path[256];
	long n, nth;
	int after, error, all, half;
};

/* Shared by all processes of the agent; zero at each boot. */
struct state {
	int64_t plan_ns;	/* the plan's time of change that the counts below belong to */
	int64_t steps, fitting;
	int32_t fired;
};

static enum { ASLEEP, NODE, TOOL } place;
static int switched_off;
static char own_role[32];
static struct state *shared;
static struct plan plan;
static int64_t known_plan;
static __thread int inside;

#define REAL(name) \
	static __typeof__(&name) real; \
	if (!real) real = (__typeof__(real))dlsym(RTLD_NEXT, #name)

static void read_text(const char *path, char *into, size_t size)
{
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? 0 : syscall(SYS_read, fd, into, size - 1);
	into[got > 0 ? got : 0] = 0;
	if (fd >= 0) syscall(SYS_close, fd);
}

static void append(const char *path, const char *text)
{
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0) return;
	if (syscall(SYS_write, fd, text, strlen(text)) < 0) { /* told nowhere: there is nobody to tell */ }
	syscall(SYS_close, fd);
}

static void find_place(void)
{
	char exe[PATH_MAX] = "", words[4096] = "", line[4096];
	if (readlink("/proc/self/exe", exe, sizeof exe - 1) < 0) return;
	const char *inherited = getenv(ROLE_VARIABLE);
	if (inherited && strcmp(exe, AGENT_NODE)) {
		place = TOOL;
		snprintf(own_role, sizeof own_role, "%s", inherited);
	} else if (!strcmp(exe, AGENT_NODE)) {
		place = NODE;
		int fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
		ssize_t size = fd < 0 ? 0 : syscall(SYS_read, fd, words, sizeof words - 2);
		if (fd >= 0) syscall(SYS_close, fd);
		for (char *word = words; word < words + size; word += strlen(word) + 1) {
			size_t length = strlen(word);
			if (length > 4 && !strcmp(word + length - 4, ".mjs"))
				snprintf(own_role, sizeof own_role, "%.31s", word + length + 1);
		}
	}
	read_text("/proc/cmdline", line, sizeof line);
	switched_off = strstr(line, "labfault=off") != NULL;
}

__attribute__((constructor)) static void begin(void)
{
	find_place();
	if (place == ASLEEP) return;
	umask(umask(0));
	int fd = syscall(SYS_openat, AT_FDCWD, DIRECTORY "/state", O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0) return;
	syscall(SYS_fchmod, fd, 0666);
	if (syscall(SYS_ftruncate, fd, sizeof(struct state)) == 0) {
		void *at = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (at != MAP_FAILED) shared = at;
	}
	syscall(SYS_close, fd);
}

static void parse(char *text)
{
	memset(&plan, 0, sizeof plan);
	plan.nth = 1;
	for (char *save, *word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		char *value = strchr(word, '=');
		if (!value) continue;
		*value++ = 0;
		if (!strcmp(word, "mode"))
			plan.mode = !strcmp(value, "kill") ? KILL : !strcmp(value, "stop") ? STOP :
				    !strcmp(value, "error") ? ERROR : TRACE;
		else if (!strcmp(word, "role")) snprintf(plan.role, sizeof plan.role, "%s", value);
		else if (!strcmp(word, "op")) snprintf(plan.op, sizeof plan.op, "%s", value);
		else if (!strcmp(word, "path")) snprintf(plan.path, sizeof plan.path, "%s", value);
		else if (!strcmp(word, "n")) plan.n = atol(value);
		else if (!strcmp(word, "nth")) plan.nth = atol(value);
		else if (!strcmp(word, "when")) plan.after = !strcmp(value, "after");
		else if (!strcmp(word, "errno")) plan.error = atoi(value);
		else if (!strcmp(word, "span")) plan.all = !strcmp(value, "all");
		else if (!strcmp(word, "short")) plan.half = atoi(value);
	}
}

/* The plan as it is now; counting begins again where it changed. */
static int planned(void)
{
	struct stat status;
	if (!shared || syscall(SYS_newfstatat, AT_FDCWD, PLAN, &status, 0) < 0) return 0;
	int64_t at = status.st_mtim.tv_sec * 1000000000LL + status.st_mtim.tv_nsec;
	if (at != known_plan) {
		char text[1024];
		read_text(PLAN, text, sizeof text);
		parse(text);
		known_plan = at;
	}
	int64_t counted = __atomic_load_n(&shared->plan_ns, __ATOMIC_SEQ_CST);
	if (counted != at && __atomic_compare_exchange_n(&shared->plan_ns, &counted, at, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&shared->steps, 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&shared->fitting, 0, __ATOMIC_SEQ_CST);
		__atomic_store_n(&shared->fired, 0, __ATOMIC_SEQ_CST);
	}
	return plan.mode != NONE && (!plan.role[0] || !strcmp(plan.role, own_role));
}

static int is_watched(const char *path)
{
	for (size_t i = 0; i < sizeof watched / sizeof *watched; i++)
		if (!strncmp(path, watched[i], strlen(watched[i]))) return 1;
	return 0;
}

static int fits_any(const char *patterns, const char *word)
{
	char copy[256], *save;
	if (!patterns[0]) return 1;
	snprintf(copy, sizeof copy, "%s", patterns);
	for (char *pattern = strtok_r(copy, "|", &save); pattern; pattern = strtok_r(NULL, "|", &save))
		if (!fnmatch(pattern, word, 0)) return 1;
	return 0;
}

static void end_agent(int signal)
{
	/* A tool is one of the agent's children: it is the agent that goes. */
	kill(place == TOOL ? getppid() : getpid(), signal);
	/* The kill reaches this process before the next line; a stop of the agent alone leaves a tool here. */
	if (place == TOOL && signal == SIGSTOP) kill(getpid(), signal);
}

struct step {
	int due;	/* this is the step, and what is planned happens after the call */
	int error;	/* the call fails with it */
	int half;
	char text[PATH_MAX + 128];
};

static void fire(struct step *step)
{
	char text[PATH_MAX + 256];
	snprintf(text, sizeof text, "<2>kmend-fault: %s at %s\n", plan.mode == KILL ? "kill" : "stop", step->text);
	append(DIRECTORY "/fired", text + 3);
	if (plan.mode == STOP) append("/dev/kmsg", text);
	end_agent(plan.mode == KILL ? SIGKILL : SIGSTOP);
}

static void before(struct step *step, const char *op, const char *path)
{
	step->due = step->error = step->half = 0;
	if (place == ASLEEP || inside || !path || !is_watched(path)) return;
	inside = 1;
	int saved = errno;
	if (planned()) {
		long n = __atomic_add_fetch(&shared->steps, 1, __ATOMIC_SEQ_CST);
		snprintf(step->text, sizeof step->text, "%ld %s %s %s", n, own_role, op, path);
		char line[sizeof step->text + 2];
		snprintf(line, sizeof line, "%s\n", step->text);
		append(DIRECTORY "/trace", line);
		int fits = !plan.n && fits_any(plan.op, op) && fits_any(plan.path, path);
		long nth = fits ? __atomic_add_fetch(&shared->fitting, 1, __ATOMIC_SEQ_CST) : 0;
		int here = plan.n ? n == plan.n : fits && nth == plan.nth;
		int beyond = plan.mode == ERROR && plan.all && (plan.n ? n > plan.n : fits && nth > plan.nth);
		if (plan.mode != TRACE && !switched_off && (here || beyond)) {
			__atomic_store_n(&shared->fired, 1, __ATOMIC_SEQ_CST);
			if (plan.mode == ERROR) {
				step->error = plan.error;
				step->half = plan.half && here;
				snprintf(line, sizeof line, "error %d at %.4000s\n", plan.error, step->text);
				append(DIRECTORY "/fired", line);
			} else if (plan.after) step->due = 1;
			else fire(step);
		}
	}
	errno = saved;
	inside = 0;
}

static void after(struct step *step)
{
	if (!step->due) return;
	int saved = errno;
	inside = 1;
	fire(step);
	inside = 0;
	errno = saved;
}

/* The path of an open file, if it is a regular one. */
static const char *path_of(int fd, char *into)
{
	struct stat status;
	char link[64];
	if (place == ASLEEP || inside || syscall(SYS_fstat, fd, &status) < 0) return NULL;
	if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return NULL;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t size = syscall(SYS_readlink, link, into, PATH_MAX - 1);
	if (size < 0) return NULL;
	into[size] = 0;
	return into;
}

static const char *path_at(int directory, const char *path, char *into)
{
	if (place == ASLEEP || inside || !path || path[0] == '/' || directory == AT_FDCWD) return path;
	if (!path_of(directory, into)) return NULL;
	size_t length = strlen(into);
	snprintf(into + length, PATH_MAX - length, "/%s", path);
	return into;
}

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
