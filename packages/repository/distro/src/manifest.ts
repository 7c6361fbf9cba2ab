import { manifestRule, patternOf } from '@kmend/rules';
import type { Entry } from './depot/schema.ts';
import { DistroError } from './error.ts';
import { oneLine, shorten } from './text.ts';

/** The characters that the loader accepts; it is shell, and refuses all others. */
const { manifestBytes, moduleBytes, fixTitle } = manifestRule;
const NAME = patternOf(manifestRule.function);

/** What a manifest says of a livepatch, beside the kernel it is for. */
export type ManifestSubject = Pick<
  Entry,
  'package' | 'version' | 'kind' | 'position' | 'id' | 'module' | 'sha256' | 'size' | 'on' | 'fixes' | 'functions'
>;

/**
 * The text that the loader verifies and reads before it loads: `key value` a line, in this order. Throws
 * `manifest-invalid` where a value does not fit into its line, or all of it not into what the loader reads.
 */
export function manifestText(
  kernel: { readonly release: string; readonly buildId: string },
  of: ManifestSubject,
): string {
  const wrong = faultOf(of);
  if (wrong !== undefined) {
    throw new DistroError('manifest-invalid', `${of.package} cannot be published as a package: ${wrong}`);
  }
  const functions = new Set(of.functions.map(({ object, name }) => `${object} ${name}`));
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
    ...of.on.map((module) => `on ${module}`),
    ...of.fixes.map(({ id, title }) => `fix ${id} ${shorten(oneLine(title), fixTitle) || id}`),
    ...[...functions].map((line) => `function ${line}`),
  ];
  const text = `${lines.join('\n')}\n`;
  if (Buffer.byteLength(text) > manifestBytes) {
    throw new DistroError('manifest-invalid', `the manifest of ${of.package} is larger than ${manifestBytes} bytes`, {
      hint: 'that is the loader’s limit: build it from fewer fixes',
    });
  }
  return text;
}

/** The text by which the loader knows that a kernel needs no livepatch yet: `key value` a line, in this order. */
export function statementText(
  kernel: { readonly release: string; readonly buildId: string },
  of: { readonly package: string; readonly serial: number },
): string {
  const lines = [
    'kmend-livepatch-none 1',
    `package ${of.package}`,
    `version ${of.serial}`,
    `release ${kernel.release}`,
    `build-id ${kernel.buildId}`,
  ];
  return `${lines.join('\n')}\n`;
}

function faultOf({ module, id, size, functions }: ManifestSubject): string | undefined {
  if (module !== `kmend_${id}`) return `its module is called ${module}, not kmend_${id}`;
  if (size > moduleBytes) return `its module has ${size} bytes; the limit is ${moduleBytes}`;
  if (functions.length === 0) return 'it patches no function';
  const odd = functions.find(({ name }) => !NAME.test(name))?.name;
  return odd === undefined ? undefined : `"${oneLine(odd)}" is no name of a function`;
}
