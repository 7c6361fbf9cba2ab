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
	long ring = syscall(SYS_add_key, "keyring", "exercise", NULL, 0, KEY_SPEC_SESSION_KEYRING);
	long key = syscall(SYS_add_key, "user", "linked", "secret", 6, ring);
	CHECK(ring > 0 && key > 0);
	CHECK(keyctl(KEYCTL_LINK, key, KEY_SPEC_SESSION_KEYRING, 0, 0) == 0 && keyctl(KEYCTL_UNLINK, key, ring, 0, 0) == 0);
	CHECK(keyctl(KEYCTL_READ, ring, (unsigned long)got, sizeof(got), 0) == 0);
	CHECK(keyctl(KEYCTL_DESCRIBE, key, (unsigned long)got, sizeof(got), 0) > 0 && memcmp(got, "user;", 5) == 0);
	CHECK(keyctl(KEYCTL_SET_TIMEOUT, key, 100, 0, 0) == 0);
	CHECK(keyctl(KEYCTL_CLEAR, KEY_SPEC_SESSION_KEYRING, 0, 0, 0) == 0);
}

/* A transform's socket: -1 where the kernel does not have it. */
static int transform(const char *type, const char *name)
{
	struct sockaddr_alg address = { .salg_family = AF_ALG };
	int fd = socket(AF_ALG, SOCK_SEQPACKET, 0);

	snprintf((char *)address.salg_type, sizeof(address.salg_type), "%s", type);
	snprintf((char *)address.salg_name, sizeof(address.salg_name), "%s", name);
	if (fd >= 0 && bind(fd, (void *)&address, sizeof(address)) == 0)
		return fd;
	if (errno == EAFNOSUPPORT || errno == ENOENT)
		absent(name);
	else
		CHECK(!"bind of a transform");
	close(fd);
	return -1;
}

static void hash_round(void)
{
	unsigned char digest[32];
	int fd = transform("hash", "sha256");

	if (fd < 0)
		return;
	int operation = accept(fd, NULL, NULL);
	CHECK(operation >= 0);
	for (int round = 0; round < 20; round++) {
		CHECK(send(operation, "abc", 3, 0) == 3);
		CHECK(read(operation, digest, sizeof(digest)) == sizeof(digest) && digest[0] == 0xba && digest[31] == 0xad);
	}
	close(operation);
	close(fd);
}

/* One message through a cipher; whether it went and as much came back. */
static bool through(int operation, unsigned how, size_t iv_size, const void *text, size_t size, void *result, size_t result_size)
{
	union {
		char space[CMSG_SPACE(sizeof(unsigned)) + CMSG_SPACE(sizeof(struct af_alg_iv) + 16)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec vector = { (void *)text, size };
	struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control };
	struct cmsghdr *header = (void *)&control;

	header->cmsg_level = SOL_ALG;
	header->cmsg_type = ALG_SET_OP;
	header->cmsg_len = CMSG_LEN(sizeof(unsigned));
	memcpy(CMSG_DATA(header), &how, sizeof(how));
	message.msg_controllen = CMSG_SPACE(sizeof(unsigned));
	header = (void *)((char *)&control + message.msg_controllen);
	header->cmsg_level = SOL_ALG;
	header->cmsg_type = ALG_SET_IV;
	header->cmsg_len = CMSG_LEN(sizeof(struct af_alg_iv) + iv_size);
	struct af_alg_iv *iv = (void *)CMSG_DATA(header);
	iv->ivlen = iv_size;
	message.msg_controllen += CMSG_SPACE(sizeof(struct af_alg_iv) + iv_size);
	return sendmsg(operation, &message, 0) == (ssize_t)size && read(operation, result, result_size) == (ssize_t)result_size;
}

/* There and back. `tag`: bytes by which what is encrypted is longer. */
static void cipher(const char *type, const char *name, size_t iv_size, size_t tag)
{
	static const unsigned char key[16] = "sixteen bytes ok";
	unsigned char text[1024], secret[1024 + 16], back[1024];
	int fd = transform(type, name);

	if (fd < 0)
		return;
	CHECK(setsockopt(fd, SOL_ALG, ALG_SET_KEY, key, sizeof(key)) == 0);
	if (tag > 0)
		CHECK(setsockopt(fd, SOL_ALG, ALG_SET_AEAD_AUTHSIZE, NULL, tag) == 0);
	int operation = accept(fd, NULL, NULL);
	CHECK(operation >= 0);
	memset(text, 't', sizeof(text));
	for (int round = 0; round < 5; round++) {
		CHECK(through(operation, ALG_OP_ENCRYPT, iv_size, text, sizeof(text), secret, sizeof(text) + tag));
		CHECK(memcmp(text, secret, sizeof(text)) != 0);
		CHECK(through(operation, ALG_OP_DECRYPT, iv_size, secret, sizeof(text) + tag, back, sizeof(back)));
		CHECK(memcmp(text, back, sizeof(text)) == 0);
	}
	close(operation);
	close(fd);
}

static void cipher_round(void)
{
	cipher("skcipher", "cbc(aes)", 16, 0);
	cipher("aead", "gcm(aes)", 12, 16);
	/* The same on other processors; it goes by the name of the driver underneath (crypto/pcrypt.c). */
	cipher("aead", "pcrypt(gcm_base(ctr(aes-generic),ghash-generic))", 12, 16);
	int fd = transform("aead", "authencesn(hmac(sha256),cbc(aes))");
	if (fd >= 0)
		close(fd);
}

const struct area key_areas[] = { { "keys", keys_round }, { "hash", hash_round }, { "cipher", cipher_round }, { NULL, NULL } };
