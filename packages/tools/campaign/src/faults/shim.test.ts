import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { cleanEnvironment, run } from '@kmend/base/node';
import { compileShim, type Plan, planText } from './shim.ts';

/** Writes a file as the agent writes its journal, by the very code that the agent has of it. */
const WRITER = `import { writeFileAtomic } from ${JSON.stringify(import.meta.resolve('@kmend/base/node'))};
await writeFileAtomic(process.argv[3], 'new content').catch((error) => { console.log(error.code); process.exit(3); });
console.log('done');`;

let place: string;
before(async () => {
  place = await mkdtemp(join(tmpdir(), 'kmend-shim-'));
  await copyFile(join(process.execPath), join(place, 'node'));
  await writeFile(join(place, 'writer.mjs'), WRITER);
  await compileShim(join(place, 'fault.so'), {
    node: join(place, 'node'),
    library: join(place, 'fault.so'),
    plan: join(place, 'plan'),
    runtime: join(place, 'runtime'),
    watched: [join(place, 'watched')],
  });
});
after(() => rm(place, { recursive: true, force: true }));
beforeEach(async () => {
  for (const name of ['watched', 'runtime']) {
    await rm(join(place, name), { recursive: true, force: true });
    await mkdir(join(place, name));
  }
  await writeFile(join(place, 'watched', 'file'), 'old content');
});

interface Written {
  readonly said: string;
  /** 137: killed. */
  readonly exitCode: number;
  readonly content: string;
  readonly names: readonly string[];
  readonly steps: readonly string[];
}

async function write(
  plan: Plan,
  node = join(place, 'node'),
  words = [join(place, 'writer.mjs'), 'writer'],
): Promise<Written> {
  await writeFile(join(place, 'plan'), `${planText(plan)}\n`);
  const target = join(place, 'watched', 'file');
  const env = { ...cleanEnvironment(), LD_PRELOAD: join(place, 'fault.so') };
  const { exitCode, stdout } = await run(node, [...words, target], { env });
  const trace = await readFile(join(place, 'runtime', 'trace'), 'utf8').catch(() => '');
  return {
    said: stdout.toString('utf8').trim(),
    exitCode,
    content: await readFile(target, 'utf8'),
    names: await readdir(join(place, 'watched')),
    steps: trace.split('\n').flatMap((line) => line.split(' ')[2] ?? []),
  };
}

test('takes every call that changes the disk as a step, in order', async () => {
  const { said, steps, content } = await write({ mode: 'trace' });
  assert.deepEqual(steps, ['mkdir', 'create', 'chmod', 'write', 'fsync', 'rename', 'fsync']);
  assert.deepEqual([said, content], ['done', 'new content']);
});

test('kills right before a step, or right after it', async () => {
  const before = await write({ mode: 'kill', op: 'rename' });
  assert.deepEqual([before.exitCode, before.content, before.names.length], [137, 'old content', 2]);
});

test('kills right after a step', async () => {
  const after = await write({ mode: 'kill', op: 'rename', when: 'after' });
  assert.deepEqual([after.exitCode, after.content], [137, 'new content']);
});

test('counts the n-th step of all, and the n-th that fits', async () => {
  assert.equal((await write({ mode: 'kill', n: 2 })).steps.at(-1), 'create');
});

test('fails a call as a full disk does, once or from there on', async () => {
  const { said, exitCode, content, names } = await write({ mode: 'error', errno: 28, op: 'fsync', nth: 1 });
  assert.deepEqual([said, exitCode, content, names], ['ENOSPC', 3, 'old content', ['file']]);
});

test('writes half of the data, and then nothing more', async () => {
  const { said, content, names } = await write({
    mode: 'error',
    errno: 28,
    op: 'write|unlink',
    short: 1,
    span: 'all',
  });
  // What is in the way of tidying up stays: half a file.
  assert.deepEqual([said, content, names.length], ['ENOSPC', 'old content', 2]);
  const half = names.find((name) => name.endsWith('.tmp')) ?? '';
  assert.equal(await readFile(join(place, 'watched', half), 'utf8'), 'new c');
});

test('does not affect another program, role or folder', async () => {
  assert.deepEqual((await write({ mode: 'kill', n: 1 }, process.execPath)).steps, []);
  assert.equal((await write({ mode: 'kill', n: 1, role: 'other' })).said, 'done');
  assert.equal((await write({ mode: 'kill', n: 1, role: 'writer' })).exitCode, 137);
});

test('knows the role of a program that Node starts from a file or from a snapshot', async () => {
  const file = join(place, 'writer.mjs');
  // From a snapshot, the program's name stands where its file would: here it is a word behind the file.
  for (const words of [
    [file, 'writer'],
    ['--import', file, '-e', '0', 'kmend-agent', 'writer'],
  ])
    assert.equal(
      (await write({ mode: 'kill', n: 1, role: 'writer' }, undefined, words)).exitCode,
      137,
      words.join(' '),
    );
});
