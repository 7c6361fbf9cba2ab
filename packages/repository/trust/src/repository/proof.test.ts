import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorCode } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { kernelRole, type Livepatch, PROOF_FILE, type Proof, type PublishRequest, proofPath } from '@kmend/protocol';
import { Metadata, MetadataKind } from '@tufjs/models';
import { signedText } from '../metadata/signing.ts';
import { BUILD_ID, exampleProof, makeWorld, OTHER_BUILD_ID, type World, writeArtifact } from '../testing/world.ts';
import type { ProofDemand } from './proof.ts';
import { signPublication } from './sign.ts';

const withCode =
  (code: string) =>
  (error: unknown): boolean => {
    assert.equal(errorCode(error), code, String(error));
    return true;
  };

function sign({ repository, releaseKey, clock }: World, livepatch: string, unproven = false, demand: ProofDemand = {}) {
  const { state } = repository;
  return signPublication({ ...demand, state, releaseKey, livepatch, channel: 'stable', unproven, clock });
}

/** An artifact whose proof is another one; `undefined`: none. */
async function artifact(world: World, n: number, change: (manifest: Livepatch) => Proof | undefined | string) {
  const directory = await writeArtifact(world.path(`proof-${n}`), n);
  const manifest = JSON.parse(await readFile(join(directory, 'livepatch.json'), 'utf8')) as Livepatch;
  const proof = change(manifest);
  const path = join(directory, PROOF_FILE);
  if (proof === undefined) await rm(path);
  else await writeFile(path, typeof proof === 'string' ? proof : JSON.stringify(proof));
  return directory;
}

test('signs a livepatch without a proof only with --unproven', async (t) => {
  const world = await makeWorld(t);
  const without = await artifact(world, 1, () => undefined);
  await assert.rejects(sign(world, without), withCode('livepatch-unproven'));
  const { proven, files } = await sign(world, without, true);
  assert.deepEqual([proven, files.length], [false, 2]);
});

test('refuses a proof that failed, is of another build, or is malformed, in every case', async (t) => {
  const world = await makeWorld(t);
  const cases: [string, (manifest: Livepatch) => Proof | string][] = [
    ['livepatch-proof-failed', (manifest) => exampleProof(manifest, 'rounds')],
    [
      'livepatch-proof-mismatch',
      (manifest) => {
        const proof = exampleProof(manifest);
        return { ...proof, livepatch: { ...proof.livepatch, sha256: sha256('another module') } };
      },
    ],
    [
      'livepatch-proof-mismatch',
      (manifest) => ({ ...exampleProof(manifest), kernel: { buildId: OTHER_BUILD_ID, release: '6.1.0-50-amd64' } }),
    ],
    ['livepatch-unreadable', () => '{}'],
    // Says that it passed; its steps say otherwise.
    ['livepatch-unreadable', (manifest) => ({ ...exampleProof(manifest, 'load'), passed: true })],
    ['livepatch-unreadable', (manifest) => ({ ...exampleProof(manifest), steps: [] })],
  ];
  for (const [n, [code, change]] of cases.entries()) {
    const directory = await artifact(world, n + 1, change);
    for (const unproven of [false, true]) await assert.rejects(sign(world, directory, unproven), withCode(code), code);
  }
});

/** A proof in which so many of ten functions ran. */
function barely(manifest: Livepatch, ran: number): Proof {
  const functions = Array.from({ length: 10 }, (_, index) => ({
    ...{ object: 'vmlinux', name: `f${index}`, sympos: 0, source: 'a.c', inMemory: true },
    count: index < ran ? 3 : 0,
  }));
  return { ...exampleProof(manifest), ran: functions };
}

test('requires a reason, which is signed too, for a livepatch of which too little ran', async (t) => {
  const world = await makeWorld(t);
  const directory = await artifact(world, 1, (manifest) => barely(manifest, 5));
  const refused = async (demand?: ProofDemand): Promise<string> => {
    const error = await sign(world, directory, false, demand).then(
      () => assert.fail('it was signed'),
      (why: unknown) => why,
    );
    assert.equal(errorCode(error), 'livepatch-barely-ran', String(error));
    return String(error);
  };
  assert.match(await refused(), /5 of 10 replaced functions ran .*less than 60 %; not: vmlinux:f5, .*vmlinux:f9/);
  // No proof would do; a proof that shows little is not none.
  await assert.rejects(sign(world, directory, true), withCode('livepatch-barely-ran'));
  await refused({ minRanPercent: 51 });
  for (const minRanPercent of [0, 50]) assert.ok((await sign(world, directory, false, { minRanPercent })).proven);

  const reason = 'reviewed by two people';
  const { request } = await sign(world, directory, false, { reason });
  const files = new Map<string, string>();
  for (const file of (await sign(world, directory, false, { reason })).files) files.set(file.sha256, file.path);
  const { description } = await world.repository.acceptPublication(request, (hash) => files.get(hash) ?? '');
  assert.equal(description.reason, reason);
});

test('distinguishes a proof without counts from one in which no function ran', async (t) => {
  const world = await makeWorld(t);
  for (const [n, change] of [
    (manifest: Livepatch): Proof => {
      const { ran: _, steps, ...rest } = exampleProof(manifest);
      return { ...rest, steps: steps.filter(({ name }) => name !== 'exercise') };
    },
    (manifest: Livepatch): Proof => ({ ...exampleProof(manifest), ran: null }),
  ].entries()) {
    const directory = await artifact(world, n + 1, change);
    const error = await sign(world, directory).then(
      () => assert.fail('it was signed'),
      (why: unknown) => why,
    );
    assert.equal(errorCode(error), 'livepatch-barely-ran');
    assert.match(String(error), /does not count which functions ran/);
    assert.ok((await sign(world, directory, false, { reason: 'proven by an earlier kmend' })).proven);
  }
});

test('publishes the signed proof beside module and manifest', async (t) => {
  const world = await makeWorld(t);
  const { description } = await world.publish(1);
  assert.equal(description.proven, true);
  const role = await world.repository.state.role(kernelRole(BUILD_ID));
  const target = role?.signed.targets[proofPath(BUILD_ID, 1)];
  const hash = target?.hashes['sha256'] ?? '';
  const kept = join(world.created.repository, 'targets', 'kernels', BUILD_ID, '1', `${hash}.${PROOF_FILE}`);
  assert.equal(sha256(await readFile(kept)), hash);
  const [livepatch] = await world.repository.livepatches();
  assert.equal(livepatch?.description.proven, true);
});

test('the server refuses a failed proof, and a claim of one without the proof', async (t) => {
  const world = await makeWorld(t);
  const directory = await artifact(world, 1, (manifest) => exampleProof(manifest));
  const { request, files } = await sign(world, directory);
  const role = kernelRole(BUILD_ID);
  const path = proofPath(BUILD_ID, 1);
  const resigned = (change: (targets: Record<string, object>) => void): PublishRequest => {
    const json = JSON.parse(request.metadata[role] ?? '');
    change(json.signed.targets);
    const text = signedText(Metadata.fromJSON(MetadataKind.Targets, json), world.releaseKey);
    return { ...request, metadata: { ...request.metadata, [role]: text } };
  };
  const manifest = JSON.parse(await readFile(join(directory, 'livepatch.json'), 'utf8')) as Livepatch;
  const failed = Buffer.from(JSON.stringify(exampleProof(manifest, 'load')));
  await writeFile(world.path('failed.json'), failed);
  const bad = sha256(failed);
  const swapped = resigned((targets) => {
    targets[path] = { length: failed.length, hashes: { sha256: bad } };
  });
  const upload = (hash: string): string =>
    hash === bad ? world.path('failed.json') : (files.find((file) => file.sha256 === hash)?.path ?? '/nonexistent');
  const accept = (changed: PublishRequest) => world.repository.acceptPublication(changed, upload);
  await assert.rejects(
    accept({ ...swapped, targets: { ...swapped.targets, [path]: bad } }),
    withCode('publication-mismatch'),
  );
  await assert.rejects(accept(resigned((targets) => delete targets[path])), withCode('publication-invalid'));
  await accept(request);
});
