import type { Entry } from './depot/schema.ts';
import { DistroError } from './error.ts';
import { oneLine } from './text.ts';

/** What the loader reads at most; it is shell. */
const MANIFEST_LIMIT = 256 * 1024;

/** What a manifest says of a livepatch, beside the kernel it is for. */
export type ManifestSubject = Pick<
  Entry,
  'package' | 'version' | 'kind' | 'position' | 'id' | 'module' | 'sha256' | 'size' | 'on' | 'fixes' | 'functions'
>;

/**
 * The text that the loader verifies and reads before it loads: `key value` a line, in this order. Throws `manifest-invalid` where
 * a value does not fit into its line, or all of it not into what the loader reads.
 */
export function manifestText(
  kernel: { readonly release: string; readonly buildId: string },
  of: ManifestSubject,
): string {
  const functions = new Set(of.functions.map(({ object, name }) => `${word(object)} ${word(name)}`));
  const lines = [
    'kmend-livepatch 1',
    `package ${of.package}`,
    `version ${of.version}`,
    `release ${kernel.release}`,
    `build-id ${kernel.buildId}`,
    `kind ${of.kind}`,
    `position ${of.position}`,
    `id ${of.id}`,
    `module ${of.module}`,
    `sha256 ${of.sha256}`,
    `size ${of.size}`,
    ...of.on.map((module) => `on ${word(module)}`),
    ...of.fixes.map(({ id, title }) => `fix ${id} ${oneLine(title)}`.trimEnd()),
    ...[...functions].map((line) => `function ${line}`),
  ];
  const text = `${lines.join('\n')}\n`;
  if (Buffer.byteLength(text) > MANIFEST_LIMIT) {
    throw new DistroError('manifest-invalid', `the manifest of ${of.package} is larger than ${MANIFEST_LIMIT} bytes`, {
      hint: 'the loader reads no more: build it from fewer fixes',
    });
  }
  return text;
}

/** A value that is one word: the loader splits a line at its blanks. */
function word(value: string): string {
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new DistroError('manifest-invalid', `"${oneLine(value)}" is not a name that a manifest can hold`);
}
