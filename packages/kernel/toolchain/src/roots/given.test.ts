import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { givenRoot } from './given.ts';

const STATUS = 'Package: gcc-12\nStatus: install ok installed\nVersion: 12.2.0-14\n';

async function system(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-given-'));
  t.after(() => rm(directory, { recursive: true }));
  await mkdir(join(directory, 'usr/bin'), { recursive: true });
  await mkdir(join(directory, 'var/lib/dpkg'), { recursive: true });
  return directory;
}

test('knows a root of the operator’s by its packages, and another after an upgrade', async (t) => {
  const directory = await system(t);
  await writeFile(join(directory, 'usr/bin/gcc-12'), 'gcc');
  await writeFile(join(directory, 'var/lib/dpkg/status'), STATUS);
  const first = await givenRoot(directory);
  assert.deepEqual([first.directory, first.contents?.packages], [directory, { 'gcc-12': '12.2.0-14' }]);
  await writeFile(join(directory, 'usr/bin/other'), 'no package');
  assert.deepEqual(await givenRoot(directory), first);
  await writeFile(join(directory, 'var/lib/dpkg/status'), STATUS.replace('-14', '-15'));
  assert.notEqual((await givenRoot(directory)).contents?.digest, first.contents?.digest);
});

test('knows a root without dpkg by its programs', async (t) => {
  const directory = await system(t);
  await writeFile(join(directory, 'usr/bin/gcc'), 'gcc');
  const first = await givenRoot(directory);
  assert.deepEqual(await givenRoot(directory), first);
  await writeFile(join(directory, 'usr/bin/gcc'), 'another');
  assert.notEqual((await givenRoot(directory)).contents?.digest, first.contents?.digest);
});

test('reports a folder without a system', async (t) => {
  for (const directory of ['/no/such/folder', await system(t)])
    await assert.rejects(givenRoot(directory), { code: 'root-missing' });
});
