import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { run } from '@kmend/base/node';
import { moduleImage } from '../byte-proof/image.ts';
import { proveUnit } from '../byte-proof/prove.ts';
import { proofReasons } from '../byte-proof/show.ts';
import { elfOf, objectOf } from '../testing/gcc.ts';
import { smallTree } from '../testing/small-tree.ts';
import type { KnownUnit } from '../tree/unit.ts';
import { OutcomeCache } from './outcome.ts';
import { isUnlinked } from './reached.ts';
import type { UnitContext, UnitRequest } from './request.ts';
import { buildUnit } from './unit.ts';

const edges = { run, progress: silentProgress, signal: new AbortController().signal };
const TEXT =
  'int member(int a) { return a + 1; } static __attribute__((noinline)) int own(int a) { return a * 7; } int caller(int a) { return own(a); }';

/** Whether a unit of this text and object counts as left out by the linker, of a kernel that has another text. */
async function unlinked(text: string, shipped: string, object = 'vmlinux'): Promise<boolean> {
  const unit = { source: 'lib/unit.c', object };
  const stock = await objectOf(text);
  return isUnlinked(unit, stock, proveUnit(unit, stock, moduleImage(object, await elfOf(shipped))));
}

test('skips a reached unit only if the linker took nothing of it', async () => {
  assert.equal(await unlinked(TEXT, 'int another(int a) { return a; }'), true);
  assert.equal(await unlinked(TEXT, TEXT), false);
  // The rebuild differs in every function: what the change does to the shipped one is unknown.
  assert.equal(
    await unlinked(TEXT, TEXT.replace('+ 1', '+ 2').replace('* 7', '* 9').replace('own(a);', 'own(a) - 1;')),
    false,
  );
  // Modules are no archives.
  assert.equal(await unlinked(TEXT, 'int another(int a) { return a; }', 'unit'), false);
  // gcc may have named it `only.isra.0` in the kernel.
  assert.equal(
    await unlinked('static __attribute__((used)) int only(int a) { return a; }', 'int another(int a) { return a; }'),
    false,
  );
});

test('refuses a unit of which no function equals the shipped one, with the differences', async () => {
  const unit = { source: 'lib/unit.c', object: 'unit' };
  const proof = proveUnit(
    unit,
    await objectOf(TEXT),
    moduleImage(
      'unit',
      await elfOf(TEXT.replace('+ 1', '+ 2').replace('own(a);', 'own(a) - 1;').replace('* 7', '* 9')),
    ),
  );
  assert.deepEqual(proof.equal, []);
  assert.deepEqual(
    (await proofReasons(edges, unit, proof, ['member'])).map(({ code }) => code),
    ['rebuild-differs'],
  );
});

test('fails the build if a reached unit does not compile unpatched', async (t) => {
  const { context, request } = await reached(t, 'int f(void) { return generated_elsewhere; }');
  await assert.rejects(buildUnit(context, request), {
    code: 'tree-failed',
    message: /lib\/unit\.c, which is part of vmlinux/,
  });
});

async function reached(t: TestContext, text: string): Promise<{ context: UnitContext; request: UnitRequest }> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-reached-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const unit: KnownUnit = {
    source: 'lib/unit.c',
    object: 'vmlinux',
    spelling: 'lib/unit.c',
    command: { compiler: 'gcc', compilerArguments: [], objtoolArguments: [] },
  };
  const context: UnitContext = {
    edges,
    tree: smallTree(directory),
    cache: directory,
    outcomes: new OutcomeCache(directory, () => true),
    code: '',
    facts: () => Promise.reject(new Error('nothing is compared')),
    headerRoot: async () => directory,
  };
  const state = { text, headers: new Map([['lib/unit.h', '']]) };
  return {
    context,
    request: { unit, stock: text, base: { ...state, headers: new Map() }, patched: state, below: [], reached: true },
  };
}
