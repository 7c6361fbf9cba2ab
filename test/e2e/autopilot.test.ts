import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { KERNEL, KMEND, Operator, SUITE, TO } from '@kmend/harness';
import type { Review, UpdateReport } from '@kmend/pipeline';
import type { AutopilotState } from '@kmend/pipeline/autopilot';
import type { Proof } from '@kmend/protocol';

/** Two files of Debian 12's update of 2026: one that is patchable, one whose change a person must read. */
const PATCHABLE = 'net/ipv4/icmp.c';
const REVIEWED = 'net/ipv4/inet_connection_sock.c';
/** One that the update's changelog names; the record is made up. */
const CVE = 'CVE-2023-53292';

const operator = await Operator.make(new AbortController().signal);
const config = join(operator.home, 'autopilot.json');
const records = join(operator.home, 'records.jsonl');
let server: Awaited<ReturnType<Operator['startServer']>> | undefined;

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  server = await operator.startServer();
  await writeFile(records, `${JSON.stringify({ id: CVE, state: 'PUBLISHED', title: '', files: [PATCHABLE] })}\n`);
  const what = { kernels: [KERNEL], to: TO, records: [records], paths: [PATCHABLE, REVIEWED] };
  const prove = { exercise: false, rounds: 2 };
  const publish = { channel: 'canary', minRan: 0, reason: 'a test' };
  await writeFile(config, JSON.stringify({ ...what, prove, publish }));
});
after(async () => {
  await server?.stop();
  await operator.remove();
});

async function run(): Promise<AutopilotState> {
  const { kernels } = await operator.kmend<{ kernels: AutopilotState[] }>(
    'autopilot',
    'run',
    '--config',
    config,
    '--once',
  );
  assert.equal(kernels.length, 1);
  return kernels[0] as AutopilotState;
}

async function reportOf({ out = '' }: AutopilotState): Promise<UpdateReport> {
  return JSON.parse(await readFile(join(out, 'update.json'), 'utf8')) as UpdateReport;
}

function codeOf({ json }: { json: unknown }): string | undefined {
  return (json as { error?: { code: string } } | undefined)?.error?.code;
}

test('lets one autopilot alone act, and goes on after it was killed in a proof', async () => {
  const child = spawn(KMEND, ['autopilot', 'run', '--config', config], {
    env: operator.environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  for await (const line of createInterface(child.stderr)) if (/prove: load|next look/.test(line)) break;
  const second = await operator.run('autopilot', 'run', '--config', config, '--once');
  assert.deepEqual([second.exitCode, codeOf(second)], [1, 'autopilot-running']);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const { kernels } = await operator.kmend<{ kernels: AutopilotState[] }>('update', 'status');
  assert.equal(kernels[0]?.step, 'proving');
});

test('publishes what is patchable, and asks about the rest', async () => {
  const state = await run();
  assert.deepEqual([state.step, state.serial, state.to, state.problem], ['published', 1, TO, undefined]);
  const { fixes, cves, livepatch } = await reportOf(state);
  assert.deepEqual(
    fixes.map(({ id, state }) => [id, state]),
    [
      ['net.ipv4.icmp.c', 'livepatched'],
      ['net.ipv4.inet_connection_sock.c', 'waiting'],
    ],
  );
  assert.equal(livepatch?.id, state.livepatch);
  assert.deepEqual(
    cves.filter(({ state }) => state === 'livepatched').map(({ id, fixes }) => [id, fixes]),
    [[CVE, ['net.ipv4.icmp.c']]],
  );
  // The same again: there is nothing to do, but to take the record of a CVE away.
  await writeFile(records, '');
  assert.deepEqual(await run(), state);
  const later = await reportOf(state);
  assert.deepEqual([later.fixes, later.cves.find(({ id }) => id === CVE)?.state], [fixes, 'no-record']);
});

test('takes what a person has accepted, proves it against the livepatch before, and publishes it', async () => {
  const { reviews } = await operator.kmend<{ reviews: Review[] }>('review', 'list');
  const [review] = reviews;
  assert.deepEqual([reviews.length, review?.state, review?.paths], [1, 'open', [REVIEWED]]);
  const shown = await operator.kmend<Review & { patch: string }>('review', 'show', review?.key.slice(0, 12) ?? '');
  assert.match(shown.patch, /^\+.*rcu_read_lock/m);
  const unknown = await operator.run('review', 'accept', 'ffffffff', '--reason', 'no');
  assert.deepEqual([unknown.exitCode, codeOf(unknown)], [1, 'review-unknown']);
  await operator.kmend('review', 'accept', review?.key ?? '', '--reason', 'read');
  const state = await run();
  assert.deepEqual([state.step, state.serial], ['published', 2]);
  const report = await reportOf(state);
  assert.ok(report.fixes.every((fix) => fix.state === 'livepatched'));
  const proof = JSON.parse(await readFile(join(state.out ?? '', 'livepatch', 'proof.json'), 'utf8')) as Proof;
  assert.equal(proof.steps.find(({ name }) => name === 'replace')?.outcome, 'passed');
});

test('leaves out what a person has rejected', async () => {
  const { reviews } = await operator.kmend<{ reviews: Review[] }>('review', 'list');
  await operator.kmend('review', 'reject', reviews[0]?.key ?? '', '--reason', 'not here');
  const out = join(operator.home, 'by-hand');
  const words = ['--kernel', KERNEL, '--to', TO, '--path', REVIEWED, '--out', out];
  const { exitCode, json } = await operator.run('update', 'build', ...words);
  const { fixes, livepatch } = json as UpdateReport;
  assert.deepEqual([exitCode, livepatch, fixes.map(({ state }) => state)], [3, null, ['rejected']]);
});

test('refuses configurations that are wrong, with the member', async () => {
  const wrong = join(operator.home, 'wrong.json');
  for (const [text, pattern] of [
    ['{', /no JSON/],
    ['{"kernels": []}', /kernels/],
    [`{"kernels": ["${KERNEL}"], "chanel": "canary"}`, /chanel/],
  ] as const) {
    await writeFile(wrong, text);
    const result = await operator.run('autopilot', 'run', '--config', wrong, '--once');
    assert.deepEqual([result.exitCode, codeOf(result)], [1, 'autopilot-config']);
    assert.match(JSON.stringify(result.json), pattern);
  }
});

test('has nothing to do where no record names a file of the update, and says so without a failure', async () => {
  const named = join(operator.home, 'named.json');
  await writeFile(named, JSON.stringify({ kernels: [KERNEL], to: TO, named: true }));
  for (let turn = 0; turn < 2; turn++) {
    const words = ['autopilot', 'run', '--config', named, '--once'];
    const { kernels } = await operator.kmend<{ kernels: AutopilotState[] }>(...words);
    assert.deepEqual([kernels[0]?.step, kernels[0]?.problem], ['nothing', undefined]);
  }
});
