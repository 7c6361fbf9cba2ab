import { z } from 'zod';
import { isHelpTextOnly } from './kconfig.ts';

/** Why a file of a patch is no part of the fix. */
export const LeftOutReason = z.enum(['documentation', 'tools', 'samples', 'help-text', 'mode-only', 'not-chosen']);
export type LeftOutReason = z.infer<typeof LeftOutReason>;

/** A file that a patch changes and that no code of a running kernel is made of, or that was not chosen. */
export const LeftOut = z.object({ path: z.string(), why: LeftOutReason });
export type LeftOut = z.infer<typeof LeftOut>;

const FOLDERS: readonly (readonly [string, LeftOutReason])[] = [
  ['Documentation/', 'documentation'],
  ['LICENSES/', 'documentation'],
  // Programs that run beside the kernel, and selftests. Those that build a kernel come from the kernel's own package.
  ['tools/', 'tools'],
  ['samples/', 'samples'],
];
const TEXTS =
  /^(?:COPYING|CREDITS|MAINTAINERS|README)$|(?:^|\/)(?:\.clang-format|\.cocciconfig|\.editorconfig|\.get_maintainer\.ignore|\.gitattributes|\.gitignore|\.mailmap|README(?:\.\w+)?|TODO|[^/]+\.rst)$/;
const BUILD_FILES = /(?:^|\/)(?:Kconfig[^/]*|Kbuild[^/]*|Makefile[^/]*)$|\.config$|(?:^|\/)[^/]*defconfig$/;

/** Why a file is left out by its name alone; `undefined` for what may be part of the kernel. */
export function outsideKernel(path: string): LeftOutReason | undefined {
  const folder = FOLDERS.find(([prefix]) => path.startsWith(prefix));
  return folder?.[1] ?? (TEXTS.test(path) ? 'documentation' : undefined);
}

/**
 * Kconfig files, Makefiles and the like: they decide what a kernel is built from, which the running one cannot follow.
 */
export function isBuildFile(path: string): boolean {
  return BUILD_FILES.test(path);
}

/** Whether the hunks of a build file change help texts of Kconfig and nothing else. */
export function changesHelpOnly(path: string, hunks: readonly string[]): boolean {
  return /(?:^|\/)Kconfig[^/]*$/.test(path) && isHelpTextOnly(hunks);
}

/** Whether a file is one of those, or lies in one of the folders, that were chosen. */
export function isChosen(path: string, chosen: readonly string[]): boolean {
  return chosen.some((choice) => path === choice || path.startsWith(choice.endsWith('/') ? choice : `${choice}/`));
}
