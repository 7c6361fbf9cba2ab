import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { release, tmpdir, version } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from '@kmend/base/node';
import { build } from 'esbuild';
import { SNAPSHOT_FORMAT } from './bundle.ts';
import { makeSnapshot, SNAPSHOT } from './snapshot.ts';

/** What a process that starts from a snapshot must have of its own. */
const TELLS = `import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { release, version } from 'node:os';
import { startProgram } from ${JSON.stringify(fileURLToPath(new URL('../cli/start.ts', import.meta.url)))};
const prepared = [];
startProgram(async () => {
  const { ppid, argv, execPath, env: { WORD } } = process;
  const late = Math.abs(performance.timeOrigin - Date.now()) > 5000;
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  const shared = { ppid, argv, execPath, WORD, late, cwd: process.cwd(), timeZone, hour: new Date(0).getHours() };
  console.log(JSON.stringify({ own: [Math.random(), randomUUID(), process.pid], ...shared, prepared, kernel: [release(), version()], read: typeof readFile }));
}, async () => prepared.push('in the snapshot'));
`;

test('describes its own process and machine when started from a snapshot, nothing of where the snapshot was made', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-snapshot-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const stdin = { contents: TELLS, resolveDir: directory };
  const { outputFiles } = await build({ ...SNAPSHOT_FORMAT, stdin });
  await writeFile(join(directory, 'tells.cjs'), outputFiles[0]?.contents ?? '');
  await makeSnapshot(run, process.execPath, directory, 'tells.cjs');
  const tell = (TZ: string, cwd: string, ...words: string[]) => {
    const args = [`--snapshot-blob=${join(directory, SNAPSHOT)}`, 'program', ...words];
    const env = { WORD: words.join(), TZ };
    const { own, ...rest } = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8', cwd, env }));
    return { own, rest };
  };
  const [one, two] = [tell('Asia/Tokyo', '/', 'one'), tell('UTC', '/usr', 'two', '--json')];
  for (const [index, value] of one.own.entries()) assert.notEqual(value, two.own[index]);
  const { pid: ppid, execPath } = process;
  const kernel = [release(), version()];
  const shared = { ppid, execPath, late: false, prepared: ['in the snapshot'], kernel, read: 'function' };
  const argv = [execPath, 'program'];
  const here = { argv: [...argv, 'one'], WORD: 'one', cwd: '/', timeZone: 'Asia/Tokyo', hour: 9 };
  const there = { argv: [...argv, 'two', '--json'], WORD: 'two,--json', cwd: '/usr', timeZone: 'UTC', hour: 0 };
  assert.deepEqual(
    [one.rest, two.rest],
    [
      { ...shared, ...here },
      { ...shared, ...there },
    ],
  );
  const bytes = await readFile(join(directory, SNAPSHOT));
  for (const word of [directory, execPath, ...kernel])
    assert.equal(bytes.includes(word), false, `the snapshot tells of ${word}`);
});
