import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run, runOk } from '@kmend/base/node';
import { makeAptRoot } from '@kmend/base/testing';
import type { Cleanup } from './world.ts';

/** A key of OpenPGP that signs, in a folder of its own. */
export async function signer(t: Cleanup, home: string) {
  await mkdir(home, { mode: 0o700, recursive: true });
  const gpg = (...args: string[]) => runOk(run, 'gpg', ['--homedir', home, '--batch', '--yes', ...args]);
  t.after(async () => void (await run('gpgconf', ['--homedir', home, '--kill', 'all'])));
  await gpg(
    '--passphrase',
    '',
    '--pinentry-mode',
    'loopback',
    '--quick-generate-key',
    'kmend test',
    'ed25519',
    'sign',
    '0',
  );
  return { publicKey: (await gpg('--armor', '--export')).toString(), gpg };
}

export type Signer = Awaited<ReturnType<typeof signer>>;

/** Writes a signed APT repository with one package of this version. */
export async function writeAptRepository(folder: string, version: string, { gpg }: Signer): Promise<void> {
  const tree = `${folder}.tree`;
  await mkdir(join(tree, 'DEBIAN'), { recursive: true });
  const control = [
    'Package: livepatch-demo',
    `Version: ${version}`,
    'Architecture: amd64',
    'Maintainer: k <k@example.org>',
  ];
  await writeFile(join(tree, 'DEBIAN/control'), `${[...control, 'Description: demo'].join('\n')}\n`);
  const suite = join(folder, 'dists/updates');
  const index = 'main/binary-amd64';
  await mkdir(join(suite, index, 'by-hash/SHA512'), { recursive: true });
  await mkdir(join(folder, 'pool'), { recursive: true });
  const deb = `pool/livepatch-demo_${version}_amd64.deb`;
  await runOk(run, 'dpkg-deb', ['--root-owner-group', '--build', tree, join(folder, deb)]);
  const packages = join(suite, index, 'Packages');
  await writeFile(packages, await runOk(run, 'apt-ftparchive', ['packages', 'pool'], { cwd: folder }));
  await copyFile(
    packages,
    join(
      suite,
      index,
      'by-hash/SHA512',
      createHash('sha512')
        .update(await readFile(packages))
        .digest('hex'),
    ),
  );
  const fields = {
    Origin: 'kmend',
    Label: 'kmend',
    Suite: 'updates',
    Codename: 'updates',
    Architectures: 'amd64',
    Components: 'main',
    'Acquire-By-Hash': 'yes',
  };
  const options = Object.entries(fields).flatMap(([name, value]) => [
    '-o',
    `APT::FTPArchive::Release::${name}=${value}`,
  ]);
  // Elsewhere first: it would list itself.
  const release = await runOk(run, 'apt-ftparchive', [...options, 'release', suite]);
  await writeFile(join(suite, 'Release'), release);
  await gpg('--output', join(suite, 'InRelease'), '--clearsign', join(suite, 'Release'));
}

/** A host as far as apt sees one: everything in a folder of its own. `apt` answers with what apt says. */
export async function aptHost(root: string, { publicKey }: Signer, url: string) {
  const env = await makeAptRoot(root);
  await mkdir(join(root, 'downloads'));
  await writeFile(join(root, 'etc/apt/key.asc'), publicKey);
  const source = `deb [signed-by=${root}/etc/apt/key.asc] ${url} updates main\n`;
  await writeFile(join(root, 'etc/apt/sources.list'), source);
  return {
    /** Puts a login in `auth.conf`, or none. */
    async login(user?: string, password?: string): Promise<void> {
      const path = join(root, 'etc/apt/auth.conf.d/kmend.conf');
      if (user === undefined) await rm(path, { force: true });
      else await writeFile(path, `machine ${url} login ${user} password ${password}\n`, { mode: 0o600 });
    },
    async apt(...args: string[]): Promise<{ exitCode: number; said: string }> {
      const { exitCode, stdout, stderr } = await run('apt-get', args, { env, cwd: join(root, 'downloads') });
      return { exitCode, said: `${stdout.toString()}${stderr}` };
    },
    downloaded: (name: string) => readFile(join(root, 'downloads', name)),
  };
}
