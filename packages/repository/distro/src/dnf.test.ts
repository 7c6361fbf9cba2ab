import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { createKey } from './openpgp.ts';
import { dnfSetup } from './setup.ts';
import { DnfHost } from './testing/dnf-host.ts';
import { RELEASE } from './testing/livepatch.ts';
import { publisher } from './testing/publishing.ts';
import { callsIn, smallRoot } from './testing/small-root.ts';

const META = `livepatch-${RELEASE}`;
const A = { fixes: ['CVE-2026-1001'], functions: ['f'], titles: { 'CVE-2026-1001': 'tcp: check the <length> & more' } };
const B = { fixes: ['speed-up'], functions: ['g'] };
const C = { fixes: ['CVE-2026-1003'], functions: ['f', 'h'], dependsOn: ['CVE-2026-1001'] };
const ALL = {
  kind: 'cumulative',
  fixes: ['CVE-2026-1001', 'speed-up', 'CVE-2026-1003'],
  functions: ['f', 'g', 'h'],
} as const;

test('dnf reads packages, their order and advisories with both signature checks on', async (t) => {
  const { folder, take, dnf, web, depot } = await publisher(t);
  for (const one of [A, B, C]) await take(one);
  const { keyring } = await dnf();
  const host = await DnfHost.make(join(folder, 'host'));
  const { files } = dnfSetup({ url: `${web.url}/dnf`, keyring });
  assert.match(files[1]?.text ?? '', /\ngpgcheck=1\nrepo_gpgcheck=1\n/);
  await host.place(files);
  const listed = await host.dnf('repoquery', '--queryformat', '%{name} %{evr} %{arch}');
  assert.equal(listed.exitCode, 0, listed.said);
  for (const one of [`${META} 3-1 x86_64`, `${META}-cve-2026-1003 3.1-1 x86_64`, 'kmend-livepatch 0.1.0-1 noarch']) {
    assert.match(listed.said, new RegExp(`^${one.replaceAll('.', '\\.')}$`, 'm'));
  }
  const needs = (await host.dnf('repoquery', '--requires', `${META}-cve-2026-1003`)).said;
  assert.match(needs, /^kmend-livepatch$/m);
  assert.match(needs, new RegExp(`^${META}-speed-up = 2.1-1$`, 'm'));
  const rpm = (name: string): string => join(depot.packages, 'rpm', name);
  await host.installed(
    rpm(`${META}-1-1.x86_64.rpm`),
    rpm(`${META}-cve-2026-1001-1.1-1.x86_64.rpm`),
    rpm('kmend-livepatch-0.1.0-1.noarch.rpm'),
  );
  const advisories = (await host.dnf('updateinfo', 'list', '--updates')).said;
  assert.match(advisories, new RegExp(`^KMEND-${RELEASE}-3 +Important/Sec\\. +${META}-3-1\\.x86_64$`, 'm'));
  const all = (await host.dnf('updateinfo', 'info', '--all')).said;
  assert.match(all, /CVEs?: CVE-2026-1001/);
  assert.match(all, /tcp: check the <length> & more/);
  assert.match(all, /Type: bugfix/);
  const cves = (await host.dnf('updateinfo', 'list', '--updates', '--with-cve')).said;
  assert.match(cves, /^CVE-2026-1003 /m);
  const changelog = (await host.dnf('repoquery', '--changelogs', META)).said;
  assert.match(changelog, /CVE-2026-1003: net: mend CVE-2026-1003/);
});

test('adds to the stack in an upgrade, and replaces it with the cumulative livepatch', async (t) => {
  const { folder, take, dnf, web, depot } = await publisher(t);
  await take(A);
  await take(B);
  const { keyring } = await dnf();
  const host = await DnfHost.make(join(folder, 'host'));
  await host.place(dnfSetup({ url: `${web.url}/dnf`, keyring }).files);
  const rpm = (name: string): string => join(depot.packages, 'rpm', name);
  await host.installed(
    rpm('kmend-livepatch-0.1.0-1.noarch.rpm'),
    rpm(`${META}-1-1.x86_64.rpm`),
    rpm(`${META}-cve-2026-1001-1.1-1.x86_64.rpm`),
  );
  // Only what would be done: assumeno ends with 1.
  const upgrade = (await host.dnf('--assumeno', 'upgrade')).said;
  assert.match(upgrade, new RegExp(`Upgrading:\\n +${META} +x86_64 +2-1`));
  assert.match(upgrade, new RegExp(`Installing dependencies:\\n +${META}-speed-up +x86_64 +2\\.1-1`));
  assert.doesNotMatch((await host.dnf('--assumeno', 'upgrade', '--security')).said, /Upgrading:/);
  await take(C);
  await take(ALL);
  await dnf();
  const replaced = (await host.dnf('--assumeno', 'upgrade')).said;
  assert.match(
    replaced,
    new RegExp(`${META}-cumulative +x86_64 +4\\.1-1[\\s\\S]*replacing +${META}-cve-2026-1001.x86_64 1.1-1`),
  );
});

test('rpm accepts only a package that is signed with the key', async (t) => {
  const { folder, take, dnf, depot } = await publisher(t, 'rsa4096');
  await take(A);
  const { keyring } = await dnf();
  const rpm = join(depot.packages, `rpm/${META}-cve-2026-1001-1.1-1.x86_64.rpm`);
  const root = join(folder, 'db');
  const check = async (file: string): Promise<string> =>
    (await run('rpm', ['--dbpath', root, '-K', '--verbose', file])).stdout.toString();
  await mkdir(root);
  await runOk(run, 'rpm', ['--dbpath', root, '--initdb']);
  assert.match(await check(rpm), /NOKEY/);
  await writeFile(join(folder, 'key.asc'), keyring);
  await runOk(run, 'rpm', ['--dbpath', root, '--import', join(folder, 'key.asc')]);
  const good = await check(rpm);
  assert.match(good, /Signature, key ID [0-9a-f]+: OK/);
  assert.doesNotMatch(good, /NOKEY|BAD/);
  const bytes = await readFile(rpm);
  bytes[bytes.length - 100] = (bytes[bytes.length - 100] ?? 0) ^ 1;
  await copyFile(rpm, join(folder, 'changed.rpm'));
  await writeFile(join(folder, 'changed.rpm'), bytes);
  assert.match(await check(join(folder, 'changed.rpm')), /BAD|digest.*NOT OK/);
  const list = (await runOk(run, 'rpm', ['-qp', '--dump', '--nosignature', rpm])).toString();
  assert.match(
    list,
    new RegExp(
      `^/usr/lib/kmend-livepatch/${RELEASE}/${META}-cve-2026-1001/livepatch.ko 2001 \\d+ [0-9a-f]{64} 0100644 root root`,
      'm',
    ),
  );
  assert.equal((await runOk(run, 'rpm', ['-qp', '--scripts', '--nosignature', rpm])).toString(), '');
});

test('dnf refuses metadata that was changed or is signed with another key', async (t) => {
  const { folder, clock, take, dnf, web } = await publisher(t);
  await take(A);
  const { keyring } = await dnf();
  const host = await DnfHost.make(join(folder, 'host'));
  await host.place(dnfSetup({ url: `${web.url}/dnf`, keyring }).files);
  web.tamper = (path, data) =>
    path.endsWith('repomd.xml') ? Buffer.from(data.toString().replace('<revision>', '<revision>1')) : undefined;
  const changed = await host.dnf('repoquery');
  // Debian's dnf continues with its other repositories.
  assert.doesNotMatch(changed.said, /livepatch-/);
  assert.match(changed.said, /repomd\.xml GPG signature verification error: Bad GPG signature/);
  web.tamper = undefined;
  const other = join(folder, 'other.key');
  await createKey(run, {
    keyFile: other,
    name: 'Somebody',
    email: 's@example.invalid',
    time: clock.now(),
    algorithm: 'ed25519',
  });
  await dnf({ key: { keyFile: other } });
  const wrong = await host.dnf('repoquery');
  assert.doesNotMatch(wrong.said, /livepatch-/);
  assert.match(wrong.said, /GPG signature verification error/);
});

test('rpm starts the loader after each run, and does not fail for it', async (t) => {
  const { folder, take, dnf, depot } = await publisher(t);
  await take(A);
  await take(B);
  await dnf();
  const root = await smallRoot(join(folder, 'root'));
  await runOk(run, 'rpm', ['--root', root, '--initdb']);
  const file = (name: string): string => join(depot.packages, 'rpm', name);
  const rpm = async (...words: string[]): Promise<void> => {
    await runOk(run, 'rpm', ['--root', root, '--nodeps', '--nosignature', ...words]);
  };
  await rpm('--install', file('kmend-livepatch-0.1.0-1.noarch.rpm'), file(`${META}-cve-2026-1001-1.1-1.x86_64.rpm`));
  assert.match((await callsIn(root)).at(-1) ?? '', /^sync --package .*cve-2026-1001/);
  await rpm('--install', file(`${META}-speed-up-2.1-1.x86_64.rpm`));
  assert.deepEqual(await callsIn(root), [`sync --package ${META}-cve-2026-1001 ${META}-speed-up`]);
  await writeFile(join(root, 'fail'), '');
  await rpm('--erase', `${META}-speed-up`);
  assert.deepEqual(await callsIn(root), [`sync --package ${META}-cve-2026-1001`]);
  await rpm('--erase', `${META}-cve-2026-1001`, 'kmend-livepatch');
  assert.ok((await callsIn(root)).length > 0);
  const left = await run('ls', [join(root, 'usr/lib/kmend-livepatch')]);
  assert.notEqual(left.exitCode, 0, 'no folder is left');
});

test('writes the same packages and metadata from the same depot', async (t) => {
  const { folder, take, dnf, depot } = await publisher(t);
  await take(A);
  await dnf({ out: join(folder, 'one') });
  await runOk(run, 'rm', ['-r', depot.packages]);
  await dnf({ out: join(folder, 'two') });
  const differing = await run('diff', ['-rq', join(folder, 'one/'), join(folder, 'two/')]);
  assert.equal(differing.exitCode, 0, differing.stdout.toString());
});
