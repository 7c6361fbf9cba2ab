import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseJson } from '@kmend/base';
import { sha256 } from '@kmend/base/node';
import { moduleIdentity } from '@kmend/elf';
import { Livepatch } from '@kmend/protocol';
import { TrustError } from '../error.ts';

export interface LocalFile {
  readonly path: string;
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
}

/** What `kmend build` left in a directory, checked against itself. */
export interface LivepatchArtifact {
  readonly livepatch: Livepatch;
  readonly manifest: LocalFile;
  readonly module: LocalFile;
}

/**
 * Reads a livepatch directory: `livepatch.json` and the module it names. Throws `livepatch-unreadable` (missing or
 * malformed), `livepatch-mismatch` (the module is not the one the manifest names, or its content has another id), `livepatch-not-publishable` (verdict).
 */
export async function readArtifact(directory: string): Promise<LivepatchArtifact> {
  const manifestPath = join(directory, 'livepatch.json');
  const text = await readFile(manifestPath).catch((cause: Error) => {
    throw new TrustError('livepatch-unreadable', `cannot read ${manifestPath}: ${cause.message}`, {
      cause,
      hint: 'give the directory that "kmend build --out" wrote',
    });
  });
  const livepatch = parseManifest(text, manifestPath);
  if (livepatch.verdict === 'refused' || livepatch.file === undefined) {
    throw notPublishable(livepatch, 'the build was refused');
  }
  if (livepatch.verdict === 'needs-review' && !livepatch.reviewAccepted) {
    throw notPublishable(livepatch, 'its review reasons are not accepted');
  }
  if (basename(livepatch.file.name) !== livepatch.file.name) {
    throw new TrustError('livepatch-unreadable', `${manifestPath} names a module outside its directory`);
  }
  const path = join(directory, livepatch.file.name);
  const bytes = await readFile(path).catch((cause: Error) => {
    throw new TrustError('livepatch-unreadable', `cannot read ${path}: ${cause.message}`, { cause });
  });
  const module = { path, size: bytes.length, sha256: sha256(bytes) };
  if (module.sha256 !== livepatch.file.sha256 || module.size !== livepatch.file.size) {
    throw new TrustError('livepatch-mismatch', `${path} is not the module that livepatch.json names`, {
      hint: 'the artifact is damaged or mixed from two builds: build it again',
      details: { expected: livepatch.file.sha256, actual: module.sha256 },
    });
  }
  if (moduleIdentity(bytes, livepatch.module)?.id !== livepatch.id) {
    throw new TrustError('livepatch-mismatch', `${livepatch.id} is not the id of the content of ${path}`, {
      hint: 'an earlier version of kmend built it, or it was changed after the build: build it again',
    });
  }
  return { livepatch, manifest: { path: manifestPath, sha256: sha256(text), size: text.length }, module };
}

/** Parses `livepatch.json`. */
export function parseManifest(text: Buffer, name: string): Livepatch {
  const parsed = Livepatch.safeParse(parseJson(text.toString()));
  if (parsed.success) return parsed.data;
  // One problem says enough: the file is written by kmend, not by hand.
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
  throw new TrustError('livepatch-unreadable', `${name} is not a livepatch manifest: ${where}${issue?.message}`, {
    cause: parsed.error,
    hint: 'build the livepatch again with this version of kmend',
  });
}

function notPublishable(livepatch: Livepatch, why: string): TrustError {
  return new TrustError('livepatch-not-publishable', `livepatch ${livepatch.id} cannot be published: ${why}`, {
    hint: 'see its reasons with "kmend build"; accept a review with --accept-review',
    details: { verdict: livepatch.verdict, reasons: livepatch.reasons.map((reason) => reason.code) },
  });
}
