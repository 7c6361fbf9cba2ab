/* SPDX-License-Identifier: Apache-2.0 */
#include <elf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <sys/user.h>

static void executed(void)
{
	execl("/bin/true", "true", (char *)NULL);
	CHECK(!"execl");
}

static void *waits(void *unused)
{
	pause();
	return unused;
}

/* Ends while other threads sleep. */
static void threads(void)
{
	pthread_t thread;

	for (int number = 0; number < 3; number++)
		CHECK(pthread_create(&thread, NULL, waits, NULL) == 0);
}

static void filtered(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
	CHECK(syscall(SYS_getppid) == -1 && errno == EXDEV && getpid() > 0);
}

/* Stops a child and reads its registers. */
static void traced(void)
{
	struct user_regs_struct registers;
	struct iovec vector = { &registers, sizeof(registers) };
	int status;
	pid_t child = fork();

	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(7);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSTOPPED(status));
	CHECK(ptrace(PTRACE_GETREGSET, child, NT_PRSTATUS, &vector) == 0 && registers.rip != 0);
	CHECK(ptrace(PTRACE_CONT, child, 0, 0) == 0);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/* Stops, goes on, and dies, as its parent wants; a file of it is taken over meanwhile. */
static void ordered(void)
{
	int status, taken, pipes[2];
	char byte = 'p';

	CHECK(pipe(pipes) == 0);
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(1);
	}
	int handle = syscall(SYS_pidfd_open, child, 0);
	CHECK(handle >= 0);
	taken = syscall(SYS_pidfd_getfd, handle, pipes[0], 0);
	CHECK(taken >= 0 && write(pipes[1], &byte, 1) == 1 && read(taken, &byte, 1) == 1);
	CHECK(kill(child, SIGSTOP) == 0 && waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
	CHECK(kill(child, SIGCONT) == 0 && waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
	CHECK(kill(child, SIGTERM) == 0 && waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGTERM);
	close(taken);
	close(handle);
	close(pipes[0]);
	close(pipes[1]);
}

static void process_round(void)
{
	in_child(executed);
	in_child(threads);
	traced();
	ordered();
	if (prctl(PR_GET_SECCOMP) < 0)
		absent("seccomp");
	else
		in_child(filtered);
}

static void signal_round(void)
{
	sigset_t set;
	struct timespec soon = { .tv_sec = 2 };
	struct signalfd_siginfo info;
	timer_t timer;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && kill(getpid(), SIGUSR1) == 0);
	CHECK(sigtimedwait(&set, NULL, &soon) == SIGUSR1);
	int fd = signalfd(-1, &set, 0);
	CHECK(fd >= 0 && kill(getpid(), SIGUSR1) == 0);
	CHECK(read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGUSR1);
	close(fd);
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec when = { .it_value.tv_nsec = 1000000 };
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &when, NULL) == 0);
	CHECK(sigtimedwait(&set, NULL, &soon) == SIGUSR1 && timer_delete(timer) == 0);
	/* Sets nothing (kernel/time/time.c, `settimeofday`). */
	CHECK(syscall(SYS_settimeofday, NULL, NULL) == 0);
}

static void dies(void)
{
	struct rlimit whole = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_CORE, &whole);
	abort();
}

/* A core dump, where the kernel writes it into the current folder. */
static void core_round(void)
{
	char pattern[128] = "", folder[64], name[128], magic[4] = "";
	int status = 0, fd = open("/proc/sys/kernel/core_pattern", O_RDONLY);

	CHECK(fd >= 0 && read(fd, pattern, sizeof(pattern) - 1) > 0);
	close(fd);
	if (strcmp(pattern, "core\n") != 0) {
		absent("core dumps into the current folder");
		return;
	}
	snprintf(folder, sizeof(folder), "/dev/shm/core-%d", getpid());
	CHECK(mkdir(folder, 0700) == 0 && chdir(folder) == 0);
	pid_t child = fork();
	if (child == 0)
		dies();
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WTERMSIG(status) == SIGABRT && WCOREDUMP(status));
	snprintf(name, sizeof(name), "%s/core", folder);
	fd = open(name, O_RDONLY);
	if (fd < 0) {
		/* kernel.core_uses_pid */
		snprintf(name, sizeof(name), "%s/core.%d", folder, child);
		fd = open(name, O_RDONLY);
	}
	CHECK(fd >= 0 && read(fd, magic, 4) == 4 && memcmp(magic, ELFMAG, 4) == 0);
	close(fd);
	CHECK(unlink(name) == 0 && chdir("/") == 0 && rmdir(folder) == 0);
}

const struct area process_areas[] = {
	{ "process", process_round }, { "signal", signal_round }, { "core", core_round }, { NULL, NULL },
};
