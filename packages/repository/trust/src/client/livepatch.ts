import { createReadStream } from 'node:fs';
import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Livepatch, LivepatchTarget, manifestPath, modulePath } from '@kmend/protocol';
import type { TargetFile } from '@tufjs/models';
import { TrustError } from '../error.ts';
import type { VerifiedLivepatch } from './types.ts';

/** Bytes; more than any livepatch seen by two orders of magnitude. */
export const MAX_MODULE = 64 * 2 ** 20;
export const MAX_MANIFEST = 16 * 2 ** 20;

/** The two signed files of a livepatch. */
export interface LivepatchFiles {
  readonly module: TargetFile;
  readonly manifest: TargetFile;
}

/** Takes a livepatch's two targets from wherever signed metadata is at hand; `not-found` where the role lacks one. */
export async function livepatchFiles(
  buildId: string,
  serial: number,
  find: (path: string) => Promise<TargetFile | undefined>,
): Promise<LivepatchFiles> {
  const module = await find(modulePath(buildId, serial));
  const manifest = await find(manifestPath(buildId, serial));
  if (module === undefined || manifest === undefined) {
    throw new TrustError('not-found', `the repository has no livepatch ${serial} for kernel ${buildId}`, {
      details: { buildId, serial },
    });
  }
  sha256Of(module, MAX_MODULE);
  sha256Of(manifest, MAX_MANIFEST);
  return { module, manifest };
}

/** The signed SHA-256 of a target; a target without one, or beyond `maxLength` bytes, is not accepted at all. */
export function sha256Of(target: TargetFile, maxLength: number): string {
  const sha256 = target.hashes['sha256'];
  if (sha256 === undefined) throw new TrustError('repository-garbage', `${target.path} is signed without a SHA-256`);
  if (target.length > maxLength) {
    throw new TrustError('repository-too-large', `${target.path} has ${target.length} bytes; ${maxLength} are allowed`);
  }
  return sha256;
}

export function localPath(targets: string, target: TargetFile): string {
  return join(targets, ...target.path.split('/'));
}

/**
 * Compares a livepatch's files with the signed metadata, and the manifest with the module and the kernel: a livepatch
 * for another build id is turned away here even where it is signed (wrong software installation).
 */
export async function verifyLivepatch(
  buildId: string,
  serial: number,
  files: LivepatchFiles,
  targets: string,
): Promise<VerifiedLivepatch> {
  for (const target of [files.module, files.manifest]) await verifyFile(target, localPath(targets, target));
  const signed = LivepatchTarget.safeParse(files.module.custom);
  if (!signed.success) throw garbage(files.module.path, signed.error);
  const manifest = await readManifest(localPath(targets, files.manifest));
  const sha256 = sha256Of(files.module, MAX_MODULE);
  const differs = difference(buildId, serial, manifest, signed.data, sha256);
  if (differs !== undefined) {
    throw new TrustError('repository-mismatch', `livepatch ${serial} for kernel ${buildId} ${differs}`, {
      hint: 'it was published wrongly: publish it again under a new serial',
    });
  }
  return {
    target: signed.data,
    manifest,
    modulePath: localPath(targets, files.module),
    sha256,
    size: files.module.length,
  };
}

/** Livepatches of one kernel that stay in the cache: the one that runs, the ones before it, and a few more. */
export const KEPT_LIVEPATCHES = 8;

/**
 * Marks a livepatch as used now and removes the longest unused ones of its kernel, so that a host never fills its disk.
 */
export async function pruneLivepatches(targets: string, { module }: LivepatchFiles): Promise<void> {
  const used = dirname(localPath(targets, module));
  const now = new Date();
  await utimes(used, now, now);
  const kernel = dirname(used);
  const found: { path: string; mtimeMs: number }[] = [];
  for (const name of await readdir(kernel)) {
    const path = join(kernel, name);
    found.push({ path, mtimeMs: (await stat(path)).mtimeMs });
  }
  found.sort((a, b) => b.mtimeMs - a.mtimeMs);
  for (const { path } of found.slice(KEPT_LIVEPATCHES)) await rm(path, { recursive: true, force: true });
}

function difference(
  buildId: string,
  serial: number,
  manifest: Livepatch,
  signed: LivepatchTarget,
  sha256: string,
): string | undefined {
  if (manifest.kernel.buildId !== buildId) return `is for another kernel, ${manifest.kernel.buildId}`;
  if (signed.serial !== serial) return `is signed as serial ${signed.serial}`;
  if (manifest.file?.sha256 !== sha256) return 'has a manifest that names another module';
  if (manifest.id !== signed.id || manifest.module !== signed.module || manifest.kind !== signed.kind) {
    return 'has a manifest that does not fit the signed description';
  }
  return undefined;
}

async function readManifest(path: string): Promise<Livepatch> {
  try {
    return Livepatch.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch (cause) {
    throw garbage(path, cause);
  }
}

function garbage(what: string, cause: unknown): TrustError {
  return new TrustError('repository-garbage', `${what} is signed but not in the form this version of kmend knows`, {
    cause,
    hint: 'upgrade kmend-agent, or publish again with a matching version',
  });
}

async function verifyFile(target: TargetFile, path: string): Promise<void> {
  try {
    await target.verify(createReadStream(path));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new TrustError('not-cached', `${path} is not in the cache`, {
        cause,
        hint: 'let the agent fetch it again',
      });
    }
    throw new TrustError('cache-mismatch', `${path} is not the signed file: ${(cause as Error).message}`, {
      cause,
      hint: 'the file was damaged or tampered with; let the agent fetch it again',
    });
  }
}
