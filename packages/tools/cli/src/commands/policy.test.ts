import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BUILD_ID } from '@kmend/harness/servers';
import type { KernelPolicy } from '@kmend/protocol';
import { patchServer } from '../testing/patch-server.ts';
import { policyCommands } from './policy.ts';
import { kernelText } from './policy-text.ts';

test('sets halt and interval independently', async (t) => {
  const { kmend } = await patchServer(t, [policyCommands]);
  const fleet = async (...argv: string[]): Promise<string> => (await kmend('policy', 'fleet', ...argv)).out;
  assert.match(await fleet('--check-interval', '60'), /^hosts check every 60 s; not halted$/m);
  assert.match(await fleet('--halt'), /every 60 s; HALTED: no host loads anything new \(--resume lifts it\)/);
  assert.match(await fleet('--check-interval', '90'), /every 90 s; HALTED/);
  assert.match(await fleet('--resume'), /every 90 s; not halted/);
  assert.match(await fleet(), /every 90 s; not halted/);
  assert.match(await fleet('--consolidate', 'on'), /every 90 s; not halted; stacks of packages are consolidated/);
  assert.match(await fleet('--halt'), /stacks of packages are consolidated/);
  assert.match(await fleet('--consolidate', 'off', '--resume'), /every 90 s; not halted$/m);
  const both = await kmend('policy', 'fleet', '--halt', '--resume');
  assert.deepEqual([both.exitCode, /cannot be used with/.test(both.err)], [2, true]);
  const often = await kmend('policy', 'fleet', '--check-interval', '1');
  assert.deepEqual([often.exitCode, /checkIntervalSeconds.*\[bad-request\]/.test(often.err)], [1, true], often.err);
});

test('withdraws a livepatch and settles an older one in one command, and restores it later', async (t) => {
  const { kmend, publish, api } = await patchServer(t, [policyCommands]);
  await publish(1);
  await publish(2);
  const kernel = (...argv: string[]) => kmend('policy', 'kernel', BUILD_ID, ...argv);
  assert.match((await kernel()).out, /^ {2}stable +serial 2$/m);
  const back = await kernel('--withdraw', '2', '--reason', 'it hangs', '--settle', '1', '--channel', 'stable', 'early');
  assert.equal(back.exitCode, 0, back.err);
  assert.match(back.out, /canary +none\n +early +serial 1\n +stable +serial 1\nwithdrawn\n {2}serial 2: it hangs$/m);

  const settled = await kernel('--settle', '2');
  assert.equal(settled.exitCode, 1);
  assert.match(
    settled.err,
    /serial 2 is withdrawn \(it hangs\).*\[policy-invalid\]\n {2}restore it in the same command/,
  );
  const wrong = await kernel('--restore', '1');
  assert.match(wrong.err, /serial 1 is not withdrawn.*\[policy-invalid\]\n {2}withdrawn: 2/);

  const restored = await kernel('--restore', '2', '--settle', '2');
  assert.match(restored.out, /stable +serial 2\nwithdrawn\n {2}none$/m);
  assert.deepEqual((await api.kernelPolicy(BUILD_ID)).channels.early, { settled: 1, rollout: null });
});

test('rejects ambiguous options as wrong usage and sends nothing', async (t) => {
  const { kmend, publish } = await patchServer(t, [policyCommands]);
  await publish(1);
  for (const argv of [
    ['--withdraw', '1'],
    ['--withdraw', '1', '--reason', ' '],
    ['--restore', 'all'],
    ['--settle', '0'],
    ['--settle', '1', '--channel', 'fast'],
    ['--withdraw', '1', '--reason', 'it hangs', '--channel', 'early'],
    ['--restore', '1', '--reason', 'it is fine'],
  ]) {
    const { exitCode } = await kmend('policy', 'kernel', BUILD_ID, ...argv);
    assert.equal(exitCode, 2, argv.join(' '));
  }
  assert.match((await kmend('policy', 'kernel', BUILD_ID)).out, /withdrawn\n {2}none/);
});

test('shows a settled serial that is withdrawn as none', () => {
  const policy: KernelPolicy = {
    schema: 'kmend.kernel-policy/1',
    buildId: BUILD_ID,
    channels: {
      stable: { settled: 2, rollout: null },
      canary: { settled: 1, rollout: { id: 'r', serial: 2, permyriad: 2550 } },
    },
    withdrawn: [{ serial: 2, reason: 'it hangs' }],
    issued: '2026-11-02T00:00:00Z',
  };
  assert.match(kernelText(policy), /^ {2}stable +none: serial 2 \(WITHDRAWN\)$/m);
  assert.match(kernelText(policy), /^ {2}canary +serial 1; the rollout of serial 2 \(WITHDRAWN\) has no effect$/m);
  const fine = { ...policy, withdrawn: [] };
  assert.match(kernelText(fine), /^ {2}canary +serial 2 on 25\.5 % of the hosts; else serial 1$/m);
});

test('marks a fresh kernel as needing no livepatch before anything is published for it', async (t) => {
  const { kmend, publish, api } = await patchServer(t, [policyCommands]);
  const unknown = await kmend('policy', 'kernel', BUILD_ID, '--settle', '1');
  assert.match(unknown.err, /\[not-found\]/);
  const said = await kmend('policy', 'kernel', BUILD_ID, '--settle', 'none', '--channel', 'stable', 'early');
  assert.equal(said.exitCode, 0, said.err);
  assert.match(said.out, /stable +none: this kernel needs no livepatch yet$/m);
  assert.match(said.out, /canary +none$/m);
  assert.equal((await api.kernelPolicy(BUILD_ID)).channels.early?.noneNeeded, true);
  await publish(1);
  assert.match((await kmend('policy', 'kernel', BUILD_ID)).out, /stable +serial 1$/m);
  assert.match((await kmend('policy', 'kernel', BUILD_ID)).out, /early +none: this kernel needs no livepatch yet$/m);
});
