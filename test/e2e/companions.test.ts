import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { FROM, KERNEL, Operator, patchOf, SUITE, TO } from '@kmend/harness';
import type { Livepatch } from '@kmend/protocol';

/** Fixes that need companions, and changed headers, on the real kernel. */
const operator = await Operator.make(new AbortController().signal);
const range = ['--from', FROM, '--to', TO, '--suite', SUITE];

interface Imported {
  readonly files: readonly string[];
  readonly compiled: { readonly compiles: boolean; readonly complete: boolean; readonly companions: readonly string[] };
}

before(() => operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`));
after(() => operator.remove());

const functionsOf = ({ objects }: Livepatch): string[] =>
  objects.flatMap(({ name, functions }) => functions.map((entry) => `${name}: ${entry.name}`)).sort();

test('names the companions that a fix needs, and adds them on demand', async () => {
  const words = ['fix', 'import', '--id', 'SPACE', ...range, '--path', 'fs/btrfs/space-info.c'];
  const alone = await operator.kmend<Imported>(...words);
  assert.deepEqual(alone.files, ['fs/btrfs/space-info.c']);
  const companions = ['fs/btrfs/sysfs.c', 'fs/btrfs/sysfs.h'];
  assert.deepEqual(
    [alone.compiled.compiles, alone.compiled.complete, alone.compiled.companions],
    [false, true, companions],
  );
  const out = join(operator.home, 'space');
  const failed = await operator.run('build', '--kernel', KERNEL, '--fix', 'SPACE', '--out', out);
  const { error } = failed.json as { error: { code: string; hint: string } };
  assert.deepEqual([failed.exitCode, error.code], [1, 'patch-does-not-compile']);
  assert.match(
    error.hint,
    /^SPACE compiles together with fs\/btrfs\/sysfs\.c fs\/btrfs\/sysfs\.h of .* --replace --companions$/,
  );
  const whole = await operator.kmend<Imported>(...words, '--replace', '--companions');
  assert.deepEqual(whole.files, ['fs/btrfs/space-info.c', ...companions]);
  const built = await operator.kmend<Livepatch>(
    'build',
    '--kernel',
    KERNEL,
    '--fix',
    'SPACE',
    '--out',
    out,
    '--accept-review',
  );
  assert.deepEqual(functionsOf(built), ['btrfs: btrfs_sysfs_add_space_info_type', 'btrfs: create_space_info']);
});

test('names no companions for a fix that compiles, or without a kernel of its version', async () => {
  const words = ['fix', 'import', '--id', 'OPTIONS', ...range, '--path', 'net/ipv4/ip_options.c'];
  const { compiled } = await operator.kmend<Imported>(...words);
  assert.deepEqual([compiled.compiles, compiled.companions], [true, []]);
  const unchecked = await operator.kmend<Partial<Imported>>(...words, '--no-check');
  assert.equal(unchecked.compiled, undefined);
});

test('changes exactly the functions of the files that use a changed inline function of a header', async () => {
  const patch = await patchOf(operator, 'ipc/util.h', (text) =>
    text.replace(
      /(static inline void ipc_unlock_object\([^)]*\)\n\{\n)/,
      '$1\tWRITE_ONCE(perm->seq, READ_ONCE(perm->seq));\n',
    ),
  );
  const built = await operator.kmend<Livepatch>(
    'build',
    ...['--kernel', KERNEL, '--patch', patch, '--accept-review', '--out', join(operator.home, 'header')],
  );
  const sources = new Set(built.objects.flatMap(({ functions }) => functions.map(({ source }) => source)));
  assert.deepEqual([...sources].sort(), ['ipc/msg.c', 'ipc/sem.c', 'ipc/shm.c', 'ipc/util.c']);
  assert.ok(functionsOf(built).includes('vmlinux: do_msgsnd'));
  assert.ok(built.byteProof.compared > 0 && built.byteProof.compared === built.byteProof.equal);
});

test('patches a C file that is a unit and is included by another in both, and keeps its line numbers there', async () => {
  // The check moves the lines of every WARN below it, in the copy for 32 bits (fs/compat_binfmt_elf.c) too.
  const patch = await patchOf(operator, 'fs/binfmt_elf.c', (text) =>
    text.replace('\tretval = -ENOEXEC;\n', '$&\tif (!bprm->file)\n\t\treturn retval;\n'),
  );
  const built = await operator.kmend<Livepatch>(
    'build',
    ...['--kernel', KERNEL, '--patch', patch, '--accept-review', '--out', join(operator.home, 'both')],
  );
  const [object, ...others] = built.objects;
  assert.deepEqual(others, []);
  assert.deepEqual(
    object?.functions.map(({ name, sympos, source }) => [name, sympos, source]),
    [
      ['load_elf_binary', 1, 'fs/binfmt_elf.c'],
      ['load_elf_binary', 2, 'fs/compat_binfmt_elf.c'],
    ],
  );
});
