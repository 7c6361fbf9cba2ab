import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { usualProcessors } from './processors.ts';

test('gives an emulated host one processor where its kernel rewrites itself in each transition', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-processors-'));
  t.after(() => rm(directory, { recursive: true }));
  const kernel = { paths: { directory, vmlinuz: '', modules: '' } };
  const symbols = (...names: string[]) =>
    writeFile(join(directory, 'kallsyms'), names.map((name) => `T ffffffff81111050 ${name}\n`).join(''));
  await symbols('klp_enable_patch');
  assert.deepEqual([await usualProcessors(kernel, 'tcg'), await usualProcessors(kernel, 'kvm')], [2, 2]);
  await symbols('klp_enable_patch', 'sched_dynamic_klp_enable');
  assert.deepEqual([await usualProcessors(kernel, 'tcg'), await usualProcessors(kernel, 'kvm')], [1, 2]);
});
