import assert from 'node:assert/strict';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '@kmend/base/node';
import { Depot } from './depot/depot.ts';
import { createKey } from './openpgp.ts';
import { aptSetup } from './setup.ts';
import { AptHost, planOf } from './testing/apt-host.ts';
import { RELEASE, writeLivepatch } from './testing/livepatch.ts';
import { publisher } from './testing/publishing.ts';
import { hasCode } from './testing/world.ts';

const META = `livepatch-${RELEASE}`;
const A = { fixes: ['CVE-2026-1001'], functions: ['f'], titles: { 'CVE-2026-1001': 'tcp: check the length' } };
const B = { fixes: ['speed-up'], functions: ['g'] };
const C = { fixes: ['CVE-2026-1003'], functions: ['f', 'h'], dependsOn: ['CVE-2026-1001'] };
const D = { fixes: ['CVE-2026-1004'], functions: ['k'] };
const ALL = {
  kind: 'cumulative',
  fixes: ['CVE-2026-1001', 'speed-up', 'CVE-2026-1003'],
  functions: ['f', 'g', 'h'],
} as const;
const stacked = (...fixes: string[]): string[] => fixes.map((fix) => `${META}-${fix}`);

test('apt reads the order of the stack, the fixes of each package and its changelog', async (t) => {
  const { folder, clock, take, apt, web } = await publisher(t);
  clock.set(new Date());
  for (const one of [A, B, C]) await take(one);
  const { keyring, packages } = await apt();
  assert.equal(packages.length, 8, 'three livepatches, three states, the loader, and what follows the flavour');
  const host = await AptHost.make(join(folder, 'host'));
  await host.place(aptSetup({ url: `${web.url}/apt`, keyring }).files);
  const update = await host.get('update');
  assert.equal(update.exitCode, 0, update.said);
  assert.ok(
    web.asked.some((path) => path.includes('/by-hash/SHA256/')),
    'indices are fetched by their hash',
  );
  assert.deepEqual(planOf(await host.get('--simulate', 'install', META)), [
    'Inst kmend-livepatch',
    ...stacked('cve-2026-1001', 'speed-up', 'cve-2026-1003').map((name) => `Inst ${name}`),
    `Inst ${META}`,
  ]);
  const shown = (await host.cache('show', `${META}-cve-2026-1001`)).said;
  assert.match(shown, /CVE-2026-1001: tcp: check the length \(high\)/);
  assert.match((await host.cache('search', 'CVE-2026-1003')).said, /cve-2026-1003 - livepatch of CVE-2026-1003/);
  const changelog = await host.get('changelog', META);
  assert.match(
    changelog.said,
    /\(3\) stable; .*\n\n {2}\* CVE-2026-1003: net: mend CVE-2026-1003 \(high\)[\s\S]*\(1\) stable/,
  );
  const got = await host.get('--simulate', 'install', `${META}=1`);
  assert.deepEqual(planOf(got), [
    'Inst kmend-livepatch',
    ...stacked('cve-2026-1001').map((name) => `Inst ${name}`),
    `Inst ${META}`,
  ]);
});

test('publishes in the security suite the livepatches with a CVE and their dependencies', async (t) => {
  const { folder, clock, take, apt, options } = await publisher(t);
  clock.set(new Date());
  await take(A);
  await take(B);
  const { keyring } = await apt();
  const host = await AptHost.make(join(folder, 'host'));
  const sources = aptSetup({ url: `file://${options.out}`, keyring, suite: 'security' });
  await host.place(sources.files);
  await host.get('update');
  const policy = (await host.cache('policy', META)).said;
  assert.match(policy, /Candidate: 1\n/, 'the second state mends no CVE');
  assert.equal((await host.cache('show', `${META}-speed-up`)).exitCode, 100);
  await take(C);
  await apt();
  await host.get('update');
  assert.match((await host.cache('policy', META)).said, /Candidate: 3\n/);
  assert.ok(planOf(await host.get('--simulate', 'install', META)).includes(`Inst ${META}-speed-up`));
  const release = await readFile(join(options.out, 'dists/security/InRelease'), 'utf8');
  for (const line of ['Origin: example', 'Label: example-security', 'Suite: security']) {
    assert.ok(release.includes(`\n${line}\n`), release);
  }
});

test('adds to the stack in an upgrade, and removes nothing with the cumulative package', async (t) => {
  const { folder, clock, take, apt, options } = await publisher(t);
  clock.set(new Date());
  await take(A);
  await take(B);
  const { keyring } = await apt();
  const host = await AptHost.make(join(folder, 'host'));
  await host.place(aptSetup({ url: `file://${options.out}`, keyring }).files);
  const pool = join(options.out, 'pool/main');
  const deb = (name: string, version: string): string => join(pool, 'l', name, `${name}_${version}_amd64.deb`);
  const [a = '', b = ''] = stacked('cve-2026-1001', 'speed-up');
  const loader = join(pool, 'k/kmend-livepatch/kmend-livepatch_0.1.0-1_all.deb');
  await host.installed([loader, deb(a, '1.1'), deb(b, '2.1'), deb(META, '2')], [a, b, 'kmend-livepatch']);
  await take(C);
  await apt();
  await host.get('update');
  const upgrade = ['--simulate', '--with-new-pkgs', 'upgrade'];
  assert.deepEqual(planOf(await host.get(...upgrade)), [`Inst ${META}-cve-2026-1003`, `Inst ${META}`]);
  // The cumulative one comes and nothing has to go: what every upgrade policy does by itself.
  await take(ALL);
  await apt();
  await host.get('update');
  const consolidated = await host.get(...upgrade);
  assert.deepEqual(planOf(consolidated), [`Inst ${META}-cumulative`, `Inst ${META}`]);
  assert.match(consolidated.said, /no longer required:\n.*cve-2026-1001/);
  await take(D);
  await apt();
  await host.get('update');
  assert.deepEqual(planOf(await host.get(...upgrade)), [
    `Inst ${META}-cumulative`,
    `Inst ${META}-cve-2026-1004`,
    `Inst ${META}`,
  ]);
});

test('removes a deep stack in the run that installs the cumulative package', async (t) => {
  const { folder, clock, depot, take, apt, options } = await publisher(t);
  clock.set(new Date());
  const fixes = Array.from({ length: 6 }, (_, n) => `CVE-2026-20${String(n).padStart(2, '0')}`);
  for (const fix of fixes) await take({ fixes: [fix], functions: [`f_${fix}`] });
  const { keyring } = await apt();
  const host = await AptHost.make(join(folder, 'host'));
  await host.place(aptSetup({ url: `file://${options.out}`, keyring }).files);
  const deb = (name: string): string => join(depot.packages, 'deb', name);
  const names = stacked(...fixes.map((fix) => fix.toLowerCase()));
  const debs = names.map((name, index) => deb(`${name}_${index + 1}.1_amd64.deb`));
  await host.installed(
    [deb('kmend-livepatch_0.1.0-1_all.deb'), ...debs, deb(`${META}_6_amd64.deb`)],
    [...names, 'kmend-livepatch'],
  );
  await take({ kind: 'cumulative', fixes, functions: fixes }, { takeOut: true });
  await apt();
  await host.get('update');
  assert.deepEqual(
    planOf(await host.get('--simulate', 'dist-upgrade')).sort(),
    [`Inst ${META}`, `Inst ${META}-cumulative`, ...names.map((name) => `Remv ${name}`)].sort(),
  );
  assert.deepEqual(planOf(await host.get('--simulate', '--with-new-pkgs', 'upgrade')), []);
});

test('holds the newest state back by phased updates', async (t) => {
  const { folder, clock, depot, take, apt, options } = await publisher(t);
  clock.set(new Date());
  await take(A);
  const { keyring } = await apt();
  const host = await AptHost.make(join(folder, 'host'));
  await host.place(aptSetup({ url: `file://${options.out}`, keyring }).files);
  const deb = (name: string): string => join(depot.packages, 'deb', name);
  const [a = ''] = stacked('cve-2026-1001');
  await host.installed([deb('kmend-livepatch_0.1.0-1_all.deb'), deb(`${a}_1.1_amd64.deb`), deb(`${META}_1_amd64.deb`)]);
  await take(B);
  // This machine's id is not among the first hundredth.
  await depot.phase(RELEASE, 1);
  await apt();
  await host.get('update');
  assert.match((await host.cache('show', `${META}=2`)).said, /^Phased-Update-Percentage: 1$/m);
  assert.doesNotMatch((await host.cache('show', `${META}=1`)).said, /Phased/);
  const upgrade = ['--simulate', '--with-new-pkgs', 'upgrade'];
  assert.deepEqual(planOf(await host.get(...upgrade)), []);
  await depot.phase(RELEASE, 100);
  await apt();
  await host.get('update');
  assert.deepEqual(planOf(await host.get(...upgrade)), [`Inst ${META}-speed-up`, `Inst ${META}`]);
});

test('publishes the newest states in early first, and in the other suites when they get a share', async (t) => {
  const { folder, clock, depot, take, apt, options } = await publisher(t);
  clock.set(new Date());
  await take(A);
  const { keyring } = await apt();
  const [all, first] = [await AptHost.make(join(folder, 'all')), await AptHost.make(join(folder, 'first'))];
  await all.place(aptSetup({ url: `file://${options.out}`, keyring }).files);
  await first.place(aptSetup({ url: `file://${options.out}`, keyring, suite: 'early' }).files);
  const offered = async (host: AptHost): Promise<string[]> => {
    await apt();
    assert.equal((await host.get('update')).exitCode, 0);
    const { said } = await host.cache('madison', META);
    return [...said.matchAll(/\| +(\d+) \|/g)].map(([, version = '']) => version);
  };
  for (const fix of [B, C]) {
    await take(fix);
    await depot.phase(RELEASE, 0);
  }
  assert.deepEqual([await offered(all), await offered(first)], [['1'], ['3', '2', '1']]);
  assert.doesNotMatch((await first.cache('show', META)).said, /Phased/);
  // The newest is taken back: what it lay on is still for early hosts alone.
  await depot.withdraw(RELEASE);
  assert.deepEqual([await offered(all), await offered(first)], [['1'], ['4', '2', '1']]);
  await depot.phase(RELEASE, 50);
  assert.deepEqual(await offered(all), ['4', '2', '1']);
});

test('apt refuses metadata that was changed, is out of date, or is signed with another key', async (t) => {
  const { folder, clock, take, apt, web } = await publisher(t);
  clock.set(new Date());
  await take(A);
  const { keyring, validUntil } = await apt();
  const host = await AptHost.make(join(folder, 'host'));
  await host.place(aptSetup({ url: `${web.url}/apt`, keyring }).files);
  assert.equal((await host.get('update')).exitCode, 0);
  assert.ok(new Date(validUntil ?? 0).getTime() > Date.now());

  await host.forget();
  web.tamper = (path, data) =>
    path.endsWith('InRelease') ? Buffer.from(data.toString().replace('Origin: example', 'Origin: examp1e')) : undefined;
  const changed = await host.get('update');
  assert.notEqual(changed.exitCode, 0);
  assert.match(changed.said, /BADSIG/);

  await host.forget();
  web.tamper = (path, data) =>
    path.includes('/binary-amd64/') ? Buffer.concat([data.subarray(1), Buffer.from('\n')]) : undefined;
  assert.match((await host.get('update')).said, /Hash Sum mismatch/);
  web.tamper = undefined;

  await host.forget();
  clock.set(new Date(Date.now() - 20 * 86_400_000));
  await apt();
  const expired = await host.get('update');
  assert.notEqual(expired.exitCode, 0);
  assert.match(expired.said, /is expired/);

  clock.set(new Date());
  await host.forget();
  const other = join(folder, 'other.key');
  await createKey(run, {
    keyFile: other,
    name: 'Somebody',
    email: 's@example.invalid',
    time: clock.now(),
    algorithm: 'ed25519',
  });
  await apt({ key: { keyFile: other } });
  const wrong = await host.get('update');
  assert.notEqual(wrong.exitCode, 0);
  assert.match(wrong.said, /NO_PUBKEY/);
});

test('reads a repository that requires an activation key with auth.conf', async (t) => {
  const { folder, clock, take, apt, web } = await publisher(t);
  clock.set(new Date());
  await take(A);
  const { keyring } = await apt();
  web.authorization = `Basic ${Buffer.from('kmend-THIS-MACHINE:ACTIVATION-KEY').toString('base64')}`;
  const host = await AptHost.make(join(folder, 'host'));
  const url = `${web.url}/apt`;
  await host.place(aptSetup({ url, keyring }).files);
  assert.match((await host.get('update')).said, /401/);
  await host.place(aptSetup({ url, keyring, gated: true, allowPlainHttp: true }).files);
  const update = await host.get('update');
  assert.equal(update.exitCode, 0, update.said);
});

test('replaces a repository in one step, and keeps what the old index names', async (t) => {
  const { folder, clock, take, apt, options } = await publisher(t);
  clock.set(new Date());
  await take(A);
  await apt();
  const byHash = join(options.out, 'dists/updates/main/binary-amd64/by-hash/SHA256');
  const before = await readdir(byHash);
  await take(B);
  await apt();
  const after = await readdir(byHash);
  assert.ok(before.every((name) => after.includes(name)));
  assert.equal(after.length, 4);
  await take(C);
  // One that fails half-way changes nothing.
  await assert.rejects(apt({ loader: join(folder, 'none') }), hasCode('loader-missing'));
  await assert.rejects(apt({ out: folder }), hasCode('out-occupied'));
  assert.deepEqual(await readdir(byHash), after);
  assert.equal((await readdir(join(folder, 'served'))).filter((name) => name.startsWith('.apt.')).length, 2);
});

test('writes the same repository from the same depot', async (t) => {
  const { folder, clock, depot, take, apt } = await publisher(t);
  await take(A);
  await take(B);
  await apt({ out: join(folder, 'one') });
  // Every package is built again, signatures of manifests included.
  await rm(depot.packages, { recursive: true });
  clock.set('2026-11-02T00:00:00Z');
  await apt({ out: join(folder, 'two') });
  const differing = (await run('diff', ['-rq', join(folder, 'one/'), join(folder, 'two/')])).stdout.toString();
  const files = [...differing.matchAll(/one\/(\S+) and/g)].map(([, path]) => path?.replace(/^\/?dists\/\w+\//, ''));
  assert.deepEqual([...new Set(files)].sort(), ['InRelease', 'Release', 'Release.gpg'], differing);
  clock.set('2026-11-01T00:00:00Z');
  await apt({ out: join(folder, 'three') });
  assert.equal((await run('diff', ['-r', join(folder, 'one/'), join(folder, 'three/')])).exitCode, 0);
});

test('refuses to publish a depot that is older than what hosts know', async (t) => {
  const { folder, clock, take, apt } = await publisher(t);
  await take(A);
  await apt();
  await rm(join(folder, 'depot'), { recursive: true });
  const again = await Depot.create(join(folder, 'depot'), { clock });
  await again.take(await writeLivepatch(folder, { ...A, build: 2 }), { unproven: true });
  await assert.rejects(apt({ depot: again }), hasCode('release-taken'));
});
