import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Kernel } from '@kmend/kernel';
import type { FixFiles, Outcome } from '../judge/judge.ts';
import { Journal } from './journal.ts';

const RANGE = { suite: 'bookworm-security', from: '6.1.170-3', to: '6.1.176-1' };
const kernel = { buildId: 'a'.repeat(40) } as Kernel;

test('judges a fix once, also behind a line that was broken off', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-journal-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const judged: string[] = [];
  const pool = {
    judge: async ({ paths }: FixFiles) => {
      judged.push(paths.join(' '));
      const outcome: Outcome = { paths, fix: '', verdict: 'patchable', seconds: 1 };
      return { outcome, memory: 0 };
    },
  };
  const ask = async (...fixes: FixFiles[]): Promise<void> => {
    const journal = await Journal.open(directory, { kernel, range: RANGE });
    for (const fix of fixes) assert.equal((await journal.judge(pool, fix, true)).verdict, 'patchable');
  };
  await ask({ paths: ['a.c', 'b.h'], parts: { 'b.h': ['x'] } }, { paths: ['a.c', 'b.h'] });
  assert.deepEqual(judged, ['a.c b.h', 'a.c b.h'], 'a part of a header is another fix than the whole');
  const [file = ''] = await readdir(directory);
  await appendFile(join(directory, file), '{"fix":"[[\\"c.c\\"],[]]","outc');
  await ask({ paths: ['b.h', 'a.c'] }, { paths: ['c.c'] });
  await ask({ paths: ['c.c'] });
  assert.deepEqual(judged.slice(2), ['c.c']);
  assert.equal((await readFile(join(directory, file), 'utf8')).split('\n').length, 5);
});
