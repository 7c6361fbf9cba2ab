import { BuilderError } from '../error.ts';

const LIMIT = 4 << 20;

/**
 * Files that a unified diff changes, relative to the tree (`-p1`). Refuses what could reach outside the tree, what makes, removes
 * or renames files, and binary changes.
 */
export function filesOfPatch(id: string, patch: string): string[] {
  if (patch.length > LIMIT) throw new BuilderError('fix-garbage', `the patch of ${id} is larger than ${LIMIT} bytes`);
  if (/^(?:GIT binary patch|Binary files .* differ)$/m.test(patch)) {
    throw new BuilderError('source-unsupported', `the patch of ${id} changes a binary file`);
  }
  const files: string[] = [];
  const lines = patch.split('\n');
  for (const [index, line] of lines.entries()) {
    const next = lines[index + 1] ?? '';
    if (!line.startsWith('--- ') || !next.startsWith('+++ ') || !(lines[index + 2] ?? '').startsWith('@@ ')) continue;
    const from = pathOf(line);
    const to = pathOf(next);
    if (from === '/dev/null' || to === '/dev/null' || strip(from) !== strip(to)) {
      throw new BuilderError('source-unsupported', `the patch of ${id} creates, removes or renames ${strip(to)}`, {
        hint: 'only changes of existing files can be patched live',
      });
    }
    const path = strip(to);
    if (path === '' || path.startsWith('/') || path.split('/').includes('..') || /[^\w./+,@-]/.test(path)) {
      throw new BuilderError('fix-unsafe-path', `the patch of ${id} names the path "${pathOf(next)}"`, {
        hint: 'paths must be relative to the kernel tree, behind one component such as a/ and b/',
      });
    }
    files.push(path);
  }
  if (files.length === 0) {
    throw new BuilderError('fix-empty', `the patch of ${id} changes nothing: it has no hunk`, {
      hint: 'a unified diff is needed (diff -u, git format-patch)',
    });
  }
  return [...new Set(files)].sort();
}

function pathOf(line: string): string {
  return (line.slice(4).split('\t')[0] ?? '').trim();
}

/** As `patch -p1` does. */
function strip(path: string): string {
  return path.slice(path.indexOf('/') + 1);
}
