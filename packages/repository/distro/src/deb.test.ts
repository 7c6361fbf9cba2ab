import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, runOk, sha256 } from '@kmend/base/node';
import { withSigner } from './openpgp.ts';
import { BUILD_ID, exampleLivepatch, RELEASE } from './testing/livepatch.ts';
import { publisher } from './testing/publishing.ts';

const NAME = `livepatch-${RELEASE}-cve-2026-1001`;
const A = { fixes: ['CVE-2026-1001'], functions: ['tcp_ack', 'tcp_ack'] };

test('builds a livepatch package with the module, its manifest and a signature that gpgv accepts', async (t) => {
  const { folder, take, apt, depot, keyFile } = await publisher(t);
  await take(A);
  await apt();
  const deb = join(depot.packages, `deb/${NAME}_1.1_amd64.deb`);
  await runOk(run, 'dpkg-deb', ['--raw-extract', deb, join(folder, 'x')]);
  const at = join(folder, `x/usr/lib/kmend-livepatch/${RELEASE}/${NAME}`);
  const { manifest: livepatch, module } = exampleLivepatch(A);
  assert.deepEqual(await readFile(join(at, 'livepatch.ko')), module);
  const lines = [
    'kmend-livepatch 1',
    `package ${NAME}`,
    'version 1.1',
    `release ${RELEASE}`,
    `build-id ${BUILD_ID}`,
    'kind stacked',
    'position 1',
    `id ${livepatch.id}`,
    `module kmend_${livepatch.id}`,
    `sha256 ${sha256(module)}`,
    `size ${module.length}`,
    'fix CVE-2026-1001 net: mend CVE-2026-1001',
    'function vmlinux tcp_ack',
  ];
  assert.equal(await readFile(join(at, 'manifest'), 'utf8'), `${lines.join('\n')}\n`);
  const keyring = join(folder, 'keyring');
  await withSigner(run, { keyFile }, async (signer) => await writeFile(keyring, signer.keyring));
  const verify = ['--keyring', keyring, join(at, 'manifest.sig'), join(at, 'manifest')];
  assert.equal((await run('gpgv', verify)).exitCode, 0);
  await writeFile(join(at, 'manifest'), `${lines.join('\n')}\non kmend_000000000000\n`);
  assert.notEqual((await run('gpgv', verify)).exitCode, 0);
  const owners = (await runOk(run, 'dpkg-deb', ['--contents', deb])).toString();
  assert.doesNotMatch(owners, /^\S+ (?!root\/root)/m);
  const control = (await runOk(run, 'dpkg-deb', ['--info', deb])).toString();
  assert.match(control, /^ Depends: kmend-livepatch$/m);
  assert.doesNotMatch(control, /postinst|prerm/);
  const sums = (
    await runOk(run, 'md5sum', ['--check', '--quiet', 'DEBIAN/md5sums'], { cwd: join(folder, 'x') }).catch(String)
  ).toString();
  assert.match(sums, /manifest: FAILED|md5sum/, 'md5sums names every file: the one changed above is found');
});

test('escapes a fix’s name in fields, lines and macros', async (t) => {
  const { folder, take, apt, dnf, depot } = await publisher(t);
  const title = `a %(touch ${folder}/touched) %{lua:os.execute("touch ${folder}/touched")} $(touch x) <b>&amp;\tDepends: evil\u2028\u202e`;
  const fixes = ['CVE-2026-1001'];
  await take({ fixes, titles: { 'CVE-2026-1001': title } });
  await apt();
  await dnf();
  const said = title.replace('\t', ' ').slice(0, -2);
  const deb = join(depot.packages, `deb/${NAME}_1.1_amd64.deb`);
  const description = (await runOk(run, 'dpkg-deb', ['--field', deb, 'Description'])).toString();
  assert.ok(description.includes(`\n  CVE-2026-1001: ${said} (high)\n`), description);
  assert.equal((await runOk(run, 'dpkg-deb', ['--field', deb, 'Depends'])).toString(), 'kmend-livepatch\n');
  const rpm = join(depot.packages, `rpm/${NAME}-1.1-1.x86_64.rpm`);
  const told = (await runOk(run, 'rpm', ['-qp', '--qf', '%{DESCRIPTION}', rpm])).toString();
  assert.ok(told.includes(said), told);
  assert.notEqual((await run('ls', [join(folder, 'touched')])).exitCode, 0, 'no macro ran');
});
