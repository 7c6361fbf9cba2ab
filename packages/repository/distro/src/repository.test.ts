import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { createKey } from './openpgp.ts';
import { RELEASE } from './testing/livepatch.ts';
import { publisher } from './testing/publishing.ts';
import { hasCode } from './testing/world.ts';

const META = `livepatch-${RELEASE}`;
const A = { fixes: ['CVE-2026-1001'], functions: ['f'] };
const B = { fixes: ['CVE-2026-1002'], functions: ['g'] };

test('keeps the bytes of packages after a change of key, and gives the loader both keys', async (t) => {
  const { folder, clock, take, apt, depot } = await publisher(t);
  await take(A);
  const first = await apt();
  const deb = join(depot.packages, `deb/${META}-cve-2026-1001_1.1_amd64.deb`);
  const before = await readFile(deb);
  const keyFile = join(folder, 'next.key');
  await createKey(run, { keyFile, name: 'Next', email: 'n@example.invalid', time: clock.now(), algorithm: 'ed25519' });
  await take(B);
  const second = await apt({ key: { keyFile } });
  assert.notEqual(second.fingerprint, first.fingerprint);
  assert.deepEqual(await readFile(deb), before);
  assert.ok(second.packages.includes('kmend-livepatch_0.1.0-2_all.deb'));
  const loader = join(depot.packages, 'deb/kmend-livepatch_0.1.0-2_all.deb');
  await runOk(run, 'dpkg-deb', ['-x', loader, join(folder, 'x')]);
  for (const [name, version] of [
    ['cve-2026-1001', '1.1'],
    ['cve-2026-1002', '2.1'],
  ]) {
    await runOk(run, 'dpkg-deb', [
      '-x',
      join(depot.packages, `deb/${META}-${name}_${version}_amd64.deb`),
      join(folder, 'x'),
    ]);
    const at = join(folder, `x/usr/lib/kmend-livepatch/${RELEASE}/${META}-${name}`);
    const keyring = join(folder, 'x/usr/share/kmend-livepatch/packages.gpg');
    await runOk(run, 'gpgv', ['--keyring', keyring, join(at, 'manifest.sig'), join(at, 'manifest')]);
  }
});

test('no longer publishes a withdrawn livepatch, and points the metapackage to the one below', async (t) => {
  const { take, apt, depot } = await publisher(t);
  await take(A);
  await take(B);
  await apt();
  await depot.withdraw(RELEASE);
  const { packages } = await apt();
  assert.deepEqual(packages, [
    'kmend-livepatch_0.1.0-1_all.deb',
    `${META}-cve-2026-1001_1.1_amd64.deb`,
    `${META}_1_amd64.deb`,
    `${META}_3_amd64.deb`,
    'livepatch-amd64_1_amd64.deb',
  ]);
  const control = (
    await runOk(run, 'dpkg-deb', ['--info', join(depot.packages, `deb/${META}_3_amd64.deb`)])
  ).toString();
  assert.match(control, new RegExp(`Depends: kmend-livepatch, ${META}-cve-2026-1001 \\(= 1.1\\)`));
});

test('rebuilds a package that was damaged in the depot, and refuses one with other content', async (t) => {
  const { folder, take, apt, depot } = await publisher(t);
  await take(A);
  await apt();
  const deb = join(depot.packages, `deb/${META}-cve-2026-1001_1.1_amd64.deb`);
  const before = await readFile(deb);
  // A file of its own: the repository has the same one.
  await rm(deb);
  await writeFile(deb, 'damaged');
  await apt();
  assert.deepEqual(await readFile(deb), before);
  const path = join(folder, 'depot/depot.json');
  await writeFile(path, (await readFile(path, 'utf8')).replaceAll('net: mend', 'net: alter'));
  await assert.rejects(apt(), hasCode('release-taken'));
});

test('does not pack a module that differs from the depot’s record', async (t) => {
  const { take, apt, depot } = await publisher(t);
  const { entry } = await take(A);
  await writeFile(depot.modulePath(entry), 'another module');
  await assert.rejects(apt(), hasCode('depot-damaged'));
});

test('refuses settings that hosts could not parse', async (t) => {
  const { folder, take, apt, options } = await publisher(t);
  await take(A);
  for (const wrong of [
    { origin: 'a\nb' },
    { maintainer: 'nobody' },
    { maintainer: 'a\nb <c@d.e>' },
    { url: 'x' },
    { validDays: 0 },
  ]) {
    await assert.rejects(
      apt({ settings: { ...options.settings, ...wrong } }),
      hasCode('setting-invalid'),
      JSON.stringify(wrong),
    );
  }
  assert.deepEqual(await readdir(join(folder, 'served')), []);
});
