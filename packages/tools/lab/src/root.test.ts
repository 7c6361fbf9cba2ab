import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { type Run, silentProgress } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { prepareRoot } from './root.ts';

test('makes one root for each suite and set of packages, once', async (t) => {
  const cache = await mkdtemp(join(tmpdir(), 'kmend-root-'));
  t.after(() => rm(cache, { recursive: true }));
  const installed: string[] = [];
  const run: Run = async (program, args) => {
    if (program === 'mmdebstrap') {
      const [suite = '', archive = ''] = args.slice(-2);
      installed.push(suite);
      await writeFile(join(dirname(archive), 'image'), suite);
    }
    return { exitCode: 0, signal: null, stdout: Buffer.alloc(0), stderr: '' };
  };
  const { signal } = new AbortController();
  const make = (suite: string, ...more: string[]) =>
    prepareRoot({ run, signal, clock: systemClock, progress: silentProgress, cache }, suite, more);
  const roots = [await make('bookworm'), await make('trixie'), await make('trixie', 'fio'), await make('trixie')];
  assert.deepEqual(installed, ['bookworm', 'trixie', 'trixie']);
  const [, , , again] = roots;
  assert.equal(again?.image, roots[1]?.image);
  assert.equal(new Set(roots.map(({ image }) => image)).size, 3);
});
