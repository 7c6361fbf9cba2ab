import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { run } from '@kmend/base/node';
import { smallTree } from '../testing/small-tree.ts';
import { narrowed } from './narrow.ts';
import type { UnmovedRecord } from './records/unmoved.ts';

const HEADER = `
struct proto { void *f; char a; int b; };
struct ops { const struct proto *used; };
struct holder { struct proto proto; };
static inline int through(const struct ops *o) { return o->used->b; }
`;
const WITH_MEMBER = HEADER.replace('char a;', 'char a; char fresh;');
const WITH_FUNCTION = `${WITH_MEMBER}static inline int proto_a(const struct proto *p) { return p->a; }\n`;

const FILES: Readonly<Record<string, string>> = {
  'include/unit.h': HEADER,
  'include/other.h': '#include <unit.h>\n#define PROTO(x) (struct proto){ x }\nint proto_b(void);\n',
  'a/pointer.c': '#include <unit.h>\nint pointer(struct proto *p) { return through(0) + p->b; }\n',
  'a/value.c': '#include <unit.h>\nstruct proto value = { 0, 1, 2 };\n',
  'a/holder.c': '#include <unit.h>\nstruct holder value = { { 0, 1, 2 } };\n',
  'a/macro.c': '#include <other.h>\nint macro(void) { return PROTO(0).b; }\n',
  'a/local.c': '#include <unit.h>\nint local(void) { int proto_a = 1; return proto_a; }\n',
  'a/declares.c': '#include <unit.h>\nint proto_a(const struct proto *p);\n',
  'a/idle.c': '#include <other.h>\nint idle;\n',
};

/** The units that are still to be looked at when the header becomes `after`. */
async function left(t: TestContext, after: string, unmoved: Readonly<Record<string, boolean>>): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-narrow-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const source = join(directory, 'source');
  for (const [path, text] of Object.entries(FILES)) {
    await mkdir(dirname(join(source, path)), { recursive: true });
    await writeFile(join(source, path), text);
  }
  const tree = smallTree(directory, source);
  const edges = { run, progress: silentProgress, signal: new AbortController().signal };
  const changed = {
    stock: new Map([['include/unit.h', HEADER]]),
    states: [new Map(), new Map([['include/unit.h', after]])],
  };
  const records = Object.entries(unmoved).map(([tag, keepsOrder]): [string, UnmovedRecord] => [
    tag,
    { before: '', after: '', keepsOrder },
  ]);
  const candidates = Object.keys(FILES).filter((path) => path.endsWith('.c'));
  const found = await narrowed(edges, tree, changed, candidates, 100, [new Map(), new Map(records)]);
  return found.map((path) => path.slice('a/'.length, -'.c'.length)).sort();
}

test('follows a record that may move through pointers, functions and macros', async (t) => {
  assert.deepEqual(await left(t, WITH_MEMBER, {}), ['declares', 'holder', 'macro', 'pointer', 'value']);
});

test('keeps of a record that moves nothing only what may fill one by position', async (t) => {
  assert.deepEqual(await left(t, WITH_MEMBER, { proto: true }), []);
  assert.deepEqual(await left(t, WITH_MEMBER, { proto: false }), ['holder', 'macro', 'value']);
});

test('reaches by a new function the units that declare its name themselves, and no local variable', async (t) => {
  assert.deepEqual(await left(t, WITH_FUNCTION, { proto: true }), ['declares']);
  // Declared by a header: whatever includes that.
  const other = `${WITH_MEMBER}static inline int proto_b(void) { return 1; }\n`;
  assert.deepEqual(await left(t, other, { proto: true }), ['idle', 'macro']);
});

test('follows what else changes beside a record that moves nothing', async (t) => {
  assert.deepEqual(await left(t, WITH_MEMBER.replace('->b', '->a'), { proto: true }), ['pointer']);
});
