/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/if_alg.h>
#include <linux/keyctl.h>

static long keyctl(int operation, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
	return syscall(SYS_keyctl, operation, a, b, c, d);
}

static void keys_round(void)
{
	char name[40], got[64];

	CHECK(keyctl(KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0) > 0);
	for (int round = 0; round < 20; round++) {
		snprintf(name, sizeof(name), "exercise:%d", round);
		long key = syscall(SYS_add_key, "user", name, "secret", 6, KEY_SPEC_SESSION_KEYRING);
		CHECK(key > 0);
		CHECK(keyctl(KEYCTL_READ, key, (unsigned long)got, sizeof(got), 0) == 6 && memcmp(got, "secret", 6) == 0);
		CHECK(keyctl(KEYCTL_UPDATE, key, (unsigned long)"other", 5, 0) == 0);
		CHECK(syscall(SYS_request_key, "user", name, NULL, 0) == key);
		CHECK(keyctl(KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, (unsigned long)"user", (unsigned long)name, 0) == key);
		CHECK(keyctl(KEYCTL_SETPERM, key, 0x3f3f0000, 0, 0) == 0);
		CHECK(keyctl(round % 2 ? KEYCTL_REVOKE : KEYCTL_INVALIDATE, key, 0, 0, 0) == 0);
	}
	CHECK(keyctl(KEYCTL_CLEAR, KEY_SPEC_SESSION_KEYRING, 0, 0, 0) == 0);
}

static void crypto_round(void)
{
	struct sockaddr_alg hash = { .salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256" };
	unsigned char digest[32];
	int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);

	if (fd < 0 && errno == EAFNOSUPPORT)
		return;
	CHECK(fd >= 0 && bind(fd, (void *)&hash, sizeof(hash)) == 0);
	int operation = accept(fd, NULL, NULL);
	CHECK(operation >= 0);
	for (int round = 0; round < 20; round++) {
		CHECK(send(operation, "abc", 3, 0) == 3);
		CHECK(read(operation, digest, sizeof(digest)) == sizeof(digest) && digest[0] == 0xba && digest[31] == 0xad);
	}
	close(operation);
	close(fd);
}

const struct area key_areas[] = { { "keys", keys_round }, { "af_alg", crypto_round }, { NULL, NULL } };
