import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const PARTS = join(import.meta.dirname, '../parts');

/**
 * Runs a script after parts of the loader (without `.sh`), and returns what it prints, a line each. LC_ALL=C, as
 * places.sh sets it. Debian's awk is mawk; busybox has one of its own, which its shell takes before any other.
 */
export function runParts(
  shell: readonly string[],
  parts: readonly string[],
  script: string,
  input: string | Uint8Array = '',
): string[] {
  const [file = '', ...before] = shell;
  const load = parts.map((name) => `. ${PARTS}/${name}.sh`).join('\n');
  const output = execFileSync(file, [...before, '-c', `set -u\n${load}\n${script}`], {
    input,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    env: { ...process.env, LC_ALL: 'C' },
  });
  return output.split('\n').slice(0, -1);
}
