/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/futex.h>
#include <mqueue.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/timerfd.h>

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
	struct seminfo limits;
	CHECK(shmctl(memory, IPC_STAT, &status) == 0 && status.shm_nattch == 1);
	CHECK(shmdt(shared) == 0);
	CHECK(semctl(set, 0, SEM_INFO, &limits) >= 0 && limits.semusz > 0);
	CHECK(msgctl(queue, IPC_RMID, NULL) == 0 && semctl(set, 0, IPC_RMID) == 0 && shmctl(memory, IPC_RMID, NULL) == 0);
}

static void posix_round(void)
{
	char name[40], got[128];
	struct mq_attr attributes = { .mq_maxmsg = 4, .mq_msgsize = 64 };

	snprintf(name, sizeof(name), "/exercise-%d", getpid());
	mqd_t queue = mq_open(name, O_RDWR | O_CREAT, 0600, &attributes);
	if (queue == (mqd_t)-1 && errno == ENOSYS) {
		absent("POSIX message queues");
		return;
	}
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
}

enum { WAITERS = 3 };

struct words {
	int lock, queue, started, woken;
};

static struct words *words;

static long futex(int *word, int operation, int value, const void *timeout, int *other, int wanted)
{
	return syscall(SYS_futex, word, operation, value, timeout, other, wanted);
}

/*
 * Waits at one word, is moved to a lock with priority inheritance, and gets it
 * (Documentation/locking/futex-requeue-pi.rst).
 */
static void waiter(void)
{
	__atomic_fetch_add(&words->started, 1, __ATOMIC_SEQ_CST);
	CHECK(futex(&words->queue, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &words->lock, 0) == 0);
	__atomic_fetch_add(&words->woken, 1, __ATOMIC_SEQ_CST);
	CHECK(futex(&words->lock, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0) == 0);
	_exit(0);
}

static void futex_round(void)
{
	pid_t children[WAITERS];
	int status, moved = 0, word = 1;
	struct timespec soon = { .tv_nsec = 1000000 };

	CHECK(futex(&word, FUTEX_WAIT, 1, &soon, NULL, 0) == -1 && errno == ETIMEDOUT);
	CHECK(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0) == 0);
	words = mmap(NULL, sizeof(*words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(words != MAP_FAILED);
	for (int index = 0; index < WAITERS; index++) {
		children[index] = fork();
		if (children[index] == 0)
			waiter();
	}
	for (int attempt = 0; attempt < 20000 && moved < WAITERS; attempt++) {
		long now = futex(&words->queue, FUTEX_CMP_REQUEUE_PI, 1, (void *)(unsigned long)WAITERS, &words->lock, 0);
		CHECK(now >= 0);
		moved += now > 0 ? now : 0;
		usleep(1000);
	}
	CHECK(moved == WAITERS);
	for (int index = 0; index < WAITERS; index++)
		CHECK(waitpid(children[index], &status, 0) == children[index] && status == 0);
	CHECK(words->woken == WAITERS && words->started == WAITERS);
	munmap(words, sizeof(*words));
}

const struct area ipc_areas[] = {
	{ "sysv", sysv_round }, { "posix", posix_round }, { "futex", futex_round }, { NULL, NULL },
};
