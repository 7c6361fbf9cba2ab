import { readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseJson } from '@kmend/base';
import { sha256, sha256File } from '@kmend/base/node';
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
 * malformed), `livepatch-mismatch` (module is not the one the manifest names), `livepatch-not-publishable` (verdict).
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
    throw notPublishable(livepatch, 'nobody has accepted its review reasons');
  }
  if (basename(livepatch.file.name) !== livepatch.file.name) {
    throw new TrustError('livepatch-unreadable', `${manifestPath} names a module outside its directory`);
  }
  const path = join(directory, livepatch.file.name);
  const module = await describe(path);
  if (module.sha256 !== livepatch.file.sha256 || module.size !== livepatch.file.size) {
    throw new TrustError('livepatch-mismatch', `${path} is not the module that livepatch.json names`, {
      hint: 'the artifact is damaged or mixed from two builds: build it again',
      details: { expected: livepatch.file.sha256, actual: module.sha256 },
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

async function describe(path: string): Promise<LocalFile> {
  try {
    return { path, size: (await stat(path)).size, sha256: await sha256File(path) };
  } catch (cause) {
    throw new TrustError('livepatch-unreadable', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}

function notPublishable(livepatch: Livepatch, why: string): TrustError {
  return new TrustError('livepatch-not-publishable', `livepatch ${livepatch.id} cannot be published: ${why}`, {
    hint: 'see its reasons with "kmend build"; accept a review with --accept-review',
    details: { verdict: livepatch.verdict, reasons: livepatch.reasons.map((reason) => reason.code) },
  });
}
