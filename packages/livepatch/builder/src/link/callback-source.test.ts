import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import type { Phase } from '../author/callbacks.ts';
import { authorHeader } from '../testing/author.ts';
import { callbackHelpers, callbackSource, phasesOf } from './callback-source.ts';

/**
 * Runs what is generated for an object whose fixes have these phases; `failing` says whose pre-patch callback refuses.
 */
async function called(
  fixes: readonly (readonly Phase[])[],
  failing: number,
  calls: readonly Phase[],
): Promise<string[]> {
  const callbacks = fixes.map((phases, index) => ({ phases, alias: `fix_${index}` }));
  const functions = fixes.flatMap((phases, index) =>
    phases.map((phase) =>
      phase === 'pre_patch'
        ? `static int f_${index}_${phase}(struct klp_object *o) { printf("${index} ${phase}\\n"); return ${failing === index ? -16 : 0}; }`
        : `static void f_${index}_${phase}(struct klp_object *o) { printf("${index} ${phase}\\n"); }`,
    ),
  );
  const structs = fixes.map(
    (phases, index) =>
      `const struct kmend_callbacks fix_${index} = { ${phases.map((phase) => `.${phase} = f_${index}_${phase}`).join(', ')} };`,
  );
  const steps = calls.map((phase) =>
    phase === 'pre_patch' ? 'printf("= %d\\n", kmend_pre_patch_0(&object));' : `kmend_${phase}_0(&object);`,
  );
  const text = [
    '#include <stdio.h>',
    authorHeader,
    ...functions,
    ...structs,
    callbackHelpers,
    ...callbackSource(callbacks, 0),
    `int main(void) { struct klp_object object = { 0 }; ${steps.join(' ')} return 0; }`,
  ].join('\n');
  const directory = await mkdtemp(join(tmpdir(), 'kmend-callbacks-'));
  try {
    const source = join(directory, 'main.c');
    const program = join(directory, 'main');
    await writeFile(source, text);
    await runOk(run, 'gcc', ['-Wall', '-Werror', '-Wno-unused-function', '-o', program, source]);
    return (await runOk(run, program, [])).toString('utf8').trim().split('\n');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const ALL: readonly Phase[] = ['pre_patch', 'post_patch', 'pre_unpatch', 'post_unpatch'];

test('calls callbacks in order at a load, and in reverse order at a revert', async () => {
  assert.deepEqual(await called([ALL, ['post_patch', 'post_unpatch'], ALL], -1, ALL), [
    '0 pre_patch',
    '2 pre_patch',
    '= 0',
    '0 post_patch',
    '1 post_patch',
    '2 post_patch',
    '2 pre_unpatch',
    '0 pre_unpatch',
    '2 post_unpatch',
    '1 post_unpatch',
    '0 post_unpatch',
  ]);
});

test('reports a failing pre-patch callback, and undoes those before it', async () => {
  assert.deepEqual(await called([ALL, ['post_unpatch'], ALL, ALL], 2, ['pre_patch']), [
    '0 pre_patch',
    '2 pre_patch',
    '1 post_unpatch',
    '0 post_unpatch',
    '= -16',
  ]);
  assert.deepEqual(await called([ALL, ALL], 0, ['pre_patch']), ['0 pre_patch', '= -16']);
});

test('registers only phases that some callback has', () => {
  assert.deepEqual(
    phasesOf([
      { phases: ['post_unpatch'], alias: 'a' },
      { phases: ['post_patch'], alias: 'b' },
    ]),
    ['post_patch', 'post_unpatch'],
  );
  assert.deepEqual(callbackSource([], 0), []);
});
