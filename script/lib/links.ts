import { access, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Links of a document that lead to no file of the repository, or to no heading of one. */
export async function brokenLinks(root: string, path: string): Promise<string[]> {
  const text = prose(await readFile(join(root, path), 'utf8'));
  const broken: string[] = [];
  for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [file = '', heading] = target.split('#');
    const place = file === '' ? join(root, path) : join(root, dirname(path), file);
    const found = await access(place).then(
      () => true,
      () => false,
    );
    if (!found || (heading !== undefined && !(await headings(place)).has(heading))) broken.push(target);
  }
  return broken;
}

/** Without code, in which brackets mean something else. */
function prose(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```/gm, '').replaceAll(/`[^`\n]*`/g, '');
}

/** Anchors as GitHub makes them of headings. */
async function headings(path: string): Promise<Set<string>> {
  if (!path.endsWith('.md')) return new Set();
  const text = (await readFile(path, 'utf8')).replaceAll(/^```[\s\S]*?^```/gm, '');
  const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );
  return new Set(anchors);
}
