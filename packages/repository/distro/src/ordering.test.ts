import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

/**
 * The units of both packages beside those of a host whose /var, /var/lib or the state itself comes over the network,
 * before systemd's own judge. A cycle makes systemd drop a unit of it: networking, or the mount.
 */
const run = promisify(execFile);
const FOLDERS = ['../loader/units/', '../../../host/agent/src/package/files/'].map(
  (it) => new URL(it, import.meta.url),
);
const UNIT = /\.(service|socket|timer)$/;

/**
 * As a distribution has them (ifupdown's networking.service, NetworkManager's and systemd-networkd's are ordered the
 * same way).
 */
const NETWORK = {
  'networking.service': `[Unit]
DefaultDependencies=no
Wants=network.target
After=local-fs.target network-pre.target
Before=network.target shutdown.target network-online.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target network-online.target
`,
};

/** As systemd-fstab-generator(8) makes it of `server:/x PLACE nfs defaults 0 0`. */
function mountUnit(place: string): string {
  return `[Unit]
Before=remote-fs.target
After=remote-fs-pre.target network-online.target network.target
Wants=network-online.target
[Mount]
What=server:/x
Where=${place}
Type=nfs
`;
}

async function verify(mounts: Readonly<Record<string, string>>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'kmend-units-'));
  try {
    const units: Record<string, string> = { ...NETWORK };
    for (const folder of FOLDERS)
      for (const name of (await readdir(folder)).filter((it) => UNIT.test(it)))
        units[name] = await readFile(new URL(name, folder), 'utf8');
    for (const [name, place] of Object.entries(mounts)) {
      units[name] = mountUnit(place);
      await mkdir(join(root, 'remote-fs.target.requires'), { recursive: true });
      await symlink(`../${name}`, join(root, 'remote-fs.target.requires', name));
    }
    for (const [name, text] of Object.entries(units)) {
      await writeFile(join(root, name), text);
      for (const target of /^WantedBy=(.*)$/m.exec(text)?.[1]?.split(' ') ?? []) {
        await mkdir(join(root, `${target}.wants`), { recursive: true });
        await symlink(`../${name}`, join(root, `${target}.wants`, name));
      }
    }
    const env = { PATH: '/usr/bin:/bin', SYSTEMD_UNIT_PATH: `${root}:` };
    const targets = ['multi-user.target', 'rescue.target', 'shutdown.target', 'remote-fs.target'];
    const verified = await run('systemd-analyze', ['verify', '--man=no', ...targets], { env }).catch(
      (error: { stdout: string; stderr: string }) => error,
    );
    // What is not a matter of order: this machine has neither package, nor everything that its own units name.
    return verified.stderr
      .split('\n')
      .filter((line) => /order|cycle|kmend.*(?:Unknown|Invalid|ignoring|Failed to parse)/i.test(line))
      .join('\n');
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

const layouts: Record<string, Readonly<Record<string, string>>> = {
  'everything on the root file system': {},
  '/var on the network': { 'var.mount': '/var' },
  '/var/lib on the network': { 'var-lib.mount': '/var/lib' },
  'the states on the network': {
    'var-lib-kmend\\x2dagent.mount': '/var/lib/kmend-agent',
    'var-lib-kmend\\x2dlivepatch.mount': '/var/lib/kmend-livepatch',
  },
};

for (const [what, mounts] of Object.entries(layouts)) {
  test(`systemd finds no ordering cycle in ${what}`, async () => {
    assert.equal(await verify(mounts), '');
  });
}
