import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { run, runOk, sha256 } from '@kmend/base/node';
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

test('stores and reads a fix, detects damage, and requires --replace for an existing id', async (t) => {
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

test('refuses patches that lead outside, add files, or are no patches', () => {
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

test('applies fixes in order, and names one that does not apply without applying half of it', async (t) => {
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
  // A file that a patch names twice, as one made of two mails does.
  const [twice] = await applyFixes(edges, tree, [fixOf(`${PATCH}${second}`)], await scratch(t));
  assert.deepEqual(
    twice?.versions.map(({ text }) => text),
    ['zero\none\nII\nthree\n'],
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

test('imports a commit with its subject, and refuses a name that looks like an option', async (t) => {
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

test('leaves out and names texts and help of a commit; --path chooses folders', async (t) => {
  const directory = await scratch(t);
  const git = (...args: string[]): Promise<Buffer> =>
    runOk(run, 'git', ['-C', directory, '-c', 'user.name=n', '-c', 'user.email=e@x', ...args]);
  await git('init', '-q');
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(join(directory, dirname(path)), { recursive: true });
    await writeFile(join(directory, path), text);
  };
  // The help's keyword is far above the change: only git can show it.
  const kconfig = (text: string): string => `config X\n\tbool "x"\n\thelp\n${'\t  Text.\n'.repeat(20)}\t  ${text}\n`;
  await write('kernel/fork.c', 'one\n');
  await write('net/core.c', 'one\n');
  await write('net/Kconfig', kconfig('Old.'));
  await write('Documentation/old.rst', 'one\n'.repeat(50));
  await git('add', '.');
  await git('commit', '-q', '-m', 'first');
  await write('kernel/fork.c', 'two\n');
  await write('net/core.c', 'two\n');
  await write('net/Kconfig', kconfig('New.'));
  await write('tools/testing/selftests/net/x.c', 'two\n');
  await rm(join(directory, 'Documentation/old.rst'));
  await write('Documentation/new.rst', 'one\n'.repeat(50));
  await git('add', '.');
  await git('commit', '-q', '-m', 'second');
  const imported = (...paths: string[]): Promise<Fix> =>
    importFromGit(edges, { id: 'X', severity: 'low', hardware: false }, directory, 'HEAD', paths);
  const whole = await imported();
  assert.deepEqual(
    [whole.files, whole.origin.kind === 'git' && whole.origin.paths],
    [['kernel/fork.c', 'net/core.c'], undefined],
  );
  assert.deepEqual(
    whole.leftOut.map(({ path, why }) => [path, why]),
    [
      ['Documentation/new.rst', 'documentation'],
      ['Documentation/old.rst', 'documentation'],
      ['net/Kconfig', 'help-text'],
      ['tools/testing/selftests/net/x.c', 'tools'],
    ],
  );
  const store = new FixStore(await scratch(t));
  await store.add(await imported('net'));
  const part = await store.open('X');
  assert.deepEqual([part.files, part.origin.kind === 'git' && part.origin.paths], [['net/core.c'], ['net']]);
  assert.deepEqual(part.leftOut.find(({ path }) => path === 'kernel/fork.c')?.why, 'not-chosen');
  assert.notEqual(part.sha256, whole.sha256);
  await assert.rejects(imported('sound'), { code: 'fix-empty' });
  await assert.rejects(imported('Documentation'), { code: 'fix-empty', message: /documentation/ });
});

test('reads a patch of an earlier version again, and finds what hides in it', async (t) => {
  const home = await scratch(t);
  const directory = join(home, 'fixes', 'OLD');
  await mkdir(directory, { recursive: true });
  const keep = async (patch: string): Promise<void> => {
    const record = {
      schema: 'kmend.fix/1',
      ...words,
      id: 'OLD',
      origin: { kind: 'patch', file: 'x' },
      sha256: sha256(patch),
    };
    await writeFile(join(directory, 'fix.patch'), patch);
    await writeFile(join(directory, 'fix.json'), JSON.stringify(record));
  };
  const mail = `From: Jörg\nSubject: x\n---\n${PATCH}`;
  await keep(`${mail}${PATCH.replaceAll('dir/unit.c', 'Documentation/x')}-- \n2.39.5\n`);
  const { files, patch, leftOut } = await new FixStore(home).open('OLD');
  assert.deepEqual(
    [files, patch, leftOut],
    [['dir/unit.c'], PATCH, [{ path: 'Documentation/x', why: 'documentation' }]],
  );
  await keep(`${mail}\n@@ -9 +9 @@\n-x\n+y\n`);
  await assert.rejects(
    new FixStore(home).open('OLD'),
    (error) => errorCode(error) === 'fix-garbage' && /OLD cannot be used: line 12 /.test(String(error)),
  );
  // Imported when bytes were read as UTF-8.
  await keep(PATCH.replace('+2', '+"\uFFFD"'));
  await assert.rejects(new FixStore(home).open('OLD'), { code: 'fix-garbage', message: /byte was lost/ });
});
