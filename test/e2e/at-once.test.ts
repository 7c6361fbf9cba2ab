import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { KERNEL, Operator, patchOf, SUITE } from '@kmend/harness';
import type { Livepatch } from '@kmend/protocol';

/** Several builds in one cache, and files that are part of several objects, on the real kernel. */
const operator = await Operator.make(new AbortController().signal);

before(() => operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`));
after(() => operator.remove());

const build = (patch: string, name: string) =>
  operator.kmend<Livepatch>(
    'build',
    ...['--kernel', KERNEL, '--patch', patch, '--accept-review', '--out', join(operator.home, name)],
  );

test('builds four fixes of newly changed headers at once without disturbing each other', async () => {
  // An inline function of qnx6, with numbers that are in no cache.
  const patches: string[] = [];
  for (let count = 0; count < 2; count++) {
    patches.push(
      await patchOf(operator, 'fs/qnx6/qnx6.h', (text) =>
        text.replace(
          /(static inline void qnx6_put_page\([^)]*\)\n\{\n)/,
          `$1\tif (page_count(page) == ${randomInt(1 << 30)})\n\t\treturn;\n`,
        ),
      ),
    );
  }
  const [first = '', second = ''] = patches;
  const built = await Promise.all(
    [first, second, first, second].map((patch, index) => build(patch, `at-once-${index}`)),
  );
  assert.deepEqual(
    built.map(({ verdict, file }) => [verdict, file === undefined]),
    Array(4).fill([built[0]?.verdict, false]),
  );
  const ids = built.map(({ id, file }) => `${id} ${file?.sha256}`);
  assert.deepEqual([ids[0], ids[1]], [ids[2], ids[3]]);
  assert.notEqual(ids[0], ids[1]);
});

test('patches a file of two modules in both, and names files that this kernel leaves out', async () => {
  const shared = 'drivers/net/ethernet/cavium/liquidio/octeon_device.c';
  const patch = await patchOf(operator, shared, (text) =>
    text.replace(
      /(void octeon_free_device_mem\([^)]*\)\n\{\n\tint i;\n)/,
      'int kmend_test_freed;\n\n$1\n\tkmend_test_freed++;\n',
    ),
  );
  const { objects } = await build(patch, 'both');
  assert.deepEqual(
    objects.map(({ name, functions }) => [name, functions.map((entry) => entry.name)]),
    [
      ['liquidio', ['octeon_free_device_mem']],
      ['liquidio_vf', ['octeon_free_device_mem']],
    ],
  );
  const off = await patchOf(operator, 'drivers/gpu/drm/vc4/vc4_gem.c', (text) =>
    text.replace('static', '/* */ static'),
  );
  const failed = await operator.run('build', '--kernel', KERNEL, '--patch', off, '--out', join(operator.home, 'off'));
  assert.deepEqual([failed.exitCode, (failed.json as { error: { code: string } }).error.code], [1, 'unit-not-built']);
});
