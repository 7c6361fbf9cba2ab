import { chmod, copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * A root folder with a shell and little else: where a package manager runs maintainer scripts for real. Needs
 * busybox-static and root.
 */
export async function smallRoot(root: string): Promise<string> {
  for (const folder of [
    'bin',
    'dev',
    'tmp',
    'usr/sbin',
    'usr/lib',
    'var/lib/dpkg/updates',
    'var/lib/dpkg/info',
    'var/lib/rpm',
    'var/log',
  ]) {
    await mkdir(join(root, folder), { recursive: true });
  }
  await copyFile('/bin/busybox', join(root, 'bin/busybox'));
  await chmod(join(root, 'bin/busybox'), 0o755);
  for (const name of ['sh', 'rm', 'ls', 'echo', 'cat', 'mkdir']) await symlink('busybox', join(root, 'bin', name));
  await writeFile(join(root, 'dev/null'), '');
  // dpkg runs no trigger of a package whose dependencies are missing.
  const status = ['gpgv', 'kmod'].map(
    (name) =>
      `Package: ${name}\nStatus: install ok installed\nMaintainer: x\nVersion: 1\nArchitecture: amd64\nDescription: x\n`,
  );
  await writeFile(join(root, 'var/lib/dpkg/status'), status.join('\n'));
  await writeFile(join(root, 'var/lib/dpkg/available'), '');
  for (const name of ['gpgv', 'kmod']) {
    await writeFile(join(root, `var/lib/dpkg/info/${name}.list`), '/.\n');
    await writeFile(join(root, `var/lib/dpkg/info/${name}.md5sums`), '');
  }
  return root;
}

/** What the made-up loader was called with in it, and with what installed. */
export async function callsIn(root: string): Promise<string[]> {
  const text = await readFile(join(root, 'calls'), 'utf8').catch(() => '');
  await writeFile(join(root, 'calls'), '');
  return text.split('\n').filter((line) => line !== '');
}
