import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Run } from '@kmend/base';
import { cleanEnvironment, runOk } from '@kmend/base/node';
import { type Need, type PackageMaker, type PackageSpec, versionText } from './package.ts';
import { epochSeconds, mailDate, oneLine, shorten } from './text.ts';
import { layOut, normalize } from './tree.ts';

export function debFileName({ name, architecture, ...version }: PackageSpec): string {
  return `${name}_${versionText(version)}_${architecture}.deb`;
}

/** Builds a .deb at `path`; the same spec and key give the same bytes. */
export async function buildDeb(run: Run, spec: PackageSpec, maker: PackageMaker, path: string): Promise<void> {
  const tree = await mkdtemp(join(tmpdir(), 'kmend-deb-'));
  try {
    await layOut(tree, { ...spec, files: [...spec.files, changelogFile(spec, maker)] }, maker.signer);
    await mkdir(join(tree, 'DEBIAN'));
    await writeFile(join(tree, 'DEBIAN/md5sums'), await md5sums(tree, spec, maker));
    await writeFile(join(tree, 'DEBIAN/control'), await control(tree, spec, maker));
    // An administrator's change of it stays (Debian policy 10.7).
    const settings = spec.files.map(({ path }) => path).filter((path) => path.startsWith('etc/'));
    if (settings.length > 0) {
      await writeFile(join(tree, 'DEBIAN/conffiles'), settings.map((path) => `/${path}\n`).join(''));
    }
    for (const [name, text] of Object.entries(spec.scripts)) {
      await writeFile(join(tree, 'DEBIAN', name), text);
      await chmod(join(tree, 'DEBIAN', name), name === 'triggers' ? 0o644 : 0o755);
    }
    for (const name of ['md5sums', 'control', ...(settings.length > 0 ? ['conffiles'] : [])])
      await chmod(join(tree, 'DEBIAN', name), 0o644);
    await normalize(tree, spec.at);
    // gzip: every dpkg reads it, and its bytes do not depend on how many threads packed it.
    await runOk(run, 'dpkg-deb', ['--build', '--root-owner-group', '-Zgzip', '-z9', tree, path], {
      env: { ...cleanEnvironment(), SOURCE_DATE_EPOCH: String(epochSeconds(spec.at)) },
    });
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

async function control(tree: string, spec: PackageSpec, { maintainer }: PackageMaker): Promise<string> {
  const { name, architecture, summary, description, needs, replaces, takesOut } = spec;
  let bytes = 0;
  for (const { path } of spec.files) bytes += (await stat(join(tree, path))).size;
  const taken = replaces.map(({ name: other, exactly }) => `${other} (<= ${versionText(exactly)})`).join(', ');
  const lines = [
    `Package: ${name}`,
    `Version: ${versionText(spec)}`,
    `Architecture: ${architecture}`,
    `Maintainer: ${maintainer}`,
    `Installed-Size: ${Math.ceil(bytes / 1024)}`,
    ...(needs.length === 0 ? [] : [`Depends: ${needs.map(relation).join(', ')}`]),
    ...(taken === '' || !takesOut ? [] : [`Breaks: ${taken}`, `Replaces: ${taken}`]),
    'Section: kernel',
    // APT rather keeps the new one back than removes others of the same weight for it.
    `Priority: ${takesOut ? 'standard' : 'optional'}`,
    `Description: ${shorten(oneLine(summary), 100)}`,
    ...description.map(continued),
  ];
  return `${lines.join('\n')}\n`;
}

/** A line of its own, shown as it is: two blanks (Debian policy 5.6.13). */
function continued(line: string): string {
  const text = oneLine(line);
  return text === '' ? ' .' : `  ${text}`;
}

function relation({ name, exactly }: Need): string {
  return exactly === undefined ? name : `${name} (= ${versionText(exactly)})`;
}

/** `changelog.Debian` of a package (Debian policy 4.4). */
export function debChangelog({ name, changes }: PackageSpec, { maintainer }: Pick<PackageMaker, 'maintainer'>): string {
  return changes
    .map((change) => {
      const lines = change.lines.map((line) => `  * ${oneLine(line)}\n`).join('');
      const head = `${name} (${versionText(change)}) stable; urgency=medium\n`;
      return `${head}\n${lines}\n -- ${maintainer}  ${mailDate(change.at)}\n`;
    })
    .join('\n');
}

function changelogFile(spec: PackageSpec, maker: PackageMaker): PackageSpec['files'][number] {
  const bytes = gzipSync(debChangelog(spec, maker), { level: 9 });
  return { path: `usr/share/doc/${spec.name}/changelog.Debian.gz`, mode: 0o644, content: { bytes } };
}

async function md5sums(tree: string, spec: PackageSpec, maker: PackageMaker): Promise<string> {
  const paths = [...spec.files, changelogFile(spec, maker)].map(({ path }) => path).sort();
  const lines: string[] = [];
  // dpkg's own format: it detects accidental damage, not an attack.
  for (const path of paths) {
    const sum = createHash('md5')
      .update(await readFile(join(tree, path)))
      .digest('hex');
    lines.push(`${sum}  ${path}\n`);
  }
  return lines.join('');
}
