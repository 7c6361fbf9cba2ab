import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KmendError } from '../error.ts';
import { run } from '../node/index.ts';
import { cpuMs } from './cpu.ts';
import { fuzz } from './fuzz.ts';

const options = {
  name: 'fuzz itself',
  cases: 50,
  make: (random: { below(limit: number): number }) => random.below(10),
};

test('counts outcomes by code, the same in every run', async () => {
  const attempt = (input: number): void => {
    if (input < 5) throw new KmendError('small', 'too small');
  };
  const first = await fuzz({ ...options, attempt });
  assert.deepEqual(first, await fuzz({ ...options, attempt }));
  assert.equal(first.accepted + (first.refused.get('small') ?? 0), 50);
  assert.ok(first.accepted > 10 && first.accepted < 40);
});

test('names the seed of an unexpected failure, of a slow case and of a large one', async () => {
  const fails = (attempt: (input: number) => unknown, limits = {}) => fuzz({ ...options, ...limits, attempt });
  const crash = fails((input) => {
    if (input === 7) throw new TypeError('undefined is not a function');
  });
  await assert.rejects(crash, /KMEND_FUZZ_SEED=\d+/);
  const busy = (): void => {
    for (const begin = cpuMs(); cpuMs() - begin < 60; );
  };
  await assert.rejects(fails(busy, { caseMs: 50 }), /took \d+ ms: seed 1,/);
  // What waits, as for the processor of a busy machine, is not slow.
  const waits = (): unknown => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600);
  await fails(waits, { cases: 1, caseMs: 300 });
  const kept: Buffer[] = [];
  await assert.rejects(
    fails(() => kept.push(Buffer.alloc(3 << 20)), { caseBytes: 1 << 20 }),
    /allocated 3\d+ bytes: seed 1,/,
  );
});

test('names a case that never ends, and ends the process', async () => {
  const module = new URL('./fuzz.ts', import.meta.url).href;
  const script = `import { fuzz } from '${module}';
    await fuzz({ name: 'endless', cases: 3, caseMs: 100, make: () => 0, attempt() { for (;;); } });`;
  const result = await run(process.execPath, ['--input-type=module', '-e', script], { timeoutMs: 20_000 });
  assert.equal(result.exitCode, 137);
  assert.match(result.stderr, /endless: the case with seed 1 does not end/);
});
