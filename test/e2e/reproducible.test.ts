import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { run, sha256 } from '@kmend/base/node';
import { Provenance } from '@kmend/builder';
import { FIXES, importFixes, KERNEL, KMEND, Operator, SUITE } from '@kmend/harness';
import { Livepatch } from '@kmend/protocol';

const operator = await Operator.make(new AbortController().signal);
const elsewhere = await mkdtemp(join(tmpdir(), 'kmend-another-machine-with-a-longer-name-'));

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  await importFixes((...args) => operator.kmend(...args));
});
after(async () => {
  await operator.remove();
  await rm(elsewhere, { recursive: true });
});

/** Every file that a build writes, by name. */
async function build(cache: string, out: string): Promise<Map<string, Buffer>> {
  const ids = FIXES.map(({ id }) => id);
  const args = ['build', '--kernel', KERNEL, '--fix', ...ids, '--out', out, '--json'];
  const env = { ...operator.environment, KMEND_CACHE: cache };
  const result = await run(KMEND, args, { env, timeoutMs: 20 * 60_000 });
  assert.equal(result.exitCode, 0, result.stderr);
  const files = new Map<string, Buffer>();
  for (const name of (await readdir(out)).sort()) files.set(name, await readFile(join(out, name)));
  return files;
}

test('builds the same bytes twice, in trees of their own in different places', async () => {
  const cache = join(elsewhere, 'cache');
  await mkdir(cache);
  await symlink(join(operator.cache, 'kernels'), join(cache, 'kernels'));
  // With the same fixed kernels to compare with, or the same lack of them.
  await symlink(join(operator.cache, 'images'), join(cache, 'images'));
  const first = await build(operator.cache, join(operator.home, 'out'));
  const second = await build(cache, join(elsewhere, 'out'));
  assert.deepEqual([...second.keys()], [...first.keys()]);
  for (const [name, bytes] of first) {
    assert.ok(bytes.equals(second.get(name) ?? Buffer.alloc(0)), name);
    const text = bytes.toString('latin1');
    for (const place of [operator.cache, operator.home, elsewhere])
      assert.ok(!text.includes(place), `${name}: ${place}`);
  }
});

test('names in the provenance the hash of each file beside it, and each input of the manifest', async () => {
  const out = join(operator.home, 'out');
  const files = await build(operator.cache, out);
  const manifest = Livepatch.parse(JSON.parse(String(files.get('livepatch.json'))));
  const statement = Provenance.parse(JSON.parse(String(files.get('provenance.json'))));
  const [subject] = statement.subject;
  assert.deepEqual(subject?.digest, { sha256: sha256(files.get(subject?.name ?? '') ?? '') });
  const { buildDefinition, runDetails } = statement.predicate;
  const { config, moduleSymvers, vmlinux, source, fixes } = manifest.inputs;
  const wanted = [config, moduleSymvers, vmlinux, source, ...Object.values(fixes)];
  assert.deepEqual(
    buildDefinition.resolvedDependencies?.map(({ digest }) => digest?.['sha256']),
    wanted,
  );
  assert.equal(runDetails.byproducts?.[0]?.digest?.['sha256'], sha256(files.get('livepatch.json') ?? ''));
});
