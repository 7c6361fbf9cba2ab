import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentProgress } from '@kmend/base';
import { run, runOk, sha256 } from '@kmend/base/node';
import { SourceStore } from '@kmend/kernel';
import { compileUnit } from '../compile/compile.ts';
import { applyFixes, type ChangedSource } from '../source/apply.ts';
import { markedText } from '../source/marked.ts';
import { changeOf, namesOf } from '../testing/fixture.ts';
import { smallTree } from '../testing/small-tree.ts';
import { importFromDebian, importFromGit, importFromPatch } from './import.ts';
import type { Fix } from './model.ts';
import { FixStore } from './store.ts';

const PATH = 'drivers/own/unit.c';
const words = { id: 'CVE-2026-1', severity: 'low', hardware: false } as const;
const edges = { run, signal: new AbortController().signal, progress: silentProgress };

/** Bytes of a text with one character a byte: Latin-1 letters, UTF-8, and bytes that are in neither. */
const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const BEFORE = bytes('/* J\xF6rg */\nconst char name[] = "\xFC";\nint one;\nint two;\n');
const AFTER = bytes('/* J\xF6rg */\nconst char name[] = "\xF6\x80\xFF\xC3\xB6";\nint one;\nint two;\n');
const PATCH = bytes(
  `--- a/${PATH}\n+++ b/${PATH}\n@@ -1,4 +1,4 @@\n /* J\xF6rg */\n-const char name[] = "\xFC";\n+const char name[] = "\xF6\x80\xFF\xC3\xB6";\n int one;\n int two;\n`,
);

async function world(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-bytes-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const write = async (name: string, content: Buffer | string): Promise<string> => {
    const path = join(directory, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
    return path;
  };
  await write(join('tree', PATH), BEFORE);
  /** A fix through the store, and the source it makes. */
  const applied = async (fix: Fix): Promise<ChangedSource> => {
    const store = new FixStore(directory);
    await store.add(fix, true);
    const kept = await store.open(fix.id);
    assert.equal(kept.sha256, sha256(await readFile(join(directory, 'fixes', fix.id, 'fix.patch'))));
    assert.equal(kept.sha256, fix.sha256);
    const scratch = await mkdtemp(join(directory, 'scratch-'));
    const [changed] = await applyFixes(edges, join(directory, 'tree'), [kept], scratch);
    assert.deepEqual(await readFile(join(scratch, 'source', PATH)), AFTER);
    assert.ok(changed !== undefined);
    return changed;
  };
  return { directory, write, applied };
}

test('keeps the bytes of a patch file in the store, the source and the compiled string', async (t) => {
  const { directory, write, applied } = await world(t);
  const source = await applied(await importFromPatch(words, await write('f.patch', PATCH)));
  const text = source.versions[0]?.text ?? '';
  assert.deepEqual(bytes(text), AFTER);
  const tree = smallTree(directory);
  const command = { compiler: 'gcc', compilerArguments: ['-O2'], objtoolArguments: [] };
  const unit = { source: PATH, spelling: PATH, object: 'vmlinux', command };
  const input = {
    text: await markedText(edges, PATH, source.stock, text),
    root: directory,
    headersKey: '',
    layout: 'separate',
  } as const;
  const { object } = await compileUnit(edges, tree, unit, input, join(directory, 'cache'));
  const compiled = await readFile(object);
  assert.ok(compiled.includes(bytes('\xF6\x80\xFF\xC3\xB6\0')));
  assert.ok(!compiled.includes(bytes('\xEF\xBF\xBD')));
});

test('keeps the bytes of a commit and of a Debian delta', async (t) => {
  const { directory, write, applied } = await world(t);
  const git = (...args: string[]): Promise<Buffer> =>
    runOk(run, 'git', ['-C', join(directory, 'git'), '-c', 'user.name=n', '-c', 'user.email=e@x', ...args]);
  await mkdir(join(directory, 'git'));
  await git('init', '-q');
  for (const text of [BEFORE, AFTER]) {
    await write(join('git', PATH), text);
    await git('add', '.');
    await git('commit', '-q', '-m', 'x');
  }
  await applied(await importFromGit(edges, words, join(directory, 'git'), 'HEAD'));
  const versions = { from: '6.1.1-1', to: '6.1.2-1' };
  await write(join('sources', versions.from, PATH), BEFORE);
  await write(join('sources', versions.to, PATH), AFTER);
  await write(join('sources', `${versions.to}.changelog`), '');
  const none = (): Promise<never> => Promise.reject(new Error('all is there already'));
  const sources = new SourceStore(edges, { packages: none, find: none, newest: none, fetch: none }, directory);
  await applied(await importFromDebian(edges, sources, words, { suite: 'bookworm', ...versions, paths: [PATH] }));
});

test('reports a function whose string changes in a byte that is no UTF-8', async () => {
  // Octal escapes, for the fixture's text is written as UTF-8: a byte alone is no character of it.
  const text = (byte: string): string =>
    `extern int printk(const char *, ...); int f(void) { return printk("a\\${byte}z"); }`;
  const change = await changeOf(text('366'), text('374'));
  assert.deepEqual(namesOf(change.changed.keys()), ['f']);
});
