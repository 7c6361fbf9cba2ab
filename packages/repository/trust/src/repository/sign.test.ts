import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { sha256 } from '@kmend/base/node';
import { PROOF_FILE } from '@kmend/protocol';
import { exampleModule, signedModule } from '../testing/module.ts';
import { BUILD_ID, makeWorld, writeArtifact } from '../testing/world.ts';
import { type SignedPublication, signPublication } from './sign.ts';

test('gives the same content with another signature the next serial, with the same id', async (t) => {
  const world = await makeWorld(t);
  const { repository } = world;
  await world.publish(1);
  const { module } = exampleModule('livepatch 1');
  for (const [serial, signer] of [
    [2, 'the key of one fleet'],
    [3, 'the key of another'],
  ] as const) {
    const bytes = signedModule(module, signer);
    const file = { name: 'livepatch.ko', sha256: sha256(bytes), size: bytes.length };
    await world.publish(1, { file }, 'stable', bytes);
    const manifest = await repository.manifest(BUILD_ID, serial);
    assert.deepEqual(
      [manifest?.id, manifest?.file?.sha256],
      [(await repository.manifest(BUILD_ID, 1))?.id, sha256(bytes)],
    );
  }
  const { releaseKey, clock } = world;
  const livepatch = await writeArtifact(world.path('again'), 1);
  const again = signPublication({ state: repository.state, releaseKey, livepatch, channel: 'stable', clock });
  await assert.rejects(again, { code: 'publication-duplicate' });
});

test('publishes a livepatch that was published unproven again with its proof, once', async (t) => {
  const world = await makeWorld(t);
  const { repository, releaseKey, clock } = world;
  const sign = (livepatch: string, unproven: boolean) =>
    signPublication({ state: repository.state, releaseKey, livepatch, channel: 'stable', clock, unproven });
  const livepatch = await writeArtifact(world.path('unproven'), 1);
  const proof = join(livepatch, PROOF_FILE);
  const text = await readFile(proof);
  await rm(proof);
  const accept = async ({ request, files }: SignedPublication) => {
    const paths = new Map(files.map((file) => [file.sha256, file.path]));
    return await repository.acceptPublication(request, (hash) => paths.get(hash) ?? '/nonexistent');
  };
  await accept(await sign(livepatch, true));
  await assert.rejects(sign(livepatch, true), { code: 'publication-duplicate' });
  await writeFile(proof, text);
  await accept(await sign(livepatch, false));
  assert.equal((await repository.kernelPolicy(BUILD_ID))?.channels.stable?.settled, 2);
  await assert.rejects(sign(livepatch, false), { code: 'publication-duplicate' });
});

test('does not sign a module whose content has another id than the manifest says', async (t) => {
  const world = await makeWorld(t);
  const { repository, releaseKey, clock } = world;
  const { module } = exampleModule('another');
  const file = { name: 'livepatch.ko', sha256: sha256(module), size: module.length };
  const livepatch = await writeArtifact(world.path('other'), 1, { file }, module);
  const sign = signPublication({ state: repository.state, releaseKey, livepatch, channel: 'stable', clock });
  await assert.rejects(sign, { code: 'livepatch-mismatch' });
});
