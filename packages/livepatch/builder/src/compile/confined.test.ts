import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode, errorText, type Run, type RunLimits } from '@kmend/base';
import { limitedRun } from '@kmend/base/node';
import { smallTree } from '../testing/small-tree.ts';
import type { KnownUnit } from '../tree/unit.ts';
import { type CompiledUnit, compileUnit } from './compile.ts';

const SECRET = 'SECRET_OF_THE_OPERATOR';

interface World {
  readonly tree: string;
  /** A file of the operator's beside the tree. */
  readonly secret: string;
  compile(text: string, run?: Run): Promise<CompiledUnit>;
  /** All that lies in the cache, without the folders. */
  cached(): Promise<string[]>;
}

async function world(t: TestContext): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-confined-'));
  t.after(() => rm(directory, { recursive: true }));
  const tree = join(directory, 'tree');
  const secret = join(directory, 'release.key');
  await mkdir(join(tree, 'include', 'linux'), { recursive: true });
  await writeFile(join(tree, 'include', 'linux', 'livepatch.h'), 'struct klp_object;\n');
  await mkdir(join(tree, 'lib'));
  await writeFile(join(tree, 'include', 'known.h'), '#define KNOWN 1\n');
  await writeFile(join(tree, 'lib', 'data.bin'), 'DATA_OF_THE_TREE');
  await writeFile(secret, `${SECRET}\n`);
  const arguments_ = ['-nostdinc', '-Iinclude', '-O2'];
  const unit = {
    source: 'lib/unit.c',
    spelling: 'lib/unit.c',
    object: 'vmlinux',
    command: { compiler: 'gcc', compilerArguments: arguments_, objtoolArguments: [] },
  } as const satisfies KnownUnit;
  const cache = join(directory, 'cache');
  return {
    tree,
    secret,
    compile: async (text, run = limitedRun) => {
      const edges = { run, signal: new AbortController().signal };
      const input = { text: `#line 1 "lib/unit.c"\n${text}\n`, root: tree, headersKey: '', layout: 'shipped' } as const;
      // A tree of its own for each: what is read of one is remembered.
      return await compileUnit(edges, smallTree(tree), unit, input, cache);
    },
    cached: async () => {
      const entries = await readdir(cache, { recursive: true, withFileTypes: true }).catch(() => []);
      return entries.filter((entry) => entry.isFile() || entry.name.startsWith('.')).map(({ name }) => name);
    },
  };
}

/** With other limits than the compiler's usual ones, so that little is enough to break them. */
const within =
  (limits: RunLimits): Run =>
  (file, args, options) =>
    limitedRun(file, args, { ...options, limits: { ...options?.limits, ...limits } });

test('rejects an include from outside the tree without quoting it', async (t) => {
  const { tree, secret, compile, cached } = await world(t);
  const out = '../'.repeat(12);
  for (const text of [
    `#include "${secret}"`,
    `#include <${secret}>`,
    `#include "../../release.key"`,
    `#include "${out}${secret.slice(1)}"`,
    `#include <${out}etc/hostname>`,
    `#include_next "${secret}"`,
    `#define WHERE "${secret}"\n#include WHERE`,
    `#define QUOTE(x) #x\n#define WHERE(x) QUOTE(x)\n#include WHERE(${secret})`,
    '#include "/etc/passwd"',
    '#include "/proc/self/environ"',
    '#include "/dev/stdin"',
    '#include "/dev/null"',
    '#include "/usr/include/features.h"',
    // A file that the compiler's own programs bring along is seen; it is none of the tree's.
    '#include "/usr/lib/os-release"',
    `asm(".incbin \\"${secret}\\"");`,
    `asm(".incbin \\"/etc/hostname\\"");`,
    `asm(".include \\"${secret}\\"");`,
    `#define CAT(a, b) a##b\nCAT(as, m)(".inc" "bin \\"${secret}\\"");`,
    `void f(void) { asm(".pushsection .data\\n.incbin \\"${secret}\\"\\n.popsection"); }`,
  ]) {
    await assert.rejects(compile(text), (error) => {
      const said = `${errorText(error)} ${JSON.stringify(error)}`;
      assert.equal(errorCode(error), 'include-outside-tree', `${text}: ${said}`);
      assert.doesNotMatch(said, new RegExp(`${SECRET}|root:x|Debian|${hostname()}$`, 'm'), text);
      return true;
    });
  }
  assert.deepEqual(await cached(), []);
  await symlink(secret, join(tree, 'include', 'link.h'));
  await assert.rejects(compile('#include <link.h>'), (error) => !errorText(error).includes(SECRET));
});

test('allows a file the same includes on every machine', async (t) => {
  const { secret, compile } = await world(t);
  for (const asked of [`"${secret}"`, '"/etc/passwd"', '</usr/include/stdio.h>', '"/proc/self/status"'])
    await compile(`#if __has_include(${asked})\n#error there is ${asked}\n#endif`);
  await compile(`#if !__has_include(<known.h>)\n#error not there\n#endif\n#include <known.h>\nint known = KNOWN;`);
});

test('rebuilds an object after a file that it includes has changed', async (t) => {
  const { tree, compile } = await world(t);
  const plain = '#include <known.h>\n#include <kmend/livepatch.h>\nint known = KNOWN;';
  const first = await compile(plain);
  // kmend's own header is a part of the key.
  assert.deepEqual(Object.keys(first.included), ['include/known.h', 'include/linux/livepatch.h']);
  const before = await readFile(first.object);
  assert.deepEqual(await compile(plain), first);
  await writeFile(join(tree, 'include', 'known.h'), '#define KNOWN 2\n');
  const second = await compile(plain);
  assert.notDeepEqual(second.included, first.included);
  assert.notDeepEqual(await readFile(second.object), before);
});

test('reports files of the tree that assembler code includes, however they are hidden', async (t) => {
  const { compile } = await world(t);
  for (const text of [
    'asm(".incbin \\"lib/data.bin\\"");',
    '#define CAT(a, b) a##b\nCAT(as, m)(".inc" "\\x62in \\"lib/data.bin\\"");',
    'asm(".macro x y\\n.inc\\\\y \\"lib/data.bin\\"\\n.endm\\nx bin");',
  ]) {
    assert.deepEqual((await compile(text)).assembled, ['lib/data.bin'], text);
  }
  assert.deepEqual((await compile('void f(void) { asm("nop"); }')).assembled, []);
});

test('ends a text that would take all memory, time or disk at a limit, and leaves nothing', async (t) => {
  const { compile, cached } = await world(t);
  const exponential = Array.from({ length: 9 }, (_, n) => `#define A${n + 1}${' '}${`A${n} `.repeat(16)}`).join('\n');
  const cases: readonly (readonly [string, RunLimits, string])[] = [
    ['tool-limit', { cpuSeconds: 1 }, '#if __INCLUDE_LEVEL__ < 150\n#include "unit.c"\n#include "unit.c"\n#endif'],
    ['tool-limit', { memory: 2 ** 28 }, `#define A0 1,\n${exponential}\nint a[] = { A8 };`],
    ['tool-limit', { fileSize: 2 ** 20 }, 'char large[1 << 28] = { 1 };'],
    ['tool-limit', { fileSize: 2 ** 20 }, 'asm(".rept 1000000\\n.quad 1,2,3,4\\n.endr");'],
    ['patch-does-not-compile', {}, '#include __FILE__'],
  ];
  for (const [code, limits, text] of cases) {
    await assert.rejects(compile(text, within(limits)), (error) => {
      assert.equal(errorCode(error), code, `${text.slice(0, 80)}: ${errorText(error)}`);
      return true;
    });
  }
  assert.deepEqual(await cached(), []);
});
