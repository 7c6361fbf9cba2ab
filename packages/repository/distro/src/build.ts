import { copyFile, link, mkdir, readFile, rename, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson, type Run } from '@kmend/base';
import { exists, sha256, sha256File, writeFileAtomic } from '@kmend/base/node';
import { Sha256 } from '@kmend/protocol';
import * as z from 'zod';
import { buildDeb, debFileName } from './deb.ts';
import { DistroError } from './error.ts';
import type { PackageFormat } from './loader-package.ts';
import type { PackageMaker, PackageSpec } from './package.ts';
import { buildRpm, rpmFileName } from './rpm.ts';
import { epochSeconds } from './text.ts';

const FORMATS = {
  deb: { fileName: debFileName, build: buildDeb },
  rpm: { fileName: rpmFileName, build: buildRpm },
} as const;

/** What is kept beside a built package. */
const Built = z.object({
  /** Of what it was built from. */
  inputs: Sha256,
  /** Of the package. */
  sha256: Sha256,
});

export interface BuiltPackage {
  readonly spec: PackageSpec;
  readonly path: string;
  readonly fileName: string;
  readonly sha256: string;
}

/** Where and how packages are built. */
export interface PackageOrder {
  /** Keeps built packages, by format. */
  readonly folder: string;
  readonly format: PackageFormat;
  readonly maker: PackageMaker;
}

/**
 * The package of a spec, built once: hosts compare what they have with what is offered under the same version, so its
 * bytes stay even when the maintainer's name, the key or this program is another one later. Throws `release-taken`
 * where its content is another one now.
 */
export async function builtPackage(
  run: Run,
  { folder, format, maker }: PackageOrder,
  spec: PackageSpec,
): Promise<BuiltPackage> {
  const { fileName: nameOf, build } = FORMATS[format];
  const fileName = nameOf(spec);
  const path = join(folder, format, fileName);
  const inputs = inputsOf(spec);
  const known = Built.safeParse(parseJson(await readFile(`${path}.json`, 'utf8').catch(() => '')));
  if (known.success && (await exists(path)) && (await sha256File(path)) === known.data.sha256) {
    if (known.data.inputs !== inputs) throw releaseTaken(fileName, 'was built with another content before');
    return { spec, path, fileName, sha256: known.data.sha256 };
  }
  await mkdir(join(folder, format), { recursive: true });
  const temporary = `${path}.tmp.${format}`;
  await rm(temporary, { force: true });
  await build(run, spec, maker, temporary);
  // Indices tell when a package's file was made.
  await utimes(temporary, epochSeconds(spec.at), epochSeconds(spec.at));
  const digest = await sha256File(temporary);
  await rename(temporary, path);
  await writeFileAtomic(`${path}.json`, JSON.stringify({ inputs, sha256: digest }));
  return { spec, path, fileName, sha256: digest };
}

/**
 * Puts a built package into a repository that is being written. `before`: where the repository that it replaces would
 * have it. Throws `release-taken` where hosts know other bytes by that name (a depot from an old backup).
 */
export async function deliver(built: BuiltPackage, to: string, before: string | undefined): Promise<void> {
  const { path, fileName, sha256: digest } = built;
  if (before !== undefined && (await exists(before)) && (await sha256File(before)) !== digest) {
    throw releaseTaken(fileName, 'is in the repository with other bytes');
  }
  await linkOrCopy(path, to);
}

/** A hard link if possible, because a repository is written again each time. */
export async function linkOrCopy(from: string, to: string): Promise<void> {
  await link(from, to).catch(async () => await copyFile(from, to));
}

/** What hosts would notice: needs, scripts and files; not how the package is described. */
function inputsOf({ needs, replaces, takesOut, scripts, files }: PackageSpec): string {
  const contents = files
    .filter(({ path }) => !path.startsWith('usr/share/doc/'))
    .map(({ path, mode, content }) => {
      if ('bytes' in content) return [path, mode, sha256(content.bytes)];
      return 'file' in content ? [path, mode, content.sha256] : [path, mode, content];
    });
  return sha256(JSON.stringify([needs, replaces, takesOut, scripts, contents]));
}

function releaseTaken(fileName: string, why: string): DistroError {
  return new DistroError('release-taken', `${fileName} ${why}`, {
    hint: 'restore the depot to what was published last, or publish to another folder',
  });
}
