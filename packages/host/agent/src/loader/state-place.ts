import type { Edges } from '../edges/edges.ts';

/** Where systemd reads mounts from; those of /etc/fstab are in the generator's. */
const UNIT_FOLDERS = [
  '/etc/systemd/system',
  '/run/systemd/system',
  '/run/systemd/generator',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];
/** What the state lies on, and how systemd names it (systemd.mount(5)). */
const PLACES = {
  '/var': 'var',
  '/var/lib': 'var-lib',
  '/var/lib/kmend-agent': 'var-lib-kmend\\x2dagent',
} as const;

/**
 * A mount that this host's state lies on and that is not there yet: early in a boot, where it comes over the network.
 * What lies under it is no state. `undefined`: everything is mounted.
 */
export async function missingMount(edges: Edges): Promise<string | undefined> {
  const mounts = (await edges.files.text('/proc/self/mountinfo', 16_000_000)) ?? '';
  // proc(5): the fifth field is the mount point; after ` - ` comes the type. An automount is no more than a promise.
  const mounted = new Set(
    mounts.split('\n').flatMap((line) => (/ - autofs /.test(line) ? [] : [line.split(' ')[4] ?? ''])),
  );
  for (const [place, name] of Object.entries(PLACES)) {
    if (mounted.has(place)) continue;
    for (const folder of UNIT_FOLDERS)
      for (const kind of ['mount', 'automount'])
        if (await edges.files.exists(`${folder}/${name}.${kind}`)) return place;
  }
  return undefined;
}
