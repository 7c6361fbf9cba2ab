import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { run, runOk } from '@kmend/base/node';
import { applyFixes } from '../source/apply.ts';
import { importFromGit } from './import.ts';
import type { Fix } from './model.ts';
import { FixStore, makeFix } from './store.ts';

const PATCH = '--- a/dir/unit.c\n+++ b/dir/unit.c\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n';
const words = { id: 'CVE-2026-1', title: 'a  title', severity: 'low', hardware: false } as const;
const edges = { run, signal: new AbortController().signal };

const fixOf = (patch: string, id = 'CVE-2026-1'): Fix => makeFix({ ...words, id }, { kind: 'patch', file: 'x' }, patch);

async function scratch(t: { after(work: () => Promise<void>): void }): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-fix-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

test('a fix is kept and read back; damage is noticed; a rival under the same id needs --replace', async (t) => {
  const home = await scratch(t);
  const store = new FixStore(home);
  await store.add(fixOf(PATCH));
  await store.add(fixOf(PATCH));
  assert.deepEqual((await store.open('CVE-2026-1')).files, ['dir/unit.c']);
  await assert.rejects(store.add(fixOf(PATCH.replace('+2', '+3'))), (error) => errorCode(error) === 'fix-exists');
  await store.add(fixOf(PATCH.replace('+2', '+3')), true);
  await writeFile(join(home, 'fixes', 'CVE-2026-1', 'fix.patch'), PATCH);
  await assert.rejects(store.open('CVE-2026-1'), (error) => errorCode(error) === 'fix-garbage');
  await assert.rejects(store.open('../CVE-2026-1'), (error) => errorCode(error) === 'fix-unknown');
  assert.deepEqual(await readdir(join(home, 'fixes')), ['CVE-2026-1']);
});

test('patches that reach outside, make files or are none are refused by code', () => {
  const cases: [string, string][] = [
    ['fix-unsafe-path', PATCH.replaceAll('/dir/', '/../../')],
    ['fix-unsafe-path', PATCH.replace('b/dir', 'b//etc').replace('a/dir', 'a//etc')],
    ['source-unsupported', PATCH.replace('a/dir/unit.c', '/dev/null')],
    ['source-unsupported', `${PATCH}GIT binary patch\n`],
    ['fix-empty', 'not a patch'],
    ['fix-empty', ''],
  ];
  for (const [code, patch] of cases)
    assert.throws(
      () => fixOf(patch),
      (error) => errorCode(error) === code,
      code,
    );
  assert.throws(
    () => fixOf(PATCH, '../x'),
    (error) => errorCode(error) === 'fix-garbage',
  );
});

test('fixes apply in order; one that does not fit, or is there already, is named and nothing is half applied', async (t) => {
  const tree = await scratch(t);
  await mkdir(join(tree, 'dir'));
  await writeFile(join(tree, 'dir', 'unit.c'), 'zero\none\ntwo\nthree\n');
  const second = PATCH.replace('-two\n+2', '-2\n+II');
  const [changed] = await applyFixes(edges, tree, [fixOf(PATCH), fixOf(second, 'B')], await scratch(t));
  assert.deepEqual(
    changed?.versions.map(({ fix, text }) => [fix, text]),
    [
      ['CVE-2026-1', 'zero\none\n2\nthree\n'],
      ['B', 'zero\none\nII\nthree\n'],
    ],
  );
  const apply = async (...patches: string[]): Promise<unknown> =>
    await applyFixes(
      edges,
      tree,
      patches.map((patch, index) => fixOf(patch, `F${index}`)),
      await scratch(t),
    );
  await assert.rejects(
    apply(second),
    (error) => errorCode(error) === 'patch-does-not-apply' && /F0/.test(String(error)),
  );
  await assert.rejects(
    apply(PATCH, PATCH),
    (error) => errorCode(error) === 'patch-changes-nothing' && /F1/.test(String(error)),
  );
  await assert.rejects(
    apply(PATCH, PATCH.replace('-two\n+2', '-2\n+two')),
    (error) => errorCode(error) === 'patch-changes-nothing',
  );
  await assert.rejects(apply(PATCH.replaceAll('unit.c', 'none.c')), (error) => errorCode(error) === 'unit-not-built');
});

test('a commit becomes a fix with its subject; a name that git could take for an option does not', async (t) => {
  const directory = await scratch(t);
  const git = (...args: string[]): Promise<Buffer> =>
    runOk(run, 'git', ['-C', directory, '-c', 'user.name=n', '-c', 'user.email=e@x', ...args]);
  await git('init', '-q');
  for (const text of ['one\n', 'two\n']) {
    await writeFile(join(directory, 'unit.c'), text);
    await git('add', '.');
    await git('commit', '-q', '-m', `say ${text}`);
  }
  const fix = await importFromGit(edges, { id: 'X', severity: 'low', hardware: false }, directory, 'HEAD');
  assert.deepEqual([fix.title, fix.files], ['say two', ['unit.c']]);
  for (const bad of ['--output=x', 'no-such']) {
    const attempt = importFromGit(edges, { id: 'X', severity: 'low', hardware: false }, directory, bad);
    await assert.rejects(attempt, (error) => errorCode(error) === 'fix-without-origin');
  }
});
