import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256 } from '@kmend/base/node';
import type { FleetPolicy, KernelPolicy, Livepatch } from '@kmend/protocol';
import { kernelNotes } from '@kmend/rules/testing';
import { type RepositoryClient, TrustError, type VerifiedLivepatch } from '@kmend/trust';
import { BUILD_ID } from './kernel.ts';

const LATER = new Date('2027-01-01T00:00:00Z');

/** Name of the module of a serial. */
export function moduleOf(serial: number): string {
  return `kmend_${serial.toString(16).padStart(12, '0')}`;
}

/** A module's file: its name, and its build id as the kernel shows it. */
export function bytesOf(module: string): Buffer {
  return Buffer.concat([Buffer.from(`${module}\n`), kernelNotes(sha256(module).slice(0, 40))]);
}

/** A repository whose signatures are taken as checked: for the rules that follow from its content. */
export class TestRepository implements RepositoryClient {
  fleet: FleetPolicy = {
    schema: 'kmend.fleet-policy/1',
    checkIntervalSeconds: 60,
    halted: false,
    issued: '2026-11-01T00:00:00Z',
  };
  policy: KernelPolicy | undefined;
  buildIdOfManifest = BUILD_ID;
  failure: Error | undefined;
  /** Of every livepatch. */
  fixes: readonly string[] = ['CVE-2026-1'];
  /** What the next checks say. */
  changed = true;
  readonly cached = new Set<number>();
  /** Serials that the policy may name although the fetcher has not brought them. */
  readonly missing = new Set<number>();
  /** Serials that have the content of another one, with a signature for the kernel. */
  readonly signed = new Map<number, number>();
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  choose(settled: number | null, withdrawn: number[] = []): void {
    this.policy = {
      schema: 'kmend.kernel-policy/1',
      buildId: BUILD_ID,
      channels: { stable: { settled, rollout: null } },
      withdrawn: withdrawn.map((serial) => ({ serial, reason: 'it was bad' })),
      issued: '2026-11-01T00:00:00Z',
    };
  }

  async check() {
    if (this.failure !== undefined) throw this.failure;
    return { changed: this.changed, version: 1, expires: LATER, freshUntil: LATER };
  }

  async fleetPolicy() {
    return this.fleet;
  }

  async kernelPolicy() {
    return this.policy;
  }

  async fetchLivepatch(buildId: string, serial: number) {
    if (this.missing.has(serial)) throw new TrustError('not-found', `there is no serial ${serial}`);
    this.cached.add(serial);
    return this.verifyCached(buildId, serial);
  }

  async verifyCached(_buildId: string, serial: number): Promise<VerifiedLivepatch> {
    if (!this.cached.has(serial)) throw new TrustError('not-cached', `serial ${serial} is not cached`);
    const of = this.signed.get(serial);
    const module = moduleOf(of ?? serial);
    const bytes = Buffer.concat([bytesOf(module), Buffer.from(of === undefined ? '' : `signature ${serial}`)]);
    const modulePath = join(this.#directory, `${serial}.ko`);
    await writeFile(modulePath, bytes);
    const id = module.slice('kmend_'.length);
    const manifest: Livepatch = {
      schema: 'kmend.livepatch/1',
      id,
      module,
      kind: 'cumulative',
      kernel: { buildId: this.buildIdOfManifest, release: '6.1.0-47-amd64', version: '6.1.170-3', arch: 'x86_64' },
      fixes: this.fixes.map((id) => ({ id, title: 'a fix', severity: 'high', hardware: false })),
      verdict: 'patchable',
      reasons: [],
      reviewAccepted: false,
      objects: [
        { name: 'vmlinux', functions: [{ name: 'ip_options_compile', sympos: 0, source: 'net/ipv4/ip_options.c' }] },
      ],
      byteProof: { compared: 1, equal: 1, different: [] },
      file: { name: 'livepatch.ko', sha256: sha256(bytes), size: bytes.length },
      inputs: {
        fixes: {},
        config: sha256(''),
        moduleSymvers: sha256(''),
        vmlinux: sha256(''),
        source: sha256(''),
      },
      compiler: 'gcc',
      builder: { name: 'kmend', version: '0.1.0' },
    };
    return {
      target: { serial, id, module, kind: 'cumulative', fixes: [...this.fixes], proven: false },
      manifest,
      modulePath,
      sha256: sha256(bytes),
      size: bytes.length,
    };
  }
}
