import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { canonicalize } from '@tufjs/canonical-json';
import { newSigner, type PublicKeyJson, type Signer } from './signer.ts';

const DAY_MS = 86_400_000;

/** A moment as the specification writes it. */
export function inDays(days: number): string {
  return new Date(Date.now() + days * DAY_MS).toISOString().replace(/\.\d+Z$/, 'Z');
}

export interface RoleKeys {
  keyids: string[];
  threshold: number;
  [more: string]: unknown;
}

export interface MetaFileJson {
  version: number;
  length?: number;
  hashes?: Record<string, string>;
}

export interface DelegatedRoleJson extends RoleKeys {
  name: string;
  terminating: boolean;
  paths: string[];
}

interface Signed {
  _type: string;
  spec_version: string;
  version: number;
  expires: string;
  [more: string]: unknown;
}

export interface RootJson extends Signed {
  consistent_snapshot: boolean;
  keys: Record<string, PublicKeyJson>;
  roles: Record<'root' | 'timestamp' | 'snapshot' | 'targets', RoleKeys>;
}

export interface MetaJson extends Signed {
  meta: Record<string, MetaFileJson>;
}

export interface TargetsJson extends Signed {
  targets: Record<string, { length: number; hashes: Record<string, string> }>;
  delegations?: {
    keys: Record<string, PublicKeyJson>;
    roles?: DelegatedRoleJson[];
    succinct_roles?: RoleKeys & { bit_length: number; name_prefix: string };
  };
}

export type TopRole = keyof RootJson['roles'];

function base<Type extends string>(_type: Type) {
  return { _type, spec_version: '1.0.34', version: 1, expires: inDays(30) };
}

/**
 * A TUF repository whose owner may do anything, in plain JSON and Node's own cryptography (so that nothing of the
 * client under test helps to make it). Roles change freely; clients see what `publish` signed, each version under its
 * number.
 */
export class Simulator {
  readonly root: RootJson;
  readonly timestamp: MetaJson = { ...base('timestamp'), meta: { 'snapshot.json': { version: 1 } } };
  readonly snapshot: MetaJson = { ...base('snapshot'), meta: {} };
  readonly targets: TargetsJson = { ...base('targets'), targets: {} };
  readonly delegated = new Map<string, TargetsJson>();
  readonly signers = new Map<string, Signer[]>();
  /** Signed versions of each role; the first one is served as version 1. */
  readonly signed = new Map<string, Buffer[]>();
  readonly artifacts = new Map<string, Buffer>();
  /** Whether timestamp and snapshot carry lengths and hashes. */
  withHashes = false;
  /** Requests: `root 2`, `timestamp`, `snapshot 1`; targets by their path. */
  metadataRequests: string[] = [];
  targetRequests: string[] = [];

  constructor() {
    const none = (): RoleKeys => ({ keyids: [], threshold: 1 });
    this.root = {
      ...base('root'),
      consistent_snapshot: true,
      keys: {},
      roles: { root: none(), timestamp: none(), snapshot: none(), targets: none() },
    };
    for (const role of ['root', 'timestamp', 'snapshot', 'targets'] as const) this.addKey(role);
    this.publish('targets', 'snapshot', 'timestamp', 'root');
  }

  addKey(role: TopRole, signer: Signer = newSigner()): Signer {
    this.root.keys[signer.keyid] = signer.json;
    this.root.roles[role].keyids.push(signer.keyid);
    this.addSigner(role, signer);
    return signer;
  }

  addSigner(role: string, signer: Signer): void {
    this.signers.set(role, [...(this.signers.get(role) ?? []), signer]);
  }

  /** Other keys for a role, as many as it needs. */
  rotateKeys(role: TopRole): void {
    this.root.roles[role].keyids = [];
    this.signers.set(role, []);
    for (let n = 0; n < this.root.roles[role].threshold; n++) this.addKey(role);
  }

  role(name: string): Signed {
    const top: Record<string, Signed> = {
      root: this.root,
      timestamp: this.timestamp,
      snapshot: this.snapshot,
      targets: this.targets,
    };
    const found = top[name] ?? this.delegated.get(name);
    if (found === undefined) throw new TypeError(`no role ${name}`);
    return found;
  }

  anyTargets(name: string): TargetsJson {
    const found = name === 'targets' ? this.targets : this.delegated.get(name);
    if (found === undefined) throw new TypeError(`no targets role ${name}`);
    return found;
  }

  /** Delegates to a role of that name, made where it does not exist yet, with one more key. */
  delegate(from: string, name: string, paths: string[] = ['*'], terminating = false): TargetsJson {
    const delegator = this.anyTargets(from);
    const delegations = delegator.delegations ?? { keys: {}, roles: [] };
    delegator.delegations = delegations;
    const signer = newSigner();
    delegations.keys[signer.keyid] = signer.json;
    delegations.roles?.push({ name, keyids: [signer.keyid], threshold: 1, terminating, paths });
    this.addSigner(name, signer);
    const role = this.delegated.get(name) ?? { ...base('targets'), targets: {} };
    this.delegated.set(name, role);
    return role;
  }

  addArtifact(role: string, path: string, content: string, algorithm = 'sha256'): void {
    const bytes = Buffer.from(content);
    const hashes = { [algorithm]: createHash(algorithm).update(bytes).digest('hex') };
    this.anyTargets(role).targets[path] = { length: bytes.length, hashes };
    this.artifacts.set(path, bytes);
  }

  /** Signs each role, one version up where it was published before, and names it in the role that vouches for it. */
  publish(...roles: string[]): void {
    for (const name of roles) {
      const signed = this.role(name);
      const versions = this.signed.get(name) ?? [];
      if (versions.length > 0) signed.version++;
      const bytes = this.signNow(name);
      this.signed.set(name, [...versions, bytes]);
      const meta: MetaFileJson = { version: signed.version };
      if (this.withHashes) {
        Object.assign(meta, {
          length: bytes.length,
          hashes: { sha256: createHash('sha256').update(bytes).digest('hex') },
        });
      }
      if (name === 'snapshot') this.timestamp.meta['snapshot.json'] = meta;
      else if (name !== 'root' && name !== 'timestamp') this.snapshot.meta[`${name}.json`] = meta;
    }
  }

  signNow(name: string): Buffer {
    const signed = this.role(name);
    const bytes = Buffer.from(canonicalize(signed));
    const signatures = (this.signers.get(name) ?? []).map(({ keyid, sign }) => ({ keyid, sig: sign(bytes) }));
    return Buffer.from(JSON.stringify({ signatures, signed }, null, 1));
  }

  /** What a client gets for a path below the repository's address; `undefined`: 404. */
  serve(path: string): Buffer | undefined {
    const metadata = /^metadata\/(.+)\.json$/.exec(path)?.[1];
    if (metadata !== undefined) return this.#serveMetadata(metadata);
    const target = /^targets\/(.+)$/.exec(path)?.[1];
    return target === undefined ? undefined : this.#serveTarget(decodeURIComponent(target));
  }

  #serveMetadata(name: string): Buffer | undefined {
    const [, version, plain] = /^(\d+)\.(.+)$/.exec(name) ?? [];
    const numbered = plain === 'root' || (this.root.consistent_snapshot && name !== 'timestamp');
    if (!numbered || plain === undefined) {
      this.metadataRequests.push(name);
      return this.signed.get(decodeURIComponent(name))?.at(-1);
    }
    this.metadataRequests.push(`${plain} ${version}`);
    return this.signed.get(decodeURIComponent(plain))?.[Number(version) - 1];
  }

  #serveTarget(path: string): Buffer | undefined {
    const [, folder = '', hash, name] = /^(.*\/)?(?:([0-9a-f]{64,})\.)?([^/]+)$/.exec(path) ?? [];
    this.targetRequests.push(`${folder}${name}`);
    if ((hash !== undefined) !== this.root.consistent_snapshot) return undefined;
    return this.artifacts.get(`${folder}${name}`);
  }
}

export interface SimulatorServer {
  readonly url: string;
  close(): Promise<void>;
}

export async function serve(simulator: Simulator): Promise<SimulatorServer> {
  const server = createServer((request, response) => {
    const bytes = simulator.serve((request.url ?? '').replace(/^\//, ''));
    if (bytes === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
