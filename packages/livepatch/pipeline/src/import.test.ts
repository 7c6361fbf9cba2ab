import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { run, systemClock } from '@kmend/base/node';
import { type ImportRequest, importFix } from './import.ts';
import { Workshop } from './workshop.ts';

async function workshop(t: TestContext): Promise<{ readonly home: string; readonly workshop: Workshop }> {
  const home = await mkdtemp(join(tmpdir(), 'kmend-pipeline-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const offline = (): never => assert.fail('nothing is to be fetched');
  const { signal } = new AbortController();
  const edges = { run, clock: systemClock, fetch: offline, progress: silentProgress, signal };
  return { home, workshop: new Workshop(edges, { cache: join(home, 'cache'), home }, {}) };
}

async function patchOf(home: string, path: string, word: string): Promise<ImportRequest> {
  const file = join(home, 'fix.patch');
  await writeFile(file, `--- a/${path}\n+++ b/${path}\n@@ -1,3 +1,3 @@\n one\n-two\n+${word}\n three\n`);
  const words = { id: 'fix', severity: 'unknown', hardware: false } as const;
  return { words, source: { kind: 'patch', file }, check: true, replace: false };
}

test('keeps a fix of a patch file, and overwrites one of the same id only with replace', async (t) => {
  const { home, workshop: here } = await workshop(t);
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(text);
  const { fix, taken, checked } = await importFix(here, await patchOf(home, 'kernel/fork.c', 'first'), note);
  // Only a fix of a distribution's delta has companions to be looked for.
  assert.deepEqual([fix.files, taken, checked, notes], [['kernel/fork.c'], false, undefined, []]);
  assert.equal((await here.fixes.open('fix')).sha256, fix.sha256);
  const other = await patchOf(home, 'mm/mmap.c', 'second');
  await assert.rejects(importFix(here, other, note), { code: 'fix-exists' });
  await importFix(here, { ...other, replace: true }, note);
  assert.deepEqual((await here.fixes.open('fix')).files, ['mm/mmap.c']);
});
