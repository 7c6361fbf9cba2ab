import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '@kmend/base';
import { bashArguments, exists, runOk, sha256 } from '@kmend/base/node';
import { toolEnvironment } from '@kmend/toolchain';
import { type DebianSystem, MMDEBSTRAP_HINT, mmdebstrapArguments } from '@kmend/toolchain/roots';
import type { LabEdges } from './edges.ts';
import { LabError } from './error.ts';
import { withLock } from './lock.ts';

/** The Debian root that all hosts of a suite start from; never written after it is made. */
export interface Root {
  /** ext4 image. */
  readonly image: string;
  /** Seconds it took to make now; 0 when it was there already. */
  readonly seconds: number;
}

const PACKAGES = [
  'systemd',
  'systemd-sysv',
  'dbus',
  'udev',
  'kmod',
  'iproute2',
  'procps',
  'libatomic1', // Node
  'ca-certificates',
  'qemu-guest-agent', // the lab's way in, without the network
];
/** Units that only cost boot time in a guest that lives for minutes and has no screen. */
const MASKED = [
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'fstrim.timer',
  'getty@tty1.service',
  'serial-getty@ttyS0.service',
  'systemd-logind.service',
  'systemd-update-utmp.service',
  'systemd-update-utmp-runlevel.service',
  'dev-hugepages.mount',
  'dev-mqueue.mount',
  'modprobe@dm_mod.service',
  'modprobe@drm.service',
  'modprobe@efi_pstore.service',
  'modprobe@loop.service',
  // Of the packages that exercises need (exercise-packages.ts), which start what they use themselves.
  'auditd.service',
  'fsidd.service',
  'mdmonitor.service',
  'nfs-blkmap.service',
  'nfs-server.service',
  'nftables.service',
  'nmbd.service',
  'o2cb.service',
  'ocfs2.service',
  'quota.service',
  'rpc-statd-notify.service',
  'rpcbind.service',
  'rpcbind.socket',
  'samba-ad-dc.service',
  'smbd.service',
  'xfs_scrub_all.timer',
];
/** Drivers of hardware that QEMU's chipset shows and no host of the lab uses: udev would load them in every boot. */
const IDLE_DRIVERS = [
  'acpi_cpufreq',
  'ahci',
  'button',
  'evdev',
  'i2c_i801',
  'iTCO_wdt',
  'lpc_ich',
  'pcspkr',
  'powernow_k8',
  'psmouse',
  'serio_raw',
];
const IMAGE_SIZE = '4G';

/** Runs last in the new root ($1): the network is set up by the initramfs, the machine id by the first boot. */
const CUSTOMIZE = `set -eu
echo kmend-lab >"$1/etc/hostname"
printf '127.0.0.1 localhost kmend-lab\\n' >"$1/etc/hosts"
echo 'nameserver 10.0.2.3' >"$1/etc/resolv.conf"
: >"$1/etc/machine-id"
ln -sf /lib/systemd/system/multi-user.target "$1/etc/systemd/system/default.target"
units=$1/etc/systemd/system
for unit in ${MASKED.join(' ')}; do ln -sf /dev/null "$units/$unit"; done
for driver in ${IDLE_DRIVERS.join(' ')}; do echo "blacklist $driver"; done >"$1/etc/modprobe.d/kmend-lab.conf"
# Each poll of the lab would be a line in the journal.
mkdir "$units/qemu-guest-agent.service.d" "$units/usr-lib-modules-.mount.d"
printf '[Service]\\nStandardOutput=null\\nStandardError=null\\n' >"$units/qemu-guest-agent.service.d/kmend-lab.conf"
# The initramfs mounted the modules; they stay in use until the very end.
printf '[Unit]\\nDefaultDependencies=no\\n' >"$units/usr-lib-modules-.mount.d/kmend-lab.conf"
`;

/**
 * Reads a tar archive of the root, writes one of an ext4 image (mostly holes, which tar keeps): as root of a user
 * namespace where the caller is not root, who could not keep the owners otherwise, and whose files that root could not
 * write. Device nodes are left out: such a root may not make them, and the initramfs brings devtmpfs.
 */
const MAKE_IMAGE = `set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
tar -C "$work/root" --exclude='./dev/*' -xf -
mke2fs -q -t ext4 -m 0 -N 65536 -E lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0 -d "$work/root" "$work/image" ${IMAGE_SIZE} >&2
tar -C "$work" --sparse -cf - image
`;

/**
 * Makes the root once; later calls find it. Callers at the same time, in any process, wait for one of them. `more`:
 * Debian packages that it has beside the usual ones; each such set is an image of its own.
 */
export async function prepareRoot(edges: LabEdges, suite: string, more: readonly string[] = []): Promise<Root> {
  const recipe = { suite, packages: [...PACKAGES, ...more], source: edges.systems ?? {}, customize: CUSTOMIZE };
  const image = join(edges.cache, `root-${recipeKey(recipe)}.ext4`);
  if (await exists(image)) return { image, seconds: 0 };
  return withLock(`${image}.lock`, edges.signal, async () => {
    if (await exists(image)) return { image, seconds: 0 };
    const start = edges.clock.monotonic();
    const work = `${image}.tmp`;
    await rm(work, { recursive: true, force: true });
    await mkdir(work, { recursive: true });
    try {
      await make(edges, recipe, work, image);
    } catch (error) {
      if (edges.signal.aborted) throw error;
      throw new LabError('lab-root-failed', `the lab's Debian root could not be made: ${errorText(error)}`, {
        cause: error,
        hint: MMDEBSTRAP_HINT,
      });
    } finally {
      await rm(work, { recursive: true, force: true });
    }
    return { image, seconds: (edges.clock.monotonic() - start) / 1000 };
  });
}

async function make(edges: LabEdges, recipe: DebianSystem, work: string, image: string): Promise<void> {
  const { run, progress, signal } = edges;
  const options = { signal, env: toolEnvironment() };
  const asRoot = process.getuid?.() === 0;
  const archive = join(work, 'root.tar');
  progress.step(`lab: install Debian ${recipe.suite}`);
  await runOk(run, 'mmdebstrap', mmdebstrapArguments(recipe, asRoot ? 'root' : 'unshare', archive), options);
  progress.step('lab: write the disk image');
  const helper = asRoot ? [] : ['mmdebstrap', '--unshare-helper'];
  const pipeline =
    'set -o pipefail; in=$1 out=$2 script=$3; shift 3; "$@" sh -c "$script" <"$in" | tar -C "$out" --no-same-owner -xf -';
  await runOk(run, 'bash', bashArguments(pipeline, archive, work, MAKE_IMAGE, ...helper), options);
  const partial = join(work, 'image');
  await runOk(run, 'sync', [partial], options);
  await rename(partial, image);
}

/** The key of a root: changes with everything that goes into it. */
function recipeKey(recipe: DebianSystem): string {
  const text = JSON.stringify([mmdebstrapArguments(recipe, 'root', ''), MAKE_IMAGE]);
  return sha256(text).slice(0, 16);
}
