import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FROM, KERNEL, Operator, patchOf, SUITE, TO } from '@kmend/harness';
import type { FixedComparison, Livepatch } from '@kmend/protocol';

/** Livepatches beside the kernel in which Debian fixed the same. */
const operator = await Operator.make(new AbortController().signal);

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  await operator.kmend('kernel', 'add', '--image-only', `${SUITE}/${TO}`);
});
after(() => operator.remove());

async function build(...args: string[]): Promise<Livepatch & { readonly fixedKernel: FixedComparison }> {
  const words = ['build', '--kernel', KERNEL, '--out', join(operator.home, 'out'), '--accept-review'];
  return (await operator.run(...words, ...args)).json as Livepatch & { readonly fixedKernel: FixedComparison };
}

async function imported(path: string): Promise<string> {
  const id = path.replaceAll('/', '.');
  const range = ['--from', FROM, '--to', TO, '--suite', SUITE];
  await operator.kmend('fix', 'import', '--id', id, ...range, '--path', path, '--no-check');
  return id;
}

test('builds from a fix of Debian’s the function that Debian’s fixed kernel has', async () => {
  const { fixedKernel, file } = await build('--fix', await imported('net/ipv4/ip_options.c'));
  const { compared, equal, different, notCompared } = fixedKernel;
  assert.deepEqual(
    { compared, equal, different, notCompared },
    { compared: 1, equal: 1, different: [], notCompared: [] },
  );
  assert.deepEqual(
    fixedKernel.kernels.map(({ version }) => version),
    [TO],
  );
  assert.ok(file !== undefined);
});

test('names a header that the fix left out and that changes the function’s code', async () => {
  const { fixedKernel, reasons } = await build('--fix', await imported('net/batman-adv/fragmentation.c'));
  assert.deepEqual(
    fixedKernel.different.map(({ name, cause, files }) => [name, cause, files]),
    [['batadv_frag_skb_buffer', 'other-files', ['net/batman-adv/types.h']]],
  );
  const found = reasons.filter(({ code }) => code === 'fixed-kernel-differs');
  assert.deepEqual(
    found.map(({ verdict, symbol }) => [verdict, symbol]),
    [['needs-review', 'batadv_frag_skb_buffer']],
  );
});

test('asks for a review of a change that differs from Debian’s; compares a patch only with a named version', async () => {
  const edit = (text: string): string => text.replace('opt->opt.optlen = optlen;', 'opt->opt.optlen = optlen + 4;');
  const patch = await patchOf(operator, 'net/ipv4/ip_options.c', edit);
  const unnamed = await build('--patch', patch);
  assert.equal(unnamed.fixedKernel.compared, 0);
  assert.match(unnamed.fixedKernel.notCompared.join(), /^net\/ipv4\/ip_options\.c: .* name one with --fixed-in$/);
  const missing = await build('--patch', patch, '--fixed-in', '6.1.999-1');
  assert.match(missing.fixedKernel.notCompared.join(), /kmend kernel add --image-only bookworm\/6\.1\.999-1$/);
  const { fixedKernel, verdict } = await build('--patch', patch, '--fixed-in', TO);
  assert.deepEqual(
    fixedKernel.different.map(({ cause }) => cause),
    ['own-function'],
  );
  assert.equal(verdict, 'needs-review');
});
