import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { enrolOther } from '../testing/clone.ts';
import { TestKernel } from '../testing/kernel.ts';
import { runProgram } from './program.ts';

async function call(kernel: TestKernel, uid: number, ...argv: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const streams = {
    out: { write: (text: string) => out.push(text) },
    err: { write: (text: string) => err.push(text) },
  };
  const { signal } = new AbortController();
  const exitCode = await runProgram(argv, streams, {
    edges: kernel.edges(),
    env: {},
    uid,
    stdin: Readable.from([]),
    signal,
  });
  return { exitCode, out: out.join(''), err: err.join('') };
}

test('prints help, version and usage errors without root', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  assert.match((await call(kernel, 1000, '--help')).out, /Exit codes of status and doctor: 0 latest/);
  assert.equal((await call(kernel, 1000, 'status', '--help')).exitCode, 0);
  assert.match((await call(kernel, 1000, '--version')).out, /^\d+\.\d+\.\d+\n$/);
  for (const argv of [['nothing'], ['constructor'], ['status', '--wrong'], ['check', 'now']]) {
    const { exitCode, out } = await call(kernel, 1000, ...argv, '--json');
    assert.equal(exitCode, 6, argv.join(' '));
    assert.equal(JSON.parse(out).error.code, 'usage');
  }
});

test('reports first not-root, then not-enrolled, with code, hint and exit code 5, also as JSON', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const wantRoot = ['status', 'doctor', 'uname', 'history', 'check', 'apply', 'revert', 'hold', 'resume', 'enrol'];
  for (const command of [...wantRoot, 'loader', 'boot', 'shutdown']) {
    const { exitCode, err } = await call(kernel, 1000, command);
    assert.equal(exitCode, 5, command);
    assert.match(err, /\[not-root\]\n {2}run it with sudo/, command);
  }
  const { exitCode, out } = await call(kernel, 0, 'status', '--json');
  assert.equal(exitCode, 5);
  assert.equal(JSON.parse(out).error.code, 'not-enrolled');
  for (const command of ['check', 'apply', 'revert', 'hold', 'resume'])
    assert.match((await call(kernel, 0, command)).err, /\[not-enrolled\]/, command);
  assert.match((await call(kernel, 0, 'doctor')).out, /not-enrolled.*\n.*kmend-agent enrol/);
  // What talks to the network does not run as root.
  for (const command of ['fetcher-once', 'fetcher-enrol'])
    assert.match((await call(kernel, 0, command)).err, /\[is-root\]/, command);
  assert.equal((await call(kernel, 0, 'hold', '--until', 'soon')).exitCode, 6);
  assert.equal((await call(kernel, 0, 'apply', '--serial', '0')).exitCode, 6);
});

test('lets boot and shutdown units succeed on a clone, while commands report other-machine', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  await enrolOther(kernel);
  await kernel.write('/etc/machine-id', `${'1'.repeat(32)}\n`);
  const { exitCode, out } = await call(kernel, 0, 'boot', '--json');
  assert.deepEqual([exitCode, JSON.parse(out).outcome], [0, 'other-machine']);
  assert.equal((await call(kernel, 0, 'shutdown')).exitCode, 0);
  assert.match((await call(kernel, 0, 'resume')).err, /\[other-machine\]/);
});
