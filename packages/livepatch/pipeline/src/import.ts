import { errorCode, errorText } from '@kmend/base';
import {
  type Builder,
  type Companions,
  deltaTexts,
  type Fix,
  type HeaderParts,
  type ImportWords,
  importFromDebian,
  importFromGit,
  importFromPatch,
} from '@kmend/builder';
import type { Kernel } from '@kmend/kernel';
import type { Workshop } from './workshop.ts';

/** Where the change of a fix comes from. */
export type FixSource =
  | {
      readonly kind: 'debian';
      readonly suite: string;
      readonly from: string;
      readonly to: string;
      readonly paths: readonly string[];
    }
  | { readonly kind: 'patch'; readonly file: string; readonly paths?: readonly string[] | undefined }
  | {
      readonly kind: 'git';
      readonly directory: string;
      readonly commit: string;
      readonly paths?: readonly string[] | undefined;
    };

export interface ImportRequest {
  readonly words: ImportWords;
  readonly source: FixSource;
  /** Takes the files of the same delta along that make it compile: headers whole, or only the parts that are needed. */
  readonly companions?: 'whole' | 'parts' | undefined;
  /** Compiles a fix of a Debian delta, with a kernel of the store, to find such files. */
  readonly check: boolean;
  /** Replaces a fix of the same id. */
  readonly replace: boolean;
}

/** Whether a fix compiles by itself for a kernel of the version before it. */
export interface CheckedFix extends Companions {
  /** Release of that kernel. */
  readonly kernel: string;
}

export interface ImportedFix {
  readonly fix: Fix;
  /** Absent if it was not compiled. */
  readonly checked?: CheckedFix;
  /** It has more files than were requested: its companions. */
  readonly taken: boolean;
}

/** Makes a fix and stores it. `note` gets remarks for the operator. Throws `BuilderError`. */
export async function importFix(
  workshop: Workshop,
  request: ImportRequest,
  note: (text: string) => void,
): Promise<ImportedFix> {
  const imported = await read(workshop, request);
  const how = request.companions === 'parts' ? 'parts' : 'whole';
  const checked = request.check ? await check(workshop, imported, how, note) : undefined;
  const wanted = request.companions === undefined ? [] : (checked?.companions ?? []);
  const taken = wanted.length > 0;
  const fix = taken ? await withFiles(workshop, imported, wanted, checked?.parts) : imported;
  await workshop.fixes.add(fix, request.replace);
  return { fix, taken, ...(checked !== undefined && { checked }) };
}

async function read({ edges, sources }: Workshop, { words, source }: ImportRequest): Promise<Fix> {
  switch (source.kind) {
    case 'debian': {
      const { kind: _, ...range } = source;
      return await importFromDebian(edges, sources, words, range);
    }
    case 'patch':
      return await importFromPatch(words, source.file, source.paths);
    case 'git':
      return await importFromGit(edges, words, source.directory, source.commit, source.paths);
  }
}

/** `undefined` where no kernel of the version before the fix is in the store, or this machine cannot compile for it. */
async function check(
  workshop: Workshop,
  fix: Fix,
  how: 'whole' | 'parts',
  note: (text: string) => void,
): Promise<CheckedFix | undefined> {
  const { origin } = fix;
  if (origin.kind !== 'debian') return undefined;
  const kernel = (await workshop.kernels.list()).find(({ version }) => version === origin.from);
  if (kernel === undefined) return undefined;
  const builder = await builderFor(workshop, kernel, note);
  if (builder === undefined) return undefined;
  const found = await companionsOf(workshop, builder, fix, how);
  return found === undefined ? undefined : { kernel: kernel.release, ...found };
}

const WITHOUT_COMPILER = new Set(['compiler-missing', 'compiler-differs', 'compiler-unavailable', 'root-failed']);

/**
 * A fix can be stored on a machine that cannot compile for its kernel; `note` gets a remark that it was not compiled.
 */
async function builderFor(
  workshop: Workshop,
  kernel: Kernel,
  note: (text: string) => void,
): Promise<Builder | undefined> {
  try {
    return await workshop.builder(kernel);
  } catch (error) {
    const code = errorCode(error);
    if (!WITHOUT_COMPILER.has(code ?? '')) throw error;
    note(`not compiled to check whether it needs companions: ${errorText(error)}`);
    return undefined;
  }
}

/** What a fix of a Debian delta needs of it to compile; `undefined` for other fixes. */
export async function companionsOf(
  workshop: Workshop,
  builder: Builder,
  fix: Fix,
  how: 'whole' | 'parts' = 'whole',
): Promise<Companions | undefined> {
  if (fix.origin.kind !== 'debian') return undefined;
  const delta = deltaTexts(workshop.edges, workshop.sources, fix.origin);
  return await builder.companionsOf(fix, delta, (paths, parts) => withFiles(workshop, fix, paths, parts), how);
}

/** The same fix with more files of its delta, or parts of these. */
async function withFiles(
  { edges, sources }: Workshop,
  fix: Fix,
  more: readonly string[],
  parts?: HeaderParts,
): Promise<Fix> {
  const { origin, id, title, severity, hardware } = fix;
  if (origin.kind !== 'debian') return fix;
  const range = { ...origin, paths: [...origin.paths, ...more], parts };
  return await importFromDebian(edges, sources, { id, title, severity, hardware }, range);
}
