/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

enum { HUGE = 2 << 20 };

static void memory_round(void)
{
	size_t size = 4 << 20;
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status;

	CHECK(map != MAP_FAILED);
	memset(map, 7, size);
	pid_t child = fork();
	if (child == 0) {
		/* Copies on writing. */
		memset(map, 8, size);
		_exit(map[size - 1] == 8 ? 0 : 1);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	CHECK(map[size - 1] == 7);
	CHECK(mprotect(map, size / 2, PROT_READ) == 0);
	CHECK(madvise(map + size / 2, size / 2, MADV_DONTNEED) == 0 && map[size - 1] == 0);
	char *grown = mremap(map, size, size * 2, MREMAP_MAYMOVE);
	CHECK(grown != MAP_FAILED || errno == EFAULT);
	if (grown != MAP_FAILED)
		CHECK(munmap(grown, size * 2) == 0);
	else
		munmap(map, size);
	int shared = memfd_create("exercise", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(shared >= 0 && ftruncate(shared, 65536) == 0 && fcntl(shared, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
	CHECK(ftruncate(shared, 0) == -1 && errno == EPERM);
	close(shared);
}

/* Huge pages: filled, copied by a child, split. */
static void huge_round(void)
{
	char *map = mmap(NULL, 3 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status;

	CHECK(map != MAP_FAILED);
	char *huge = (char *)(((unsigned long)map + HUGE - 1) & -(unsigned long)HUGE);
	if (madvise(huge, HUGE, MADV_HUGEPAGE) != 0) {
		absent("huge pages");
		munmap(map, 3 * HUGE);
		return;
	}
	memset(huge, 5, HUGE);
	pid_t child = fork();
	if (child == 0) {
		huge[HUGE / 2] = 6;
		_exit(huge[HUGE / 2] == 6 && huge[HUGE - 1] == 5 ? 0 : 1);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
	CHECK(mprotect(huge, HUGE, PROT_READ) == 0 && mprotect(huge, HUGE, PROT_READ | PROT_WRITE) == 0);
	/* Only a part of it. */
	CHECK(mprotect(huge, 4096, PROT_READ) == 0 && huge[0] == 5);
	CHECK(madvise(huge + HUGE / 2, 8192, MADV_DONTNEED) == 0 && huge[HUGE / 2] == 0 && huge[HUGE - 1] == 5);
	CHECK(munmap(map, 3 * HUGE) == 0);
}

/* More than a process usually has, told to be unimportant: file pages leave the memory, there is no swap. */
static void pressure_round(void)
{
	size_t size = 48 << 20;
	char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int file = open("/proc/self/exe", O_RDONLY);

	CHECK(map != MAP_FAILED && file >= 0);
	for (size_t at = 0; at < size; at += 4096)
		map[at] = at >> 12;
	char *program = mmap(NULL, 65536, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
	CHECK(program != MAP_FAILED && madvise(program, 65536, MADV_COLD) == 0 && madvise(program, 65536, MADV_PAGEOUT) == 0);
	CHECK(memcmp(program, "\177ELF", 4) == 0);
	bool good = true;
	for (size_t at = 0; at < size; at += 4096)
		good = good && map[at] == (char)(at >> 12);
	CHECK(good);
	close(file);
	munmap(program, 65536);
	CHECK(munmap(map, size) == 0);
	usleep(50000);
}

static void userfault_round(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };
	char page[4096];

	if (fd < 0 && errno == ENOSYS) {
		absent("userfaultfd");
		return;
	}
	CHECK(fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0);
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(map != MAP_FAILED);
	struct uffdio_register range = { .range = { (unsigned long)map, 8192 }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	CHECK(ioctl(fd, UFFDIO_REGISTER, &range) == 0);
	memset(page, 'u', sizeof(page));
	struct uffdio_copy copy = { .dst = (unsigned long)map, .src = (unsigned long)page, .len = 4096 };
	CHECK(ioctl(fd, UFFDIO_COPY, &copy) == 0 && map[4095] == 'u');
	struct uffdio_zeropage zero = { .range = { (unsigned long)map + 4096, 4096 } };
	CHECK(ioctl(fd, UFFDIO_ZEROPAGE, &zero) == 0 && map[8191] == 0);
	CHECK(ioctl(fd, UFFDIO_UNREGISTER, &range.range) == 0);
	close(fd);
	munmap(map, 8192);
}

const struct area memory_areas[] = {
	{ "memory", memory_round }, { "huge", huge_round }, { "pressure", pressure_round }, { "userfault", userfault_round }, { NULL, NULL },
};
