/**
 * For script/check: what no linter sees. Lines of at most 120 columns, and links that lead somewhere. `--fix` wraps
 * comments.
 */
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { longLines, WIDEST, wrapped } from './lines.ts';
import { brokenLinks } from './links.ts';

const root = join(import.meta.dirname, '..', '..');
const fix = process.argv.includes('--fix');
const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
  .toString('utf8')
  .split('\0')
  .filter((path) => path !== '' && !/^(?:package-lock\.json|LICENSE|bench\/results\/)|\.json$/.test(path));
const complaints: string[] = [];
for (const path of files) {
  // A file that was removed and not yet committed is still in Git's list.
  const text = await readFile(join(root, path), 'utf8').catch(() => '');
  const kept = fix ? wrapped(path, text) : text;
  if (kept !== text) await writeFile(join(root, path), kept);
  for (const { line, columns } of longLines(path, kept))
    complaints.push(`${path}:${line}: ${columns} columns, at most ${WIDEST} are allowed`);
  if (path.endsWith('.md'))
    for (const link of await brokenLinks(root, path)) complaints.push(`${path}: ${link} leads nowhere`);
}
for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
if (complaints.length > 0) process.exitCode = 1;
