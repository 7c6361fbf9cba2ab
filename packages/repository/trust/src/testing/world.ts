import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '@kmend/base';
import { sha256, systemClock } from '@kmend/base/node';
import { type Channel, isProven, type Livepatch, PROOF_FILE, type Proof, ProofStepName } from '@kmend/protocol';
import type { SigningKey } from '../keys/key.ts';
import { loadReleaseKey } from '../keys/store.ts';
import { type CreatedRepository, createRepository } from '../repository/create.ts';
import { openRepository, type Published, type Repository } from '../repository/repository.ts';
import { signPublication } from '../repository/sign.ts';
import { exampleModule } from './module.ts';

export const BUILD_ID = 'ab'.repeat(20);
export const OTHER_BUILD_ID = 'cd'.repeat(20);

/** A system clock that stands `offsetMs` away from the real one. */
export function shiftedClock(offsetMs: number): Clock {
  return { ...systemClock, now: () => new Date(Date.now() + offsetMs) };
}

/**
 * A livepatch manifest for tests; `n` makes each one different. `module`: other bytes than those of `exampleModule`.
 */
export function exampleManifest(n: number, module?: Uint8Array, overrides: Partial<Livepatch> = {}): Livepatch {
  const example = exampleModule(`livepatch ${n}`);
  const { id } = example.identity;
  const bytes = module ?? example.module;
  return {
    schema: 'kmend.livepatch/1',
    id,
    module: `kmend_${id}`,
    kind: 'cumulative',
    kernel: { buildId: BUILD_ID, release: '6.1.0-47-amd64', version: '6.1.170-3', arch: 'x86_64' },
    fixes: [{ id: `CVE-2026-${1000 + n}`, title: 'a fix', severity: 'high', hardware: false }],
    verdict: 'patchable',
    reasons: [],
    reviewAccepted: false,
    objects: [{ name: 'vmlinux', functions: [{ name: 'f', sympos: 0, source: 'net/f.c' }] }],
    byteProof: { compared: 1, equal: 1, different: [] },
    file: { name: 'livepatch.ko', sha256: sha256(bytes), size: bytes.length },
    inputs: {
      fixes: {},
      config: sha256('config'),
      moduleSymvers: sha256('symvers'),
      vmlinux: sha256('vmlinux'),
      source: sha256('source'),
    },
    compiler: 'gcc',
    builder: { name: 'kmend', version: '0.1.0' },
    ...overrides,
  };
}

/** A proof of a livepatch for tests: every step passed but `failed`, every function ran. */
export function exampleProof(livepatch: Livepatch, failed?: ProofStepName): Proof {
  const { id, module, kernel } = livepatch;
  const steps = ProofStepName.options.map((name) => {
    const outcome = name === failed ? ('failed' as const) : ('passed' as const);
    return { name, outcome, seconds: 1, details: [] };
  });
  return {
    schema: 'kmend.proof/1',
    livepatch: { id, module, sha256: livepatch.file?.sha256 ?? sha256('') },
    kernel: { buildId: kernel.buildId, release: kernel.release },
    passed: isProven(steps),
    steps,
    notShown: [],
    ran: livepatch.objects.flatMap(({ name: object, functions }) =>
      functions.map((entry) => ({ ...entry, object, count: 1, inMemory: true })),
    ),
    previous: null,
    reproduced: [],
    figures: { transitions: 0, longestTransitionSeconds: null, rounds: 0, memory: null },
    lab: { accelerator: 'tcg', cpus: 2, memoryMb: 1024 },
    made: '2026-11-20T00:00:00.000Z',
    prover: { name: 'kmend', version: '0.1.0' },
  };
}

/** Writes what `kmend build --out` would. */
export async function writeBuild(directory: string, manifest: Livepatch, module: Uint8Array): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'livepatch.ko'), module);
  await writeFile(join(directory, 'livepatch.json'), JSON.stringify(manifest));
}

/** Writes what `kmend build --out` and `kmend prove` would. */
export async function writeArtifact(
  directory: string,
  n: number,
  overrides: Partial<Livepatch> = {},
  module: Uint8Array = exampleModule(`livepatch ${n}`).module,
): Promise<string> {
  const manifest = exampleManifest(n, module, overrides);
  await writeBuild(directory, manifest, module);
  await writeFile(join(directory, PROOF_FILE), JSON.stringify(exampleProof(manifest)));
  return directory;
}

/** A repository with its keys in a temporary directory. */
export interface World {
  readonly directory: string;
  readonly created: CreatedRepository;
  readonly repository: Repository;
  readonly releaseKey: SigningKey;
  readonly clock: Clock;
  /** Makes, signs and accepts livepatch `n`. */
  publish(n: number, overrides?: Partial<Livepatch>, channel?: Channel, module?: Uint8Array): Promise<Published>;
  path(...parts: string[]): string;
}

export async function makeWorld(
  t: { after(work: () => Promise<void>): void },
  clock: Clock = systemClock,
): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-trust-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const path = (...parts: string[]): string => join(directory, ...parts);
  const created = await createRepository({
    offlineKeys: path('offline'),
    onlineKeys: path('online'),
    repository: path('repository'),
    clock,
  });
  const releaseKey = await loadReleaseKey(path('offline'));
  const repository = await openRepository({ repository: created.repository, keyDirectory: path('online'), clock });
  return {
    directory,
    created,
    repository,
    releaseKey,
    clock,
    path,
    async publish(n, overrides = {}, channel = 'stable', module = undefined) {
      const livepatch = await writeArtifact(path(`artifact-${n}`), n, overrides, module);
      const signed = await signPublication({ state: repository.state, releaseKey, livepatch, channel, clock });
      const files = new Map(signed.files.map((file) => [file.sha256, file.path]));
      return repository.acceptPublication(signed.request, (hash) => files.get(hash) ?? '/nonexistent');
    },
  };
}
