import assert from 'node:assert/strict';
import { renameSync, symlinkSync } from 'node:fs';
import { test } from 'node:test';
import { owner, shells, TestHost } from './testing/host.ts';
import { TestKey } from './testing/key.ts';

/** What a package may hold that must never reach the kernel: how it comes about, and the code. */
const bad: Record<string, [code: string, make: (host: TestHost, context: { after(end: () => void): void }) => void]> = {
  'a signature with another key': [
    'signature-wrong',
    (host, context) => {
      const foreign = new TestKey('foreign');
      context.after(() => foreign.remove());
      host.install({ position: 1, key: foreign });
    },
  ],
  'a signature of another manifest': [
    'signature-wrong',
    (host) => {
      const { directory } = host.install({ position: 1 });
      host.write(`${directory}/manifest.sig`, owner().sign('something else'));
    },
  ],
  'a signature of a weak digest': [
    'signature-wrong',
    (host) => {
      const { directory } = host.install({ position: 1 });
      const signature = owner().sign(
        host.read(`${directory}/manifest`),
        '--digest-algo',
        'SHA1',
        '--allow-weak-digest-algos',
      );
      host.write(`${directory}/manifest.sig`, signature);
    },
  ],
  'a signature file without a signature': [
    'signature-wrong',
    (host) => host.write(`${host.install({ position: 1 }).directory}/manifest.sig`, ''),
  ],
  'a missing manifest.sig': [
    'package-incomplete',
    (host) => host.remove(`${host.install({ position: 1 }).directory}/manifest.sig`),
  ],
  'a missing manifest': [
    'package-incomplete',
    (host) => host.remove(`${host.install({ position: 1 }).directory}/manifest`),
  ],
  'a missing livepatch.ko': [
    'package-incomplete',
    (host) => host.remove(`${host.install({ position: 1 }).directory}/livepatch.ko`),
  ],
  'changed bytes': [
    'livepatch-damaged',
    (host) => {
      const { directory } = host.install({ position: 1 });
      host.write(`${directory}/livepatch.ko`, host.read(`${directory}/livepatch.ko`).replace('stacked', 'stuffed'));
    },
  ],
  'truncated bytes': [
    'livepatch-damaged',
    (host) => host.write(`${host.install({ position: 1 }).directory}/livepatch.ko`, 'kmend'),
  ],
  'a manifest above the limit': [
    'manifest-too-large',
    (host) =>
      host.forge(
        host.install({ position: 1 }),
        (it) => it + 'function vmlinux aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n'.repeat(6000),
      ),
  ],
  'noise in place of a manifest': [
    'manifest-garbage',
    (host) => host.forge(host.install({ position: 1 }), () => 'kmend-livepatch 1\n\0\0\u0007'),
  ],
  'a package on a host without a key': [
    'key-missing',
    (host) => {
      host.install({ position: 1 });
      host.remove('/usr/share/kmend-livepatch/packages.gpg');
    },
  ],
  'a package on a host with an empty key': [
    'key-missing',
    (host) => {
      host.install({ position: 1 });
      host.write('/usr/share/kmend-livepatch/packages.gpg', '');
    },
  ],
  'a package signed with a revoked key': [
    'signature-wrong',
    (host, context) => {
      const revoked = new TestKey('revoked');
      context.after(() => revoked.remove());
      host.install({ position: 1, key: revoked });
      host.write('/usr/share/kmend-livepatch/packages.gpg', revoked.revoked());
    },
  ],
};

/** Changes of a well-formed manifest, each signed by the owner: still garbage. */
const garbage: Record<string, (manifest: string) => string> = {
  'an empty one': () => '',
  'another format': (it) => it.replace('kmend-livepatch 1', 'kmend-livepatch 2'),
  'a path for a package': (it) => it.replace(/^package .*$/m, 'package livepatch-../../etc'),
  'the package of another directory': (it) => it.replace(/^package .*$/m, 'package livepatch-other'),
  'the release of another directory': (it) => it.replace(/^release .*$/m, 'release 6.1.0-48-amd64'),
  'a build id in capitals': (it) => it.replace(/^build-id ab/m, 'build-id AB'),
  'another kind': (it) => it.replace('kind stacked', 'kind loose'),
  'position zero': (it) => it.replace(/^position .*$/m, 'position 0'),
  'a position in octal': (it) => it.replace(/^position .*$/m, 'position 010'),
  'a position that is a command': (it) => it.replace(/^position .*$/m, 'position $(reboot)'),
  'a module that is not of its id': (it) => it.replace(/^module .*$/m, 'module kmend_000000000000'),
  'a foreign module': (it) => it.replace(/^module .*$/m, 'module ext4'),
  'a size beyond bounds': (it) => it.replace(/^size .*$/m, 'size 99999999'),
  'keys in another order': (it) => it.replace(/^(kind .*)\n(position .*)$/m, '$2\n$1'),
  'a key twice': (it) => it.replace(/^(kind .*)$/m, '$1\n$1'),
  'an unknown key': (it) => `${it}force yes\n`,
  'no fix': (it) => it.replace(/^fix .*\n/m, ''),
  'a fix without a title': (it) => it.replace(/^fix (\S+) .*$/m, 'fix $1'),
  'no function': (it) => it.replaceAll(/^function .*\n/gm, ''),
  'an option for a function': (it) => it.replace(/^function vmlinux .*$/m, 'function vmlinux -f;x'),
  'itself to stand on': (it) => it.replace(/^fix/m, `on ${/^module (.*)$/m.exec(it)?.[1]}\nfix`),
  'two spaces': (it) => it.replace('kind stacked', 'kind  stacked'),
  'a carriage return': (it) => it.replaceAll('\n', '\r\n'),
};

for (const [name, shell] of Object.entries(shells)) {
  for (const [what, [code, make]] of Object.entries(bad)) {
    test(`${name}: refuses ${what} with ${code}, and does not run insmod`, async (t) => {
      const host = new TestHost(t, shell);
      make(host, t);
      const ran = await host.run('sync', '--package');
      assert.deepEqual([ran.code, host.outcome(), host.calls()], [0, code, []], ran.err);
      assert.equal((await host.run('sync')).code, 5);
      assert.equal((await host.run('status')).code, 1);
    });
  }

  test(`${name}: rejects a signed manifest that is malformed`, async (t) => {
    for (const [what, change] of Object.entries(garbage)) {
      const host = new TestHost(t, shell);
      const fine = host.install({ position: 1 });
      const wrong = host.install({ position: 2 });
      host.forge(wrong, change);
      const ran = await host.run('sync');
      assert.deepEqual([ran.code, host.outcome()], [5, 'manifest-garbage'], `${what}: ${ran.err}`);
      // What is beside it is loaded all the same.
      assert.deepEqual(host.calls(), [`insmod ${fine.module}`], what);
      const status = await host.run('status');
      assert.deepEqual([status.code, status.err], [2, ''], what);
    }
  });

  test(`${name}: keeps what is loaded when the key has expired`, async (t) => {
    const host = new TestHost(t, shell);
    const expired = new TestKey('expired', '20200101T000000!', '1y');
    t.after(() => expired.remove());
    host.write('/usr/share/kmend-livepatch/packages.gpg', expired.publicKey);
    const { module } = host.install({ position: 1, key: expired });
    const ran = await host.run('sync');
    assert.deepEqual([ran.code, host.enabled()], [0, [module]], ran.err);
  });

  test(`${name}: does not follow a link in place of a file`, async (t) => {
    const host = new TestHost(t, shell);
    const { directory } = host.install({ position: 1 });
    renameSync(host.path(`${directory}/livepatch.ko`), host.path('/fake/elsewhere'));
    symlinkSync(host.path('/fake/elsewhere'), host.path(`${directory}/livepatch.ko`));
    assert.equal((await host.run('sync')).code, 5);
    assert.deepEqual([host.outcome(), host.calls()], ['package-incomplete', []]);
  });
}
