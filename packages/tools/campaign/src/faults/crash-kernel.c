/*
 * Loads the kernel that is to run after a crash (kexec_file_load(2), as kdump-tools do): crash-kernel KERNEL INITRAMFS
 * ARGUMENTS. The running one must have been started with crashkernel=.
 */
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "crash-kernel KERNEL INITRAMFS ARGUMENTS\n");
		return 2;
	}
	int kernel = open(argv[1], O_RDONLY | O_CLOEXEC);
	int initramfs = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (kernel < 0 || initramfs < 0) {
		perror("open");
		return 1;
	}
	if (syscall(SYS_kexec_file_load, kernel, initramfs, strlen(argv[3]) + 1, argv[3], KEXEC_FILE_ON_CRASH) != 0) {
		perror("kexec_file_load");
		return 1;
	}
	return 0;
}
