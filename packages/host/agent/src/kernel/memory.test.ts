import assert from 'node:assert/strict';
import { test } from 'node:test';
import { neededMemory } from '@kmend/rules';
import { TestKernel } from '../testing/kernel.ts';
import { assertMemory, availableMemory } from './memory.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Head of /proc/meminfo as fs/proc/meminfo.c of 6.1 prints it. */
const meminfo = (available: string): string =>
  `MemTotal:        2014240 kB\nMemFree:           83908 kB\n${available}Buffers:           12044 kB\n`;

async function hostWith(available: string): Promise<TestKernel> {
  const kernel = await TestKernel.make();
  await kernel.write('/proc/meminfo', meminfo(available));
  return kernel;
}

test('needs more memory for a larger module and more functions, and never less than the floor', () => {
  assert.equal(neededMemory({ moduleSize: 0, functions: 0 }), 32 * MIB);
  assert.equal(neededMemory({ moduleSize: 5 * MIB, functions: 1000 }), 20 * MIB + 8000 * KIB + 32 * MIB);
});

test('refuses a load that lacks one kilobyte', async (context) => {
  const need = { moduleSize: MIB, functions: 128 };
  const wanted = neededMemory(need) / KIB;
  const enough = await hostWith(`MemAvailable:   ${wanted} kB\n`);
  const low = await hostWith(`MemAvailable:   ${wanted - 1} kB\n`);
  context.after(() => Promise.all([enough.remove(), low.remove()]));
  await assertMemory(enough.edges(), need);
  await assert.rejects(
    assertMemory(low.edges(), need),
    (error: { code?: string; message: string; details?: object }) => {
      assert.equal(error.code, 'memory-low');
      assert.match(error.message, /^36\.9 MiB of memory are available, 37\.0 MiB are needed$/);
      assert.deepEqual(error.details, { available: (wanted - 1) * KIB, needed: wanted * KIB, ...need });
      return true;
    },
  );
});

test('leaves the decision to the kernel where it does not show its state', async (context) => {
  for (const line of ['', 'MemAvailable: many kB\n', `MemAvailable: ${'9'.repeat(30)} kB\n`]) {
    const kernel = await hostWith(line);
    context.after(() => kernel.remove());
    assert.equal(await availableMemory(kernel.edges()), undefined);
    await assertMemory(kernel.edges(), { moduleSize: 64 * MIB, functions: 10_000 });
  }
});
