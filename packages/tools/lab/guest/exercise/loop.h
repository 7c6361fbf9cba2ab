/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/loop.h>

enum { IMAGE_SIZE = 24 << 20, LONG_VALUE = 9000 };

static char image[64];

static void makes(void)
{
	int null = open("/dev/null", O_WRONLY);

	dup2(null, 1);
	execl("/usr/sbin/mkfs.ext4", "mkfs.ext4", "-q", "-O", "ea_inode", image, (char *)NULL);
	CHECK(!"execl");
}

/* A value so long that it has an inode of its own (fs/ext4/xattr.c), written, replaced and removed. */
static void long_attributes(const char *path)
{
	static char value[LONG_VALUE], got[LONG_VALUE];
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	CHECK(fd >= 0);
	for (int round = 0; round < 4; round++) {
		memset(value, 'a' + round, sizeof(value));
		CHECK(fsetxattr(fd, "trusted.long", value, sizeof(value), 0) == 0);
		CHECK(fgetxattr(fd, "trusted.long", got, sizeof(got)) == sizeof(got) && memcmp(value, got, sizeof(got)) == 0);
	}
	close(fd);
	/* With the file goes its value. */
	CHECK(unlink(path) == 0);
}

static void mounted(void)
{
	char device[32];
	int control = open("/dev/loop-control", O_RDWR), file = open(image, O_RDWR);
	int loop = -1;

	CHECK(control >= 0 && file >= 0);
	/* Somebody else may take the free one in between. */
	for (int attempt = 0; attempt < 20 && loop < 0; attempt++) {
		snprintf(device, sizeof(device), "/dev/loop%d", ioctl(control, LOOP_CTL_GET_FREE));
		loop = open(device, O_RDWR | O_CLOEXEC);
		if (loop >= 0 && ioctl(loop, LOOP_SET_FD, file) != 0) {
			close(loop);
			loop = -1;
		}
		if (loop < 0)
			usleep(50000);
	}
	CHECK(loop >= 0);
	CHECK(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount(device, "/mnt", "ext4", 0, NULL) == 0);
	in_folder("/mnt");
	long_attributes("/mnt/long");
	CHECK(umount("/mnt") == 0);
	CHECK(ioctl(loop, LOOP_CLR_FD) == 0);
}

/* A file system of its own in a file. */
static void loop_round(void)
{
	if (access("/usr/sbin/mkfs.ext4", X_OK) != 0 || access("/dev/loop-control", R_OK) != 0) {
		absent("loop devices");
		return;
	}
	snprintf(image, sizeof(image), "/dev/shm/image-%d", getpid());
	int file = open(image, O_RDWR | O_CREAT, 0600);
	CHECK(file >= 0 && ftruncate(file, IMAGE_SIZE) == 0);
	close(file);
	in_child(makes);
	in_child(mounted);
	CHECK(unlink(image) == 0);
	usleep(PAUSE_US);
}

const struct area loop_areas[] = { { "loop", loop_round }, { NULL, NULL } };
