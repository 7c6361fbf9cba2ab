import { join } from 'node:path';
import { type Clock, type Progress, type Run, silentProgress } from '@kmend/base';
import { withLock } from '@kmend/base/node';
import type * as z from 'zod';
import { writeApt } from './apt.ts';
import { type BuiltPackage, builtPackage } from './build.ts';
import { type Contents, RepositorySettings, type SuiteContents } from './contents.ts';
import type { Depot } from './depot/depot.ts';
import { writeDnf } from './dnf.ts';
import { DistroError } from './error.ts';
import { type Follower, followerPackage, followersOf } from './follower.ts';
import { writeGeneration } from './generation.ts';
import { livepatchPackage, metapackage } from './livepatch-package.ts';
import { LOADER_FOLDER, loaderPackages, type PackageFormat } from './loader-package.ts';
import { type KeyFiles, type Signer, withSigner } from './openpgp.ts';
import type { PackageSpec } from './package.ts';
import { offerOf, SUITES, type Suite } from './suites.ts';

export interface PublishOptions {
  readonly depot: Depot;
  readonly key: KeyFiles;
  readonly settings: z.input<typeof RepositorySettings>;
  /** A symbolic link to the repository; made, or turned to the new one. */
  readonly out: string;
  /** The loader's files; default: this repository's own. */
  readonly loader?: string;
  readonly run: Run;
  readonly clock: Clock;
  readonly progress?: Progress;
}

export interface PublishedRepository {
  readonly out: string;
  readonly fingerprint: string;
  /** The public key, and those that signed before it, in ASCII armour: for the setup of hosts. */
  readonly keyring: string;
  /** Names of the package files in it. */
  readonly packages: readonly string[];
  /** APT alone: until when hosts believe it. */
  readonly validUntil?: string;
}

/**
 * Writes the APT repository. Throws `setting-invalid`, `out-occupied`, `release-taken`, `loader-missing`, the codes of
 * the key, EdgeError.
 */
export async function publishApt(options: PublishOptions): Promise<PublishedRepository> {
  return await publish('deb', options, async (contents, folder, previous) => {
    const validUntil = await writeApt(contents, folder, previous);
    return { validUntil: validUntil.toISOString() };
  });
}

/** Writes the DNF repository. Throws as `publishApt`. */
export async function publishDnf(options: PublishOptions): Promise<PublishedRepository> {
  return await publish('rpm', options, async (contents, folder, previous) => {
    await writeDnf(contents, folder, previous);
    return {};
  });
}

async function publish(
  format: PackageFormat,
  options: PublishOptions,
  write: (contents: Contents, folder: string, previous: string | undefined) => Promise<{ validUntil?: string }>,
): Promise<PublishedRepository> {
  const settings = RepositorySettings.safeParse(options.settings);
  if (!settings.success) {
    const [issue] = settings.error.issues;
    throw new DistroError('setting-invalid', `${issue?.path.join('.')}: ${issue?.message}`, { cause: settings.error });
  }
  const { run, clock, out, key } = options;
  const earlier = await options.depot.keys();
  return await withSigner(run, { ...key, earlier }, async (signer) => {
    await options.depot.addKey(signer.fingerprint, signer.publicKey);
    const contents = {
      run,
      signer,
      settings: settings.data,
      now: clock.now(),
      ...(await collect(format, options, signer, settings.data)),
    };
    const more = await writeGeneration(out, async (folder, previous) => await write(contents, folder, previous));
    const packages = contents.packages.map(({ fileName }) => fileName).sort();
    return { out, fingerprint: signer.fingerprint, keyring: signer.keyringText, packages, ...more };
  });
}

/** Builds whatever is not built yet. */
async function collect(
  format: PackageFormat,
  options: PublishOptions,
  signer: Signer,
  settings: RepositorySettings,
): Promise<Pick<Contents, 'packages' | 'suites'>> {
  const lock = join(options.depot.packages, 'lock');
  return await withLock(lock, async () => await collectLocked(format, options, signer, settings));
}

async function collectLocked(
  format: PackageFormat,
  { depot, run, loader = LOADER_FOLDER, progress = silentProgress }: PublishOptions,
  signer: Signer,
  { maintainer }: RepositorySettings,
): Promise<Pick<Contents, 'packages' | 'suites'>> {
  const built = new Map<string, BuiltPackage>();
  const order = { folder: depot.packages, format, maker: { signer, maintainer } };
  const loaderSpec = (await loaderPackages(depot, loader, signer.keyring))[format];
  const kernels = await depot.kernels();
  const suites = new Map<Suite, SuiteContents>();
  const add = async (spec: PackageSpec, files: Set<string>): Promise<void> => {
    const key = `${spec.name} ${spec.version}`;
    const one = built.get(key) ?? (await builtPackage(run, order, spec));
    if (!built.has(key)) progress.step(`package ${one.fileName}`);
    built.set(key, one);
    files.add(one.fileName);
  };
  for (const suite of SUITES) {
    const offers = kernels.map((kernel) => offerOf(kernel, suite)).filter(({ states }) => states.length > 0);
    const files = new Set<string>();
    const specs = offers.flatMap(({ kernel, entries, states }) => [
      ...entries.map((entry) => livepatchPackage(kernel, entry, depot.modulePath(entry))),
      ...states.map((state) => metapackage(kernel, state)),
    ]);
    for (const spec of [loaderSpec, ...specs]) await add(spec, files);
    const followers: (Follower & { version: string })[] = [];
    // DNF has one repository with everything, and would take the highest version of all suites.
    const follow = format === 'deb' || suite === 'early';
    for (const follower of follow ? followersOf(offers.map(({ kernel }) => kernel.release)) : []) {
      const spec = await followerPackage(depot, follower, format);
      followers.push({ ...follower, version: spec.version });
      await add(spec, files);
    }
    suites.set(suite, { files, offers, followers });
  }
  return { packages: [...built.values()], suites };
}
