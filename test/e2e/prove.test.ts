import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import {
  FIXES,
  FROM,
  importFixes,
  KERNEL,
  KMEND,
  type KmendResult,
  Operator,
  patchOf,
  SHARED_FIXED,
  SHARED_FLAWS,
  SUITE,
} from '@kmend/harness';
import type { Livepatch, Proof, ProofStepName } from '@kmend/protocol';
import { LONG_FORM } from '../lib/long-form.ts';

/** Good and bad livepatches, proven as an operator does it: `bin/kmend`, the real kernel, a guest each. */
const operator = await Operator.make(new AbortController().signal);
const [routing, aead] = FIXES;
const out = (name: string): string => join(operator.home, name);
let server: Awaited<ReturnType<Operator['startServer']>> | undefined;

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  await importFixes((...args) => operator.kmend(...args), [routing, aead]);
});
after(async () => {
  await server?.stop();
  await operator.remove();
});

function build(name: string, ...what: string[]): Promise<Livepatch> {
  return operator.kmend<Livepatch>('build', '--kernel', KERNEL, ...what, '--out', out(name));
}

function codeOf({ json }: KmendResult): string | undefined {
  return (json as { error?: { code: string } } | undefined)?.error?.code;
}

async function recorded(name: string): Promise<Proof> {
  return JSON.parse(await readFile(join(out(name), 'proof.json'), 'utf8')) as Proof;
}

/** The step that failed, its details, and that everything behind it was not made. */
function failedStep({ passed, steps }: Proof): [ProofStepName | undefined, string] {
  const at = steps.findIndex(({ outcome }) => outcome === 'failed');
  assert.equal(passed, false);
  assert.ok(steps.slice(0, at).every(({ outcome }) => outcome !== 'failed'));
  assert.ok(steps.slice(at + 1).every(({ outcome }) => outcome === 'not-made'));
  return [steps[at]?.name, steps[at]?.details.join('\n') ?? ''];
}

/** Says whether the livepatch's own code answers in /proc/version, which nothing else in the guest reads. */
const MARKER = `#include <stdio.h>
#include <string.h>
int main(void)
{
	char text[4096] = "";
	FILE *file = fopen("/proc/version", "r");
	if (!file || !fread(text, 1, sizeof(text) - 1, file))
		return 2;
	int fixed = strstr(text, "kmend-marker") != NULL;
	puts(fixed ? "fixed" : "vulnerable");
	return !fixed;
}
`;

/** A livepatch of version_proc_show that leaves a mark and does something more. */
async function marked(name: string, statement: string): Promise<string[]> {
  const patch = await patchOf(operator, 'fs/proc/version.c', (text) =>
    text
      .replace('#include <linux/fs.h>\n', '#include <linux/fs.h>\n#include <linux/gfp.h>\n')
      .replace('\treturn 0;', `\tseq_puts(m, "kmend-marker\\n");\n\t${statement}\n\treturn 0;`),
  );
  await build(name, '--patch', patch);
  const source = join(operator.home, 'marker.c');
  await writeFile(source, MARKER);
  return [out(name), '--no-exercise', '--reproducer', `${basename(patch, '.patch')}=${source}`];
}

test('proves a good livepatch, with a module, and publishes it only then', async () => {
  const first = await build('first', '--fix', routing.id);
  const second = await build('second', '--fix', routing.id, aead.id);
  server = await operator.startServer();
  const early = await operator.run('publish', out('second'));
  assert.deepEqual([early.exitCode, codeOf(early)], [1, 'livepatch-unproven'], early.stderr);

  const words = ['--previous', out('first'), '--rounds', '4', '--no-exercise'];
  const proof = await operator.kmend<Proof>('prove', out('second'), ...words);
  assert.deepEqual(proof, await recorded('second'));
  assert.deepEqual(
    proof.steps.filter(({ outcome }) => outcome !== 'passed').map(({ name }) => name),
    ['exercise'],
  );
  // The reproducers call both, in vmlinux and in a module that came after the livepatch.
  assert.deepEqual(
    proof.ran?.map(({ object, name, count, inMemory }) => [object, name, (count ?? 0) > 0, inMemory]),
    second.objects.flatMap(({ name: object, functions }) => functions.map(({ name }) => [object, name, true, true])),
  );
  assert.ok(proof.passed);
  assert.deepEqual(proof.reproduced, [routing.id, aead.id]);
  assert.deepEqual(proof.livepatch, { id: second.id, module: second.module, sha256: second.file?.sha256 });
  assert.deepEqual(proof.previous, { id: first.id, sha256: first.file?.sha256 });
  const details = (name: ProofStepName): string =>
    proof.steps.find((step) => step.name === name)?.details.join('\n') ?? '';
  assert.match(details('load'), /not in memory: af_alg/);
  assert.match(details('modules-after'), /2 functions in force in .*af_alg/);
  assert.match(details('replace'), new RegExp(`${aead.id}: vulnerable.*${aead.id}: fixed`, 's'));
  assert.match(details('workload'), /ran 2 of 2 replaced functions/);
  assert.match(details('workload'), /compute-1 [1-9].* lost 0/s);
  // One transition each way, twice; two replacements; and the same again for each round.
  assert.deepEqual([proof.figures.transitions, proof.figures.rounds], [3 + 2 + 1 + 2 * 6, 4]);
  assert.equal(proof.figures.memory?.samples.length, 5);

  const published = await operator.kmend<{ serial: number; proven: boolean }>('publish', out('second'));
  assert.deepEqual([published.serial, published.proven], [1, true]);
  const unproven = await operator.kmend<{ proven: boolean }>('publish', out('first'), '--unproven');
  assert.equal(unproven.proven, false);
});

test('proves Debian’s fixes of two flaws that Debian 12 and 13 share', LONG_FORM, async () => {
  const range = ['--suite', SUITE, '--from', FROM, '--to', SHARED_FIXED];
  for (const { id, path } of SHARED_FLAWS) await operator.kmend('fix', 'import', '--id', id, ...range, '--path', path);
  const ids = SHARED_FLAWS.map(({ id }) => id);
  await build('shared', '--fix', ...ids);
  const proof = await operator.kmend<Proof>('prove', out('shared'), '--no-exercise', '--rounds', '2');
  assert.deepEqual([proof.passed, proof.reproduced], [true, ids]);
});

test('fails a livepatch that leaks in the rounds', async () => {
  const args = await marked('leak', 'if (!__get_free_pages(GFP_KERNEL, 8)) return -ENOMEM;');
  const result = await operator.run('prove', ...args, '--rounds', '4');
  assert.deepEqual([result.exitCode, codeOf(result)], [1, 'proof-failed'], result.stderr);
  const proof = await recorded('leak');
  const [step, details] = failedStep(proof);
  assert.equal(step, 'rounds', details);
  assert.match(details, /grows by \d{6,7} bytes a round/);
  const { slope = 0 } = proof.figures.memory ?? {};
  assert.ok(slope > 0.7 * 2 ** 20 && slope < 1.3 * 2 ** 20, `1 MiB a round, measured ${slope}`);
  // Known to be bad: no option makes it publishable.
  for (const more of [[], ['--unproven']]) {
    const refused = await operator.run('publish', out('leak'), ...more);
    assert.deepEqual([refused.exitCode, codeOf(refused)], [1, 'livepatch-proof-failed'], refused.stderr);
  }
  // A new build has no proof yet.
  await build('leak', '--fix', routing.id);
  assert.ok(!(await readdir(out('leak'))).includes('proof.json'));
});

test('fails a livepatch whose code warns where it is first called', async () => {
  const args = await marked('warns', 'WARN_ON(m->count > 0);');
  const result = await operator.run('prove', ...args, '--rounds', '1');
  assert.equal(codeOf(result), 'proof-failed', result.stderr);
  const [step, details] = failedStep(await recorded('warns'));
  assert.equal(step, 'after', details);
  assert.match(details, /WARNING: .*version/);
});

test('fails the load of a transition that cannot end, with the task that blocks it', async () => {
  const patch = await patchOf(operator, 'mm/oom_kill.c', (text) =>
    text.replace(
      /(struct task_struct \*tsk = NULL;\n)(\n\t\twait_event_freezable\(oom)/,
      '$1\t\tREAD_ONCE(jiffies);\n$2',
    ),
  );
  await build('stuck', '--patch', patch);
  const result = await operator.run('prove', out('stuck'), '--no-exercise', '--transition-limit', '25');
  assert.deepEqual([result.exitCode, codeOf(result)], [1, 'proof-failed'], result.stderr);
  const [step, details] = failedStep(await recorded('stuck'));
  assert.equal(step, 'load', details);
  assert.match(details, /did not end within 25 s.*oom_reaper \(\d+\): .*oom_reaper/s);
});

test('leaves no record after an interrupt', async () => {
  await build('interrupted', '--fix', routing.id);
  const child = spawn(KMEND, ['prove', out('interrupted'), '--no-exercise'], {
    env: operator.environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  for await (const line of createInterface(child.stderr)) if (line.includes('prove: before')) break;
  child.kill('SIGINT');
  const [exitCode] = await once(child, 'exit');
  assert.equal(exitCode, 130);
  assert.deepEqual(
    (await readdir(out('interrupted'))).filter(
      (name) => !/^(?:livepatch\.json|kmend_.*\.ko|provenance\.json)$/.test(name),
    ),
    [],
  );
});

test('rejects an impossible proof before it boots', async () => {
  await build('vmlinux-only', '--fix', routing.id);
  const directory = out('vmlinux-only');
  for (const [args, exitCode, code] of [
    [['--rounds', '0'], 2, 'usage'],
    [['--transition-limit', 'soon'], 2, 'usage'],
    [['--reproducer', 'nonsense'], 2, 'usage'],
    [['--reproducer', `${aead.id}=${KMEND}`], 1, 'lab-proof-unsuitable'],
    [['--reproducer', `${routing.id}=${KMEND}`], 1, 'lab-program-failed'],
    [['--previous', directory], 1, 'lab-proof-unsuitable'],
    [['--previous', operator.home], 1, 'livepatch-unreadable'],
  ] as const) {
    const result = await operator.run('prove', directory, ...args);
    assert.deepEqual([result.exitCode, codeOf(result)], [exitCode, code], `${args.join(' ')}: ${result.stderr}`);
    assert.doesNotMatch(result.stderr, /prove: boot/);
  }
});
