/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/futex.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

static void sysv_round(void)
{
	struct {
		long type;
		char text[100];
	} message = { 3, "a message" };
	int queue = msgget(IPC_PRIVATE, 0600), set = semget(IPC_PRIVATE, 2, 0600), memory = shmget(IPC_PRIVATE, 65536, 0600);

	CHECK(queue >= 0 && set >= 0 && memory >= 0);
	for (int round = 0; round < 20; round++) {
		message.type = 1 + round % 3;
		CHECK(msgsnd(queue, &message, sizeof(message.text), 0) == 0);
		CHECK(msgrcv(queue, &message, sizeof(message.text), 0, 0) == sizeof(message.text));
		struct sembuf up = { 0, 1, SEM_UNDO }, down = { 0, -1, SEM_UNDO };
		CHECK(semop(set, &up, 1) == 0 && semop(set, &down, 1) == 0);
	}
	char *shared = shmat(memory, NULL, 0);
	CHECK(shared != (void *)-1);
	shared[100] = 's';
	struct shmid_ds status;
	CHECK(shmctl(memory, IPC_STAT, &status) == 0 && status.shm_nattch == 1);
	CHECK(shmdt(shared) == 0);
	CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && semctl(set, 0, IPC_RMID) == 0 && shmctl(memory, IPC_RMID, NULL) == 0);
}

static void posix_round(void)
{
	char name[40], got[128];
	struct mq_attr attributes = { .mq_maxmsg = 4, .mq_msgsize = 64 };

	snprintf(name, sizeof(name), "/exercise-%d", getpid());
	mqd_t queue = mq_open(name, O_RDWR | O_CREAT, 0600, &attributes);
	if (queue == (mqd_t)-1 && errno == ENOSYS)
		return;
	CHECK(queue != (mqd_t)-1);
	for (int round = 0; round < 20; round++) {
		CHECK(mq_send(queue, "text", 4, round % 5) == 0);
		CHECK(mq_receive(queue, got, sizeof(got), NULL) == 4);
	}
	CHECK(mq_close(queue) == 0 && mq_unlink(name) == 0);
	int event = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
	unsigned long long count = 3;
	CHECK(write(event, &count, 8) == 8 && read(event, &count, 8) == 8 && count == 3);
	struct itimerspec when = { .it_value.tv_nsec = 1000000 };
	CHECK(timerfd_settime(timer, 0, &when, NULL) == 0 && read(timer, &count, 8) == 8);
	close(event);
	close(timer);
	int word = 1;
	struct timespec soon = { .tv_nsec = 1000000 };
	CHECK(syscall(SYS_futex, &word, FUTEX_WAIT, 1, &soon, NULL, 0) == -1 && errno == ETIMEDOUT);
	CHECK(syscall(SYS_futex, &word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
}

static void process_round(void)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS) != 0)
			_exit(1);
		execl("/bin/true", "true", (char *)NULL);
		_exit(2);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0 && kill(getpid(), SIGUSR1) == 0);
	struct timespec soon = { .tv_sec = 2 };
	CHECK(sigtimedwait(&set, NULL, &soon) == SIGUSR1);
}

const struct area ipc_areas[] = {
	{ "sysv", sysv_round }, { "posix", posix_round }, { "process", process_round }, { NULL, NULL },
};
