import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from '@kmend/base/node';
import { build } from 'esbuild';
import { makeSnapshot, SNAPSHOT } from './snapshot.ts';

/** What a process that starts from a snapshot must have of its own. */
const TELLS = `import { randomUUID } from 'node:crypto';
import { startProgram } from ${JSON.stringify(fileURLToPath(new URL('../cli/start.ts', import.meta.url)))};
const prepared = [];
startProgram(async () => {
  const { pid, ppid, argv, execPath, env: { WORD } } = process;
  const clock = Math.round(performance.timeOrigin / 1000 - Date.now() / 1000);
  console.log(JSON.stringify({ own: [Math.random(), randomUUID(), pid], ppid, argv, execPath, WORD, clock, prepared }));
}, async () => prepared.push('in the snapshot'));
`;

test('a process that starts from a snapshot has its own arguments, environment, time and random numbers', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-snapshot-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const stdin = { contents: TELLS, resolveDir: directory };
  const { outputFiles } = await build({ stdin, bundle: true, write: false, platform: 'node', format: 'cjs' });
  await writeFile(join(directory, 'tells.cjs'), outputFiles[0]?.contents ?? '');
  await makeSnapshot(run, process.execPath, directory, 'tells.cjs');
  const tell = (...words: string[]) => {
    const args = [`--snapshot-blob=${join(directory, SNAPSHOT)}`, 'program', ...words];
    return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8', env: { WORD: words.join() } }));
  };
  const [one, two] = [tell('one'), tell('two', '--json')];
  for (const [index, value] of one.own.entries()) assert.notEqual(value, two.own[index]);
  assert.deepEqual(
    [one.argv.slice(1), two.argv.slice(1)],
    [
      ['program', 'one'],
      ['program', 'two', '--json'],
    ],
  );
  for (const { ppid, execPath, clock, prepared } of [one, two])
    assert.deepEqual(
      [ppid, execPath, Math.abs(clock) <= 2, prepared],
      [process.pid, process.execPath, true, ['in the snapshot']],
    );
  assert.deepEqual([one.WORD, two.WORD], ['one', 'two,--json']);
  const bytes = await readFile(join(directory, SNAPSHOT));
  for (const word of [directory, process.execPath])
    assert.equal(bytes.includes(word), false, `the snapshot tells of ${word}`);
});
