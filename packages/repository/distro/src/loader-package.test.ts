import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { exists, run, runOk } from '@kmend/base/node';
import { metapackageName } from './names.ts';
import { RELEASE } from './testing/livepatch.ts';
import { publisher } from './testing/publishing.ts';
import { callsIn, smallRoot } from './testing/small-root.ts';

const META = metapackageName(RELEASE);
const A = { fixes: ['CVE-2026-1001'], functions: ['f'] };
const B = { fixes: ['CVE-2026-1002'], functions: ['g'] };
const SYNC = 'sync --package';

test('contains everything of its folder, its keyring and its triggers', async (t) => {
  const { folder, take, apt, depot } = await publisher(t);
  await take(A);
  const { fingerprint } = await apt();
  const deb = join(depot.packages, 'deb/kmend-livepatch_0.1.0-1_all.deb');
  const contents = (await runOk(run, 'dpkg-deb', ['--contents', deb])).toString();
  for (const line of [
    '-rwxr-xr-x root/root .* ./usr/sbin/kmend-livepatch',
    '-rw-r--r-- root/root .* ./usr/lib/kmend-livepatch-loader/say.sh',
    '-rw-r--r-- root/root .* ./lib/systemd/system/kmend-livepatch.service',
    '-rw-r--r-- root/root .* ./usr/share/kmend-livepatch/packages.gpg',
  ]) {
    assert.match(contents, new RegExp(`^${line}$`, 'm'));
  }
  const info = (await runOk(run, 'dpkg-deb', ['--info', deb])).toString();
  assert.match(info, /^ Depends: gpgv, kmod$/m);
  await runOk(run, 'dpkg-deb', ['--raw-extract', deb, join(folder, 'x')]);
  const show = [
    '--homedir',
    folder,
    '--show-keys',
    '--with-colons',
    join(folder, 'x/usr/share/kmend-livepatch/packages.gpg'),
  ];
  assert.match((await runOk(run, 'gpg', show)).toString(), new RegExp(`^fpr:+${fingerprint}:$`, 'm'));
  for (const script of ['postinst', 'prerm', 'postrm']) {
    const path = join(folder, 'x/DEBIAN', script);
    await runOk(run, 'sh', ['-n', path]);
    const text = (await runOk(run, 'cat', [path])).toString();
    assert.doesNotMatch(text, /@[A-Z]+@/);
    assert.match(text, /kmend-livepatch-shutdown.service kmend-livepatch.service/);
    assert.doesNotMatch(text, /soak/, 'a unit without [Install] is not enabled');
  }
  const postinst = await readFile(join(folder, 'x/DEBIAN/postinst'), 'utf8');
  assert.match(
    postinst,
    /for unit in kmend-livepatch-shutdown.service; do systemctl start/,
    'the boot unit is for the next boot',
  );
});

test('dpkg starts the loader once a run, and never fails for it', async (t) => {
  const { folder, take, apt, depot } = await publisher(t);
  await take(A);
  await take(B);
  await apt();
  const root = await smallRoot(join(folder, 'root'));
  const deb = (name: string): string => join(depot.packages, 'deb', name);
  const dpkg = async (...words: string[]): Promise<void> => {
    const args = ['--root', root, '--force-bad-path', ...words];
    await runOk(run, 'dpkg', args, { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
  };
  const stack = [
    deb(`${META}-cve-2026-1001_1.1_amd64.deb`),
    deb(`${META}-cve-2026-1002_2.1_amd64.deb`),
    deb(`${META}_2_amd64.deb`),
  ];
  await dpkg('--install', deb('kmend-livepatch_0.1.0-1_all.deb'), ...stack);
  const [first, ...more] = await callsIn(root);
  assert.match(first ?? '', new RegExp(`^${SYNC}`));
  assert.ok(more.length <= 1);
  assert.match(more.at(-1) ?? first ?? '', /cve-2026-1001 .*cve-2026-1002/);
  // One package goes: the loader looks once, and what it says does not matter to dpkg.
  await writeFile(join(root, 'fail'), '');
  await dpkg('--remove', META, `${META}-cve-2026-1002`);
  assert.deepEqual(await callsIn(root), [`${SYNC} ${META}-cve-2026-1001`]);
  const status = (await runOk(run, 'dpkg', ['--root', root, '--audit'])).toString();
  assert.equal(status, '', 'nothing is half-configured');
  // Everything is removed in one run: what was loaded is reverted while the loader is still there.
  await mkdir(join(root, 'var/lib/kmend-livepatch'), { recursive: true });
  await dpkg('--purge', `${META}-cve-2026-1001`, 'kmend-livepatch');
  assert.ok((await callsIn(root)).includes(SYNC));
  assert.equal(await exists(join(root, 'var/lib/kmend-livepatch')), false);
  assert.equal(await exists(join(root, 'usr/lib/kmend-livepatch')), false);
});

test('makes a new revision only for a change of the loader', async (t) => {
  const { folder, take, apt } = await publisher(t);
  await take(A);
  assert.ok((await apt()).packages.includes('kmend-livepatch_0.1.0-1_all.deb'));
  assert.ok((await apt()).packages.includes('kmend-livepatch_0.1.0-1_all.deb'));
  await writeFile(join(folder, 'loader/parts/more.sh'), '# more\n');
  assert.ok((await apt()).packages.includes('kmend-livepatch_0.1.0-2_all.deb'));
});
