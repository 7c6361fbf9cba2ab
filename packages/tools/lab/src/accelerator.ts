import { access, constants, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@kmend/base';
import { writeFileAtomic } from '@kmend/base/node';
import { z } from 'zod';
import { spawnBound } from './bound.ts';
import { type Accelerator, probeArguments } from './qemu.ts';

/** Which accelerator the lab uses, and why: `reason` is one sentence for people. */
export interface AcceleratorChoice {
  readonly accelerator: Accelerator;
  readonly reason: string;
}

const choiceSchema = z.object({ accelerator: z.enum(['kvm', 'tcg']), reason: z.string() });

/** A real kernel needs about one second under KVM to get to the point where it misses its root. */
const PROBE_MS = 10_000;
/** What the kernel prints when it does. */
const ALIVE = /Kernel panic - not syncing: VFS: Unable to mount root fs/;

/**
 * KVM if a real kernel really runs under it, else TCG. A `/dev/kvm` that opens proves little: nested in another virtual
 * machine it may start a guest that then hangs. The answer is kept until the machine reboots.
 */
export async function chooseAccelerator(cache: string, clock: Clock, vmlinuz: string): Promise<AcceleratorChoice> {
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return { accelerator: 'tcg', reason: '/dev/kvm is absent or not accessible to this user' };
  }
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const record = join(cache, `accelerator-${bootId}.json`);
  const known = await readRecord(record);
  if (known !== undefined) return known;
  const start = clock.monotonic();
  const failure = await probeKvm(vmlinuz, cache);
  const seconds = ((clock.monotonic() - start) / 1000).toFixed(1);
  const choice: AcceleratorChoice =
    failure === undefined
      ? { accelerator: 'kvm', reason: `a kernel ran under KVM in ${seconds} s` }
      : { accelerator: 'tcg', reason: `/dev/kvm opens, but no kernel runs under it: ${failure}` };
  await writeFileAtomic(record, `${JSON.stringify(choice)}\n`);
  return choice;
}

async function readRecord(path: string): Promise<AcceleratorChoice | undefined> {
  try {
    return choiceSchema.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    return undefined; // absent or torn: probe again
  }
}

/** Why no kernel ran; `undefined` when one did. */
function probeKvm(vmlinuz: string, cwd: string): Promise<string | undefined> {
  const child = spawnBound('qemu-system-x86_64', probeArguments('kvm', vmlinuz), { cwd, channels: 0 });
  return new Promise((resolve) => {
    let text = '';
    let said = '';
    const timer = setTimeout(() => {
      said = `it stood still for ${PROBE_MS / 1000} s`;
      child.kill('SIGKILL');
    }, PROBE_MS);
    child.stdout?.on('data', (chunk: Buffer) => {
      text = (text + chunk.toString('latin1')).slice(-1_000_000);
      if (ALIVE.test(text)) child.kill('SIGKILL');
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      said ||= (chunk.toString('utf8').split('\n')[0] ?? '').slice(0, 200);
    });
    const onEnd = (): void => {
      clearTimeout(timer);
      resolve(ALIVE.test(text) ? undefined : said);
    };
    child.once('error', onEnd);
    child.once('close', onEnd);
  });
}
