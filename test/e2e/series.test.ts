import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '@kmend/base/node';
import { KERNEL, type KmendResult, Operator, openLab, PatchedHost, patchOf, SUITE } from '@kmend/harness';
import type { Host } from '@kmend/lab';
import type { Livepatch } from '@kmend/protocol';

/**
 * One series of fixes as a stack and as a cumulative livepatch, on the real kernel: each fix adds a line to what /proc
 * shows.
 */
const signal = new AbortController().signal;
const operator = await Operator.make(signal);
const { lab, kernels } = openLab(operator.cache, signal);
let host: Host;

const says = (word: string) => (text: string) =>
  text.replace(
    '\treturn 0;\n}\n\nstatic int __init',
    `\tseq_puts(m, "${word}\\n");\n\treturn 0;\n}\n\nstatic int __init`,
  );

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  const counted = (text: string): string =>
    says('second')(text)
      .replace('static int version_proc_show', 'static int shown;\n\nstatic int version_proc_show')
      .replace('"second\\n");', '"second\\n");\n\tseq_printf(m, "shown %d\\n", ++shown);');
  const patches = {
    first: await patchOf(operator, 'fs/proc/version.c', says('first')),
    second: await patchOf(operator, 'fs/proc/version.c', counted, says('first')),
    third: await patchOf(operator, 'fs/proc/cmdline.c', says('third')),
    fourth: await patchOf(
      operator,
      'fs/proc/version.c',
      (text) => text.replace('++shown', '++shown * 10'),
      (text) => counted(says('first')(text)),
    ),
  };
  for (const [id, patch] of Object.entries(patches))
    await operator.kmend('fix', 'import', '--id', id, '--patch', patch);
  host = await lab.boot(await kernels.open(KERNEL), { name: 'series' });
});
after(async () => {
  await lab.close();
  await operator.remove();
});

async function build(
  name: string,
  ...args: string[]
): Promise<KmendResult & { readonly manifest: Livepatch; readonly out: string }> {
  const out = join(operator.home, name);
  const result = await operator.run('build', '--kernel', KERNEL, '--out', out, '--accept-review', ...args);
  return { ...result, manifest: result.json as Livepatch, out };
}

const names = ({ objects }: Livepatch): string[][] =>
  objects.map(({ name, functions }) => [name, ...functions.map((entry) => entry.name).sort()]);

async function load({ manifest, out }: { manifest: Livepatch; out: string }): Promise<void> {
  const file = `/root/${manifest.module}.ko`;
  await host.copyIn(join(out, `${manifest.module}.ko`), file);
  await host.check(`insmod ${file}`);
  await settled(manifest.module, '1');
}

async function settled(module: string, enabled: string): Promise<void> {
  const state = `/sys/kernel/livepatch/${module}`;
  await host.check(
    `while [ "$(cat ${state}/transition 2>/dev/null)" = 1 ]; do sleep 0.2; done; [ ! -e ${state} ] || [ "$(cat ${state}/enabled)" = ${enabled} ]`,
    { timeoutMs: 120_000 },
  );
}

const shown = async (): Promise<string[]> =>
  (await host.check('cat /proc/version | tail -n +2; tail -n +2 /proc/cmdline')).trim().split('\n');

test('loads a stack of three with common functions, then replaces it with one cumulative livepatch', async () => {
  const first = await build('first', '--stacked', '--fix', 'first');
  assert.equal(first.exitCode, 0, first.stderr);
  assert.deepEqual([first.manifest.kind, first.manifest.dependsOn], ['stacked', []]);
  const second = await build('second', '--stacked', '--on', 'first', '--fix', 'second');
  assert.equal(second.exitCode, 0, second.stderr);
  assert.deepEqual(names(second.manifest), [['vmlinux', 'version_proc_show']]);
  assert.deepEqual(second.manifest.dependsOn, ['first']);
  assert.deepEqual(
    second.manifest.fixes.map(({ id }) => id),
    ['second'],
  );
  const third = await build('third', '--stacked', '--on', 'first', 'second', '--fix', 'third');
  assert.deepEqual(names(third.manifest), [['vmlinux', 'cmdline_proc_show']], third.stderr);
  assert.deepEqual(third.manifest.dependsOn, [], 'nothing below changes the same function');
  const all = await build('all', '--fix', 'first', 'second', 'third');
  assert.deepEqual(names(all.manifest), [['vmlinux', 'cmdline_proc_show', 'version_proc_show']], all.stderr);

  await load(first);
  assert.deepEqual(await shown(), ['first']);
  await load(second);
  assert.deepEqual(await shown(), ['first', 'second', 'shown 1']);
  await load(third);
  assert.deepEqual(await shown(), ['first', 'second', 'shown 2', 'third']);
  await load(all);
  assert.deepEqual(
    await shown(),
    ['first', 'second', 'shown 1', 'third'],
    'the state of a stacked livepatch goes with it',
  );
  const loaded = (await host.check('ls /sys/kernel/livepatch')).trim();
  assert.equal(loaded, all.manifest.module);
  await host.check(`echo 0 > /sys/kernel/livepatch/${all.manifest.module}/enabled`);
  await settled(all.manifest.module, '0');
  assert.deepEqual(await shown(), ['']);
  const own = new PatchedHost(host, lab, operator, systemClock);
  assert.deepEqual(await own.complaints(), []);
});

test('refuses a fix that uses state which an earlier livepatch of the stack added: cumulative only', async () => {
  const stacked = await build('fourth', '--stacked', '--on', 'first', 'second', '--fix', 'fourth');
  assert.deepEqual(
    [stacked.exitCode, stacked.manifest.reasons.map(({ code }) => code)],
    [3, ['stacked-state']],
    stacked.stderr,
  );
  const cumulative = await build('fourth', '--fix', 'first', 'second', 'fourth');
  assert.equal(cumulative.exitCode, 0, cumulative.stderr);
  const mixed = await operator.run(
    'build',
    '--kernel',
    KERNEL,
    '--on',
    'first',
    '--fix',
    'second',
    '--out',
    join(operator.home, 'mixed'),
  );
  assert.deepEqual([mixed.exitCode, (mixed.json as { error: { code: string } }).error.code], [1, 'fix-conflict']);
});
