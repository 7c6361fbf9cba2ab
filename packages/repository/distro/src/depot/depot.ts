import { copyFile, mkdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Edges, parseJson } from '@kmend/base';
import { exists, sha256File, withLock, writeFileAtomic } from '@kmend/base/node';
import { type ProofDemand, readArtifact, readProof } from '@kmend/trust';
import { DistroError } from '../error.ts';
import { manifestText } from '../manifest.ts';
import { metapackageName } from '../names.ts';
import { nextSerial, place } from './rules.ts';
import {
  DepotFile,
  type DepotKernel,
  type Entry,
  type FollowerState,
  type LoaderRevision,
  type State,
} from './schema.ts';
import { measure, type StackMeasure, stackOf, topOf } from './stack.ts';

export interface TakeOptions extends ProofDemand {
  /**
   * Of a cumulative livepatch: APT removes the packages of the stack in the same run, instead of later, as unused. `apt
   * upgrade` and unattended-upgrades remove nothing in an upgrade, so hosts that follow these stay where they are, with
   * all that comes after.
   */
  readonly takeOut?: boolean;
}

export interface Taken {
  readonly entry: Entry;
  /** Version of the kernel's metapackage that says it. */
  readonly serial: number;
  readonly stack: StackMeasure;
  /** It was there already; nothing changed. */
  readonly unchanged: boolean;
}

const FILE = 'depot.json';

/** The operator's store of what is published as packages: `depot.json`, and the modules by their SHA-256. */
export class Depot {
  readonly #folder: string;
  readonly #edges: Pick<Edges, 'clock'>;

  private constructor(folder: string, edges: Pick<Edges, 'clock'>) {
    this.#folder = folder;
    this.#edges = edges;
  }

  /** Creates a depot. Throws `depot-exists` if there is one. */
  static async create(folder: string, edges: Pick<Edges, 'clock'>): Promise<Depot> {
    if (await exists(join(folder, FILE))) {
      throw new DistroError('depot-exists', `there is a depot in ${folder} already`, {
        hint: 'continue with it (kmend repo packages list), or set KMEND_HOME to another folder',
      });
    }
    await mkdir(join(folder, 'modules'), { recursive: true });
    await write(folder, { schema: 'kmend.depot/1', kernels: [], loaders: [], followers: [], keys: [] });
    return new Depot(folder, edges);
  }

  /** Throws `depot-missing`, `depot-damaged`. */
  static async open(folder: string, edges: Pick<Edges, 'clock'>): Promise<Depot> {
    await read(folder);
    return new Depot(folder, edges);
  }

  /** Where packages that were built once are kept. */
  get packages(): string {
    return join(this.#folder, 'packages');
  }

  /** Path of the module of an entry. */
  modulePath(entry: Pick<Entry, 'sha256'>): string {
    return join(this.#folder, 'modules', `${entry.sha256}.ko`);
  }

  async kernels(): Promise<readonly DepotKernel[]> {
    return (await read(this.#folder)).kernels;
  }

  /** By release or build id. Throws `kernel-unknown`. */
  async kernel(name: string): Promise<DepotKernel> {
    return find(await read(this.#folder), name);
  }

  /**
   * Takes in what `kmend build --out` wrote. Throws the codes of the rules and those of reading a livepatch and its
   * proof.
   */
  async take(directory: string, options: TakeOptions = {}): Promise<Taken> {
    const artifact = await readArtifact(directory);
    await readProof(directory, artifact, options);
    const { livepatch, module } = artifact;
    return await this.#change(async (file) => {
      const kernel = kernelOf(file, livepatch.kernel);
      const at = this.#edges.clock.now().toISOString();
      const { takeOut = false, reason } = options;
      const entry = place(kernel, {
        livepatch,
        file: module,
        at,
        takeOut,
        ...(reason === undefined ? {} : { reason }),
      });
      if (kernel.entries.includes(entry)) {
        const serial = kernel.states.find(({ head }) => isOf(head, entry))?.serial ?? nextSerial(kernel) - 1;
        return { entry, serial, stack: measure(stackOf(kernel)), unchanged: true };
      }
      assertFreeName(file, kernel, entry.package);
      manifestText(kernel, entry);
      await this.#keepModule(module.path, entry);
      kernel.entries.push(entry);
      const { serial } = this.#say(kernel);
      return { entry, serial, stack: measure(stackOf(kernel)), unchanged: false };
    });
  }

  /**
   * Says of a kernel that it needs no livepatch yet: its package is published, and its hosts know that they lack
   * nothing. The first livepatch that is taken in ends that. Throws `livepatch-published`.
   */
  async needsNone(of: {
    readonly buildId: string;
    readonly release: string;
    readonly version: string;
  }): Promise<State> {
    return await this.#change(async (file) => {
      const kernel = kernelOf(file, of);
      const top = topOf(stackOf(kernel));
      if (top !== undefined) {
        throw new DistroError('livepatch-published', `${kernel.release} has livepatches: ${top.package} is published`, {
          hint: 'hosts of that kernel need it; kmend repo packages withdraw withdraws the newest one',
        });
      }
      const last = kernel.states.at(-1);
      if (last?.notNeeded && !last.withdrawn) return last;
      assertFreeName(file, kernel);
      const state = this.#say(kernel);
      state.notNeeded = true;
      return state;
    });
  }

  /**
   * Takes the newest livepatch of a kernel back: it is published no more, and the metapackage says again what was below
   * it. Hosts that have it lose it when their package manager removes what is not needed any more. Without an entry: it
   * was the word that none is needed.
   */
  async withdraw(name: string): Promise<{ readonly entry: Entry | undefined; readonly serial: number }> {
    return await this.#change(async (file) => {
      const kernel = find(file, name);
      const entry = topOf(stackOf(kernel));
      if (entry === undefined) {
        const last = kernel.states.at(-1);
        if (!last?.notNeeded || last.withdrawn) throw nothingPublished(kernel);
        last.withdrawn = true;
        return { entry, serial: this.#say(kernel).serial };
      }
      entry.withdrawn = true;
      for (const state of kernel.states) if (isOf(state.head, entry)) state.withdrawn = true;
      const early = kernel.states.at(-1)?.phase === 0;
      const before = kernel.states.findLast(({ withdrawn }) => !withdrawn);
      const state = this.#say(kernel);
      // What was for early hosts alone is, without it, no more for all than before.
      if (early && before?.phase !== undefined) state.phase = before.phase;
      return { entry, serial: state.serial };
    });
  }

  /**
   * The share of hosts that take a kernel's newest state by themselves; 100: all, 0: those alone that follow the suite
   * `early`.
   */
  async phase(name: string, percentage: number): Promise<State> {
    if (!Number.isInteger(percentage) || percentage < 0 || percentage > 100) {
      throw new DistroError('setting-invalid', `${percentage} is not a percentage from 0 to 100`);
    }
    return await this.#change(async (file) => {
      const kernel = find(file, name);
      const state = kernel.states.at(-1);
      if (state === undefined) throw nothingPublished(kernel);
      if (percentage === 100) delete state.phase;
      else state.phase = percentage;
      return state;
    });
  }

  /** The loader's revisions, these contents among them as the newest. */
  async loaderRevision(version: string, sha256: string): Promise<LoaderRevision> {
    return await this.#change(async ({ loaders }) => {
      const last = loaders.at(-1);
      if (last?.version === version && last.sha256 === sha256) return last;
      const revision = loaders.filter((one) => one.version === version).length + 1;
      const next = { version, revision, sha256, at: this.#edges.clock.now().toISOString() };
      loaders.push(next);
      return next;
    });
  }

  /** The state of a flavour's package with these dependencies: a new one if it never had them. */
  async followerState(name: string, sha256: string): Promise<FollowerState> {
    return await this.#change(async ({ followers }) => {
      const own = followers.filter((one) => one.package === name);
      const known = own.find((one) => one.sha256 === sha256);
      if (known !== undefined) return known;
      const next = { package: name, serial: own.length + 1, sha256, at: this.#edges.clock.now().toISOString() };
      followers.push(next);
      return next;
    });
  }

  /** Public keys that packages were signed with. */
  async keys(): Promise<readonly Uint8Array[]> {
    return (await read(this.#folder)).keys.map(({ publicKey }) => Buffer.from(publicKey, 'base64'));
  }

  /** Packages keep the signature that they were built with: hosts have to know this key from now on. */
  async addKey(fingerprint: string, publicKey: Uint8Array): Promise<void> {
    await this.#change(async ({ keys }) => {
      if (keys.some((key) => key.fingerprint === fingerprint)) return;
      keys.push({ fingerprint, publicKey: Buffer.from(publicKey).toString('base64') });
    });
  }

  #say(kernel: DepotKernel): State {
    const top = topOf(stackOf(kernel));
    const state: State = {
      serial: nextSerial(kernel),
      at: this.#edges.clock.now().toISOString(),
      ...(top === undefined ? {} : { head: { package: top.package, version: top.version } }),
      withdrawn: false,
    };
    kernel.states.push(state);
    return state;
  }

  async #keepModule(from: string, entry: Entry): Promise<void> {
    const to = this.modulePath(entry);
    await copyFile(from, `${to}.tmp`);
    // The builder's folder may have changed since it was checked.
    if ((await sha256File(`${to}.tmp`)) !== entry.sha256 || (await stat(`${to}.tmp`)).size !== entry.size) {
      throw new DistroError('depot-damaged', `${from} changed while it was read`, { hint: 'try again' });
    }
    await rename(`${to}.tmp`, to);
  }

  async #change<T>(work: (file: DepotFile) => Promise<T>): Promise<T> {
    return await withLock(join(this.#folder, 'lock'), async () => {
      const file = await read(this.#folder);
      const result = await work(file);
      await write(this.#folder, file);
      return result;
    });
  }
}

async function read(folder: string): Promise<DepotFile> {
  const path = join(folder, FILE);
  const text = await readFile(path, 'utf8').catch((cause: Error) => {
    throw new DistroError('depot-missing', `there is no depot in ${folder}: ${cause.message}`, {
      cause,
      hint: 'kmend repo packages init makes one',
    });
  });
  const parsed = DepotFile.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new DistroError('depot-damaged', `${path}: ${issue?.path.join('.')}: ${issue?.message}`, {
    cause: parsed.error,
    hint: 'bring it back from a backup that is not older than what hosts have been offered',
  });
}

async function write(folder: string, file: DepotFile): Promise<void> {
  // Through the schema: what could not be read again is not written, and the order of keys does not depend on who added
  // what.
  await writeFileAtomic(join(folder, FILE), `${JSON.stringify(DepotFile.parse(file), null, 1)}\n`);
}

function find({ kernels }: DepotFile, name: string): DepotKernel {
  const kernel = kernels.find(({ release, buildId }) => release === name || buildId === name);
  if (kernel !== undefined) return kernel;
  throw new DistroError('kernel-unknown', `there is nothing for a kernel ${name} in the depot`, {
    details: { known: kernels.map(({ release }) => release) },
  });
}

/**
 * The kernel of a livepatch, added where it is new. Packages are named by the release alone, so it must mean one build.
 */
function kernelOf(file: DepotFile, of: { buildId: string; release: string; version: string }): DepotKernel {
  const known = file.kernels.find(({ release }) => metapackageName(release) === metapackageName(of.release));
  if (known?.buildId === of.buildId) return known;
  if (known !== undefined) {
    throw new DistroError('kernel-ambiguous', `${metapackageName(of.release)} is for another build of that kernel`, {
      hint: 'publish it from a depot and a repository of its own, or give the kernel another release',
      details: { release: known.release, expected: known.buildId, actual: of.buildId },
    });
  }
  const kernel = { buildId: of.buildId, release: of.release, version: of.version, entries: [], states: [] };
  file.kernels.push(kernel);
  return kernel;
}

/** `livepatch-6.1.0` with a fix called `47-amd64` would be the metapackage of another kernel. */
function assertFreeName(file: DepotFile, kernel: DepotKernel, livepatch?: string): void {
  for (const other of file.kernels) {
    const names = [metapackageName(other.release)];
    if (other !== kernel) names.push(...other.entries.map((one) => one.package));
    const own = [
      ...(other === kernel ? [] : [metapackageName(kernel.release)]),
      ...(livepatch === undefined ? [] : [livepatch]),
    ];
    const taken = own.find((name) => names.includes(name));
    if (taken !== undefined) {
      throw new DistroError('name-taken', `${taken} is a package of the kernel ${other.release} already`, {
        hint: 'import the fix under another id, or publish one of the kernels from a depot of its own',
      });
    }
  }
}

function isOf(head: State['head'], entry: Entry): boolean {
  return head?.package === entry.package && head.version === entry.version;
}

function nothingPublished({ release }: DepotKernel): DistroError {
  return new DistroError('nothing-published', `nothing is published for ${release}`);
}
