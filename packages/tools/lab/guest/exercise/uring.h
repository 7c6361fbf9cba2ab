/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/io_uring.h>
#include <sys/uio.h>

struct ring {
	int fd;
	unsigned *tail, *mask, *array, *done_head, *done_tail, *done_mask;
	struct io_uring_sqe *entries;
	struct io_uring_cqe *results;
	void *rings;
	size_t rings_size, entries_size;
};

static bool ring_open(struct ring *ring)
{
	struct io_uring_params params = { 0 };

	ring->fd = syscall(__NR_io_uring_setup, 16, &params);
	if (ring->fd < 0)
		return false;
	size_t submit = params.sq_off.array + params.sq_entries * sizeof(unsigned);
	size_t complete = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
	ring->rings_size = submit > complete ? submit : complete;
	ring->entries_size = params.sq_entries * sizeof(struct io_uring_sqe);
	char *base = mmap(NULL, ring->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	ring->entries = mmap(NULL, ring->entries_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	CHECK(base != MAP_FAILED && ring->entries != MAP_FAILED);
	ring->rings = base;
	ring->tail = (void *)(base + params.sq_off.tail);
	ring->mask = (void *)(base + params.sq_off.ring_mask);
	ring->array = (void *)(base + params.sq_off.array);
	ring->done_head = (void *)(base + params.cq_off.head);
	ring->done_tail = (void *)(base + params.cq_off.tail);
	ring->done_mask = (void *)(base + params.cq_off.ring_mask);
	ring->results = (void *)(base + params.cq_off.cqes);
	return true;
}

static struct io_uring_sqe *ring_next(struct ring *ring, int opcode, int fd, const void *address, unsigned size)
{
	unsigned index = *ring->tail & *ring->mask;
	struct io_uring_sqe *entry = &ring->entries[index];

	memset(entry, 0, sizeof(*entry));
	entry->opcode = opcode;
	entry->fd = fd;
	entry->addr = (unsigned long)address;
	entry->len = size;
	ring->array[index] = index;
	__atomic_store_n(ring->tail, *ring->tail + 1, __ATOMIC_RELEASE);
	return entry;
}

/* Submits and waits for all; whether each gave what was wanted, in any order. */
static bool ring_run(struct ring *ring, unsigned count, const int *wanted)
{
	bool good = syscall(__NR_io_uring_enter, ring->fd, count, count, IORING_ENTER_GETEVENTS, NULL, 0) == (long)count;

	for (unsigned left = count; left > 0;) {
		unsigned head = *ring->done_head;
		if (head == __atomic_load_n(ring->done_tail, __ATOMIC_ACQUIRE)) {
			/* Woken early: wait for the rest. */
			if (syscall(__NR_io_uring_enter, ring->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0 && errno != EINTR)
				return false;
			continue;
		}
		struct io_uring_cqe *result = &ring->results[head & *ring->done_mask];
		good = good && result->user_data < count && result->res == wanted[result->user_data];
		__atomic_store_n(ring->done_head, head + 1, __ATOMIC_RELEASE);
		left--;
	}
	return good;
}

/* Buffers and files that the ring knows beforehand. */
static void fixed(struct ring *ring, int fd)
{
	/* Not the program's own variables: pages of a file cannot be registered. */
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *buffers[2] = { map, map + 4096 };
	struct iovec vectors[2] = { { buffers[0], 4096 }, { buffers[1], 4096 } };

	CHECK(map != MAP_FAILED);
	memset(buffers[0], 'f', 4096);
	CHECK(syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_BUFFERS, vectors, 2) == 0);
	CHECK(syscall(__NR_io_uring_register, ring->fd, IORING_REGISTER_FILES, &fd, 1) == 0);
	struct io_uring_sqe *entry = ring_next(ring, IORING_OP_WRITE_FIXED, 0, buffers[0], 4096);
	entry->flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
	entry = ring_next(ring, IORING_OP_READ_FIXED, 0, buffers[1], 4096);
	entry->flags = IOSQE_FIXED_FILE;
	entry->buf_index = 1;
	entry->user_data = 1;
	CHECK(ring_run(ring, 2, (int[]){ 4096, 4096 }));
	CHECK(memcmp(buffers[0], buffers[1], 4096) == 0);
	CHECK(syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_FILES, NULL, 0) == 0);
	CHECK(syscall(__NR_io_uring_register, ring->fd, IORING_UNREGISTER_BUFFERS, NULL, 0) == 0);
	munmap(map, 8192);
}

/* What waits and is woken, and what waits and is called back. */
static void waiting(struct ring *ring, const int *pipes)
{
	struct __kernel_timespec late = { .tv_sec = 100 };
	char byte = 'w';

	ring_next(ring, IORING_OP_POLL_ADD, pipes[0], NULL, 0)->poll_events = POLLIN;
	struct io_uring_sqe *entry = ring_next(ring, IORING_OP_WRITE, pipes[1], &byte, 1);
	entry->user_data = 1;
	CHECK(ring_run(ring, 2, (int[]){ POLLIN, 1 }));
	CHECK(read(pipes[0], &byte, 1) == 1);
	/* Named by their data: 0 and 1. */
	ring_next(ring, IORING_OP_POLL_ADD, pipes[0], NULL, 0)->poll_events = POLLIN;
	ring_next(ring, IORING_OP_TIMEOUT, -1, &late, 1)->user_data = 1;
	ring_next(ring, IORING_OP_POLL_REMOVE, -1, (void *)0, 0)->user_data = 2;
	ring_next(ring, IORING_OP_TIMEOUT_REMOVE, -1, (void *)1, 0)->user_data = 3;
	CHECK(ring_run(ring, 4, (int[]){ -ECANCELED, -ECANCELED, 0, 0 }));
	/* Work that a thread of the kernel does and that waits there (io-wq). */
	entry = ring_next(ring, IORING_OP_READ, pipes[0], &byte, 1);
	entry->flags = IOSQE_ASYNC;
	ring_next(ring, IORING_OP_WRITE, pipes[1], "a", 1)->user_data = 1;
	CHECK(ring_run(ring, 2, (int[]){ 1, 1 }));
}

static void messages(struct ring *ring)
{
	int pair[2];
	char got[16];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	/* Armed on the empty socket: what comes wakes it. */
	ring_next(ring, IORING_OP_RECV, pair[1], got, sizeof(got));
	ring_next(ring, IORING_OP_SEND, pair[0], "message", 7)->user_data = 1;
	CHECK(ring_run(ring, 2, (int[]){ 7, 7 }));
	CHECK(memcmp(got, "message", 7) == 0);
	close(pair[0]);
	close(pair[1]);
}

static void uring_round(void)
{
	struct ring ring;
	char path[64], data[2048], got[2048];
	struct __kernel_timespec soon = { .tv_nsec = 1000000 };

	if (!ring_open(&ring)) {
		if (errno == ENOSYS)
			absent("io_uring");
		else
			CHECK(!"io_uring_setup");
		return;
	}
	snprintf(path, sizeof(path), "/dev/shm/uring-%d", getpid());
	int fd = open(path, O_RDWR | O_CREAT, 0600), pipes[2];
	CHECK(fd >= 0 && pipe(pipes) == 0);
	for (int round = 0; round < 20; round++) {
		memset(data, 'a' + round, sizeof(data));
		ring_next(&ring, IORING_OP_NOP, -1, NULL, 0)->user_data = 0;
		struct io_uring_sqe *entry = ring_next(&ring, IORING_OP_WRITE, fd, data, sizeof(data));
		entry->user_data = 1;
		entry->flags = IOSQE_IO_LINK;
		entry = ring_next(&ring, IORING_OP_FSYNC, fd, NULL, 0);
		entry->user_data = 2;
		entry->flags = IOSQE_IO_LINK;
		ring_next(&ring, IORING_OP_READ, fd, got, sizeof(got))->user_data = 3;
		CHECK(ring_run(&ring, 4, (int[]){ 0, sizeof(data), 0, sizeof(data) }));
		CHECK(memcmp(data, got, sizeof(data)) == 0);
		struct iovec vectors[2] = { { got, 1024 }, { got + 1024, 1024 } };
		ring_next(&ring, IORING_OP_READV, fd, vectors, 2)->user_data = 0;
		ring_next(&ring, IORING_OP_TIMEOUT, -1, &soon, 1)->user_data = 1;
		entry = ring_next(&ring, IORING_OP_POLL_ADD, pipes[1], NULL, 0);
		entry->poll_events = POLLOUT;
		entry->user_data = 2;
		CHECK(ring_run(&ring, 3, (int[]){ sizeof(data), -ETIME, POLLOUT }));
	}
	fixed(&ring, fd);
	waiting(&ring, pipes);
	messages(&ring);
	close(pipes[0]);
	close(pipes[1]);
	close(fd);
	unlink(path);
	munmap(ring.rings, ring.rings_size);
	munmap(ring.entries, ring.entries_size);
	close(ring.fd);
}

const struct area uring_areas[] = { { "io_uring", uring_round }, { NULL, NULL } };
