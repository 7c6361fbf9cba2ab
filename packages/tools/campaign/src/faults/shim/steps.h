/* Which step this is, and what is planned for it (shim.c tells of both). */
#pragma once

/*
 * Given by whoever compiles: AGENT_NODE the agent's Node, LIBRARY this library, PLAN the plan, DIRECTORY what is
 * written down (not on a disk), WATCHED folders.
 */
#define ROLE_VARIABLE "KMEND_FAULT_ROLE"

static const char *const watched[] = { WATCHED };

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
	/* For all processes of the agent, whoever they run as and whatever their umask is. */
	syscall(SYS_fchmod, fd, 0666);
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
			/* The program's file, or the name that it has where Node starts from its snapshot. */
			int is_program = !strcmp(word, "kmend-agent") ||
				(length > 4 && (!strcmp(word + length - 4, ".mjs") || !strcmp(word + length - 4, ".cjs")));
			if (is_program)
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
