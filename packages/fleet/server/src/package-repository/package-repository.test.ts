import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { systemClock } from '@kmend/base/node';
import { withCode } from '../testing/ask.ts';
import { aptEntries, dnfEntries, type TarEntry, tarOf } from '../testing/tar.ts';
import { PackageRepository } from './package-repository.ts';

async function world(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'kmend-packages-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const time = { ms: Date.parse('2026-11-02T00:00:00Z') };
  const clock = { ...systemClock, now: () => new Date(time.ms), monotonic: () => time.ms };
  const repository = await PackageRepository.open('apt', folder, clock);
  const replace = async (entries: readonly TarEntry[]) => repository.replace(Readable.from([await tarOf(entries)]));
  const text = async (path: string): Promise<string | undefined> => {
    const found = await repository.find(path);
    return found === undefined ? undefined : readFile(join(found.root, path), 'utf8');
  };
  return { folder, time, clock, repository, replace, text };
}

const INDEX = 'dists/updates/main/binary-amd64/Packages';
const pool = (name: string): string => `pool/main/${name}_1_amd64.deb`;

test('replaces the repository and keeps the old packages for an hour', async (t) => {
  const { folder, time, repository, replace, text } = await world(t);
  assert.equal(repository.published, false);
  assert.equal(await text(INDEX), undefined);
  await replace(aptEntries('one'));
  assert.deepEqual([await text(INDEX), repository.published], ['Package: one\n', true]);
  await replace(aptEntries('two'));
  assert.deepEqual(
    [await text(INDEX), await text(pool('two')), await text(pool('one'))],
    ['Package: two\n', 'deb of two', 'deb of one'],
  );
  time.ms += 3_600_001;
  assert.equal(await text(pool('one')), undefined);
  await repository.sweep();
  assert.deepEqual((await readdir(folder)).sort(), [await readlink(join(folder, 'current')), 'current'].sort());
});

test('keeps the time of an unchanged file, and gives a changed one of the same size a later time', async (t) => {
  const { replace, repository } = await world(t);
  const time = async (path: string) => (await stat(join((await repository.find(path))?.root ?? '', path))).mtimeMs;
  const same = [{ name: 'dists/updates/Release', data: 'same' }];
  await replace(aptEntries('one', same));
  const [index, release] = [await time(INDEX), await time('dists/updates/Release')];
  assert.equal((await replace(aptEntries('two', same))).unchanged, 1);
  assert.deepEqual([await time(INDEX), await time('dists/updates/Release')], [index + 1000, release]);
});

test('changes nothing and leaves nothing when an upload is refused or interrupted', async (t) => {
  const { folder, repository, replace, text } = await world(t);
  await replace(aptEntries('one'));
  const before = await readdir(folder);
  const [release, ...others] = aptEntries('two');
  assert.ok(release !== undefined);
  await assert.rejects(replace(others), withCode('packages-incomplete'));
  await assert.rejects(replace(dnfEntries('two')), withCode('packages-incomplete'));
  await assert.rejects(replace([{ ...release, data: 'Origin: kmend\n' }, ...others]), withCode('packages-unsigned'));
  const second = { name: 'dists/security/main/binary-amd64/Packages', data: '' };
  await assert.rejects(replace([release, ...others, second]), withCode('packages-incomplete'), 'a suite without one');
  const archive = await tarOf(aptEntries('two'));
  const breaking = Readable.from(
    (function* () {
      yield archive.subarray(0, 1600);
      throw new Error('the connection is gone');
    })(),
  );
  await assert.rejects(repository.replace(breaking));
  assert.deepEqual([await readdir(folder), await text(INDEX)], [before, 'Package: one\n']);
});

test('stores the metadata of a dnf repository and its signature', async (t) => {
  const { folder, clock } = await world(t);
  const repository = await PackageRepository.open('dnf', join(folder, 'dnf'), clock);
  const replace = async (entries: readonly TarEntry[]) => repository.replace(Readable.from([await tarOf(entries)]));
  const [metadata, signature, ...others] = dnfEntries('one');
  assert.ok(metadata !== undefined && signature !== undefined);
  await assert.rejects(replace([metadata, ...others]), withCode('packages-incomplete'));
  await assert.rejects(replace([metadata, { ...signature, data: 'no' }]), withCode('packages-unsigned'));
  await assert.rejects(replace([{ ...metadata, data: 'no' }, signature]), withCode('packages-incomplete'));
  await assert.rejects(replace(aptEntries('one')), withCode('packages-incomplete'));
  assert.equal((await replace(dnfEntries('one'))).files, 3);
});

test('accepts one upload at a time, removes leavings at the start, and serves what it served before', async (t) => {
  const { folder, clock, replace, repository } = await world(t);
  await replace(aptEntries('one'));
  let go = (): void => undefined;
  const waiting = new Promise<void>((resolve) => {
    go = resolve;
  });
  const archive = await tarOf(aptEntries('two'));
  const slow = repository.replace(
    Readable.from(
      (async function* () {
        yield archive.subarray(0, 1600);
        await waiting;
        yield archive.subarray(1600);
      })(),
    ),
  );
  await assert.rejects(replace(aptEntries('three')), withCode('packages-busy'));
  await repository.sweep();
  go();
  assert.equal((await slow).files, 3);
  await mkdir(join(folder, '99.tmp', 'pool'), { recursive: true });
  await writeFile(join(folder, '99.tmp', 'pool', 'half'), 'x');
  const again = await PackageRepository.open('apt', folder, clock);
  assert.equal((await readdir(folder)).length, 2);
  assert.equal((await again.find(pool('two')))?.immutable, true);
});
