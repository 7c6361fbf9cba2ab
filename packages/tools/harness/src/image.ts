/** Where a guest has the image that it builds. */
export const IMAGE = '/srv/image';

/**
 * Mounts, in a guest, another file system with a Debian of its own in it, and what image builders mount there; the
 * host's /run too. What changes in the image lies below /srv/upper/u.
 */
export const MOUNT_IMAGE = `set -e
truncate -s 1G /srv/image.ext4 && mkfs.ext4 -q /srv/image.ext4 && mkdir -p /srv/upper ${IMAGE} && mount -o loop /srv/image.ext4 /srv/upper
mkdir /srv/upper/u /srv/upper/w && modprobe overlay
mount -t overlay overlay -o lowerdir=/,upperdir=/srv/upper/u,workdir=/srv/upper/w ${IMAGE}
for d in proc sys dev run; do mount --bind /$d ${IMAGE}/$d; done`;

/** Unmounts it again; what changed in it stays below /srv/upper/u. */
export const UNMOUNT_IMAGE = `for d in run dev sys proc; do umount ${IMAGE}/$d; done; umount ${IMAGE}`;

/** A guest becomes another machine, from its next boot on. */
export const OTHER_MACHINE = 'printf "%s\\n" "$(tr -d - </proc/sys/kernel/random/uuid)" >/etc/machine-id && sync';
