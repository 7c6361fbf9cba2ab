import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type KmendResult, Operator, patchIn, TRIXIE, trixieTree } from '@kmend/harness';
import type { Livepatch } from '@kmend/protocol';

/** A Debian 13 kernel, compiled on this machine in a build root of its own suite. */
const operator = await Operator.make(new AbortController().signal);
let tree = '';

before(async () => {
  tree = await trixieTree(operator);
});
after(() => operator.remove());

async function build(...edits: readonly (readonly [path: string, edit: (text: string) => string])[]) {
  const patches = await Promise.all(edits.map(([path, edit]) => patchIn(operator, { tree, path }, edit)));
  const out = join(operator.home, 'out');
  const result: KmendResult = await operator.run(
    'build',
    '--kernel',
    TRIXIE.kernel,
    '--patch',
    ...patches,
    '--out',
    out,
  );
  return { ...result, manifest: result.json as Livepatch };
}

const codes = (manifest: Livepatch): string[] => [...new Set(manifest.reasons.map(({ code }) => code))].sort();

/** An edit: one of the two functions refuses a file size that no program asks for. */
const refusing = (number: number) => (text: string) =>
  text.replace(
    /(\n(?:int|static int) (?:setattr_prepare|ext4_setattr)\([^{]*\n\{\n)/,
    `$1\tif (attr->ia_size == ${number})\n\t\treturn -EINVAL;\n`,
  );

test('builds a change of vmlinux and a module: proves every function, audits, names the root', async () => {
  const { exitCode, manifest, stderr } = await build(
    ['fs/attr.c', refusing(4711)],
    ['fs/ext4/inode.c', refusing(4712)],
  );
  assert.deepEqual([exitCode, codes(manifest)], [0, []], stderr);
  assert.deepEqual(manifest.objects.map(({ name, functions }) => [name, functions.map((one) => one.name)]).sort(), [
    ['ext4', ['ext4_setattr']],
    ['vmlinux', ['setattr_prepare']],
  ]);
  const { compared, equal } = manifest.byteProof;
  assert.ok(compared > 100 && equal === compared, `${equal} of ${compared}`);
  assert.ok(manifest.file !== undefined);
  assert.equal(manifest.buildRoot?.suite, 'trixie');
  assert.equal(manifest.buildRoot?.packages['gcc-14'], '14.2.0-19');
});

test('refuses the address of a function whose ENDBR the kernel overwrites at boot', async () => {
  const keeps = (text: string): string =>
    text.replace(
      /(\nint setattr_prepare\([^{]*\n\{\n)/,
      `\nstruct fs_context;\nbool mount_capable(struct fs_context *);$1\tbool (*volatile check)(struct fs_context *) = mount_capable;

\tif (attr->ia_size == 4713 && check(NULL))
\t\treturn -EINVAL;
`,
    );
  const { exitCode, manifest, stderr } = await build(['fs/attr.c', keeps]);
  assert.equal(exitCode, 3, stderr);
  assert.ok(codes(manifest).includes('endbr-sealed'), stderr);
});

test('refuses new code that shifts by a constant which the kernel writes into its code at boot', async () => {
  const { exitCode, manifest, stderr } = await build([
    'fs/dcache.c',
    (text) =>
      text.replace(/(\nstruct dentry \*__d_lookup\([^{]*\n\{\n)/, '$1\tif (name->len == 4711)\n\t\treturn NULL;\n'),
  ]);
  assert.deepEqual([exitCode, codes(manifest)], [3, ['runtime-constant']], stderr);
});

test('shows a fix nothing of the root except programs and compiler headers', async () => {
  for (const path of ['/var/lib/dpkg/status', '/etc/passwd', '/usr/include/stdio.h']) {
    const { exitCode, json, stderr } = await build(['fs/attr.c', (text) => `#include "${path}"\n${text}`]);
    const { error } = json as { error?: { code: string } };
    assert.deepEqual([exitCode, error?.code], [1, 'include-outside-tree'], stderr);
  }
});
