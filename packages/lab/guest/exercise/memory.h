/* SPDX-License-Identifier: Apache-2.0 */
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

const struct area memory_areas[] = { { "memory", memory_round }, { NULL, NULL } };
