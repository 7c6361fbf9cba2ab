import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TrialFailure } from '../assemble/trial.ts';
import { type DeltaTexts, proposeCompanions } from './companions.ts';

const TRACE = `
TRACE_EVENT(fs_fault,
	TP_PROTO(unsigned long long ino,
		 void *area, void *page),
	TP_ARGS(ino, area, page)
);
`;
const OTHER = 'int fs_read(int a,\n\t    int b);\n#define SIZE 3\n';

const FAILURE: TrialFailure = {
  source: 'fs/a/a.c',
  errors: ['too few arguments'],
  names: [],
  places: [],
  includes: new Set(),
};

const DELTA: Readonly<Record<string, readonly [from: string, to: string]>> = {
  'fs/a/a.c': ['', ''],
  'fs/b/b.c': ['', ''],
  'fs/b/c.c': ['', ''],
  'fs/a/trace.h': [TRACE, TRACE.replaceAll('void *area, ', '').replace('area, ', '')],
  'fs/a/other.h': [OTHER, OTHER.replace('\n\t    int b', '\n\t    int b, int c')],
  'include/linux/limits.h': ['#define LIMIT 3\nint area;\n', '#define LIMIT 4\nint area;\n'],
};

const delta: DeltaTexts = {
  changed: async () => Object.keys(DELTA),
  text: async (path, version) => DELTA[path]?.[version === 'from' ? 0 : 1] ?? '',
};

async function proposed(...names: string[]): Promise<string[]> {
  const failure = { ...FAILURE, names };
  return await proposeCompanions(delta, new Set(['fs/a/a.c']), [failure]);
}

test('finds the header whose changed lines have the name, which makes the file compile', async () => {
  assert.deepEqual(await proposed('LIMIT'), ['include/linux/limits.h']);
});

test('finds a header where a definition changes in other lines than its name', async () => {
  assert.deepEqual(await proposed('trace_fs_fault', 'fs_fault'), ['fs/a/trace.h']);
  assert.deepEqual(await proposed('fs_read'), ['fs/a/other.h']);
});

test('prefers the header in the file’s own folder', async () => {
  const headers = ['include/linux/device.h', 'fs/c/a/types.h', 'fs/c/types.h'];
  const texts = { changed: async () => headers, text: async (_: string, version: string) => `int owner_${version};` };
  const inside = { ...FAILURE, source: 'fs/c/a/main.c', names: ['owner_to'], includes: new Set(headers) };
  assert.deepEqual(await proposeCompanions(texts, new Set(), [inside]), ['fs/c/a/types.h']);
  assert.deepEqual(await proposeCompanions(texts, new Set(['fs/c/a/types.h']), [inside]), ['fs/c/types.h']);
  // What the file includes still comes before what only lies beside it.
  const without = { ...inside, includes: new Set(['include/linux/device.h']) };
  assert.deepEqual(await proposeCompanions(texts, new Set(), [without]), ['include/linux/device.h']);
});

test('finds nothing for a name that no change is about', async () => {
  assert.deepEqual(await proposed('SIZE', 'unknown'), []);
});

test('takes a header of the delta that fails first, and not all that include it', async () => {
  const failing = (source: string, ...places: string[]): TrialFailure => ({ ...FAILURE, source, places });
  const failures = [
    failing('fs/b/b.c', 'include/asm-generic/rwonce.h', 'include/linux/limits.h'),
    failing('fs/b/c.c', 'fs/b/c.c'),
  ];
  assert.deepEqual(await proposeCompanions(delta, new Set(['fs/a/a.c']), failures), [
    'fs/b/c.c',
    'include/linux/limits.h',
  ]);
  const have = new Set(['fs/a/a.c', 'include/linux/limits.h']);
  assert.deepEqual(await proposeCompanions(delta, have, failures), ['fs/b/b.c', 'fs/b/c.c']);
});

test('reads what a file of the delta changes once, however many errors ask for it', async () => {
  let reads = 0;
  const counted: DeltaTexts = {
    changed: delta.changed,
    text: async (path, version) => {
      reads++;
      return await delta.text(path, version);
    },
  };
  const failure: TrialFailure = { ...FAILURE, names: ['LIMIT'] };
  assert.deepEqual(await proposeCompanions(counted, new Set(['fs/a/a.c']), [failure]), ['include/linux/limits.h']);
  const once = reads;
  await proposeCompanions(counted, new Set(['fs/a/a.c']), [failure, { ...failure, names: ['area'] }]);
  assert.ok(once > 0);
  assert.equal(reads, once);
});
