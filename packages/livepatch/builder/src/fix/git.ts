import { lstat, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Edges } from '@kmend/base';
import { MACHINE } from '@kmend/toolchain';
import { confined } from '../confine.ts';
import { BuilderError } from '../error.ts';

/** Runs a command of git on a repository. A failure is `fix-without-origin`. */
export type Git = (...args: string[]) => Promise<Buffer>;

const LIMIT_MS = 120_000;
/** Bytes of a file of a repository that is read here; each has a line. */
const FILE_LIMIT = 4096;

/** Nothing asks, fetches, replaces or locks. */
const ENVIRONMENT = {
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_ATTR_NOSYSTEM: '1',
  GIT_NO_LAZY_FETCH: '1',
  GIT_NO_REPLACE_OBJECTS: '1',
  GIT_ALLOW_PROTOCOL: 'none',
  GIT_TERMINAL_PROMPT: '0',
  GIT_OPTIONAL_LOCKS: '0',
};

const CONFIG = '[core]\n\trepositoryformatversion = 0\n\tbare = true\n';

/** The parts of a repository that are data. */
interface Parts {
  readonly objects: string;
  readonly refs: string;
  /** Absent where no references were packed. */
  readonly packedRefs?: string;
  /** What HEAD says. */
  readonly head: string;
}

/**
 * Opens a repository that may be anyone's, and reads it. Its configuration, hooks and attributes can name programs to
 * run (`core.fsmonitor`, `diff.*.textconv`, `remote.*.promisor`), so none of them is there: git sees a repository of
 * kmend's own, which has the other's objects and references, in the sandbox.
 */
export async function withRepository<T>(
  edges: Pick<Edges, 'run' | 'signal'>,
  directory: string,
  use: (git: Git) => Promise<T>,
): Promise<T> {
  const parts = await partsOf(directory);
  const scratch = await mkdtemp(join(tmpdir(), 'kmend-repository-'));
  try {
    const own = join(scratch, 'git');
    await mkdir(own);
    await writeFile(join(own, 'config'), CONFIG);
    await writeFile(join(own, 'HEAD'), parts.head);
    await symlink(parts.objects, join(own, 'objects'));
    await symlink(parts.refs, join(own, 'refs'));
    if (parts.packedRefs !== undefined) await symlink(parts.packedRefs, join(own, 'packed-refs'));
    const run = await confined(edges.run, MACHINE, [
      own,
      parts.objects,
      parts.refs,
      ...(parts.packedRefs === undefined ? [] : [parts.packedRefs]),
    ]);
    return await use(async (...args) => {
      const result = await run('git', ['--no-pager', `--git-dir=${own}`, ...args], {
        cwd: own,
        env: ENVIRONMENT,
        signal: edges.signal,
        timeoutMs: LIMIT_MS,
        // git maps the packs of a repository: address space, not memory.
        limits: { memory: 2 ** 40 },
      });
      if (result.exitCode !== 0) throw unreadable(directory, result.stderr.trim().split('\n')[0] ?? '');
      return result.stdout;
    });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function partsOf(directory: string): Promise<Parts> {
  const { git, common } = await findRepository(directory);
  const [objects, refs, packed] = ['objects', 'refs', 'packed-refs'].map((name) => join(common, name)) as [
    string,
    string,
    string,
  ];
  // A link may lead to another repository, whose commits are not this one's.
  for (const folder of [objects, refs])
    if ((await kindOf(folder)) !== 'folder') throw unreadable(directory, `${folder} is no folder`);
  if ((await kindOf(join(objects, 'info', 'alternates'))) !== undefined) {
    throw unreadable(directory, 'it takes objects from another repository (objects/info/alternates)', {
      hint: 'only what lies in the repository itself is read: git repack -a -d there, then remove objects/info/alternates',
    });
  }
  const head = await lineOf(join(git, 'HEAD'));
  if (head === undefined) throw unreadable(directory, 'HEAD cannot be read');
  return { objects, refs, head: `${head}\n`, ...((await kindOf(packed)) === 'file' ? { packedRefs: packed } : {}) };
}

/**
 * The folder of the repository that a folder lies in, and the one that has the objects: another for a linked work
 * tree.
 */
async function findRepository(directory: string): Promise<{ readonly git: string; readonly common: string }> {
  for (let folder = resolve(directory); ; folder = dirname(folder)) {
    const inside = join(folder, '.git');
    const kind = await kindOf(inside);
    if (kind === 'folder') return { git: inside, common: inside };
    if (kind === 'file') return await linkedWorkTree(inside);
    if ((await kindOf(join(folder, 'objects'))) === 'folder' && (await kindOf(join(folder, 'HEAD'))) === 'file')
      return { git: folder, common: folder };
    if (folder === dirname(folder)) throw unreadable(directory, 'there is no git repository');
  }
}

/** gitrepository-layout(5), `worktrees`: the repository must name the work tree too, or any file could pass for one. */
async function linkedWorkTree(file: string): Promise<{ readonly git: string; readonly common: string }> {
  const named = /^gitdir: (.+)$/.exec((await lineOf(file)) ?? '')?.[1];
  const git = resolve(dirname(file), named ?? '');
  const [back, common] = await Promise.all([lineOf(join(git, 'gitdir')), lineOf(join(git, 'commondir'))]);
  if (named === undefined || common === undefined || back === undefined || resolve(git, back) !== file) {
    throw unreadable(dirname(file), 'its .git leads to another place, which does not know of it', {
      hint: 'name the repository itself with --git',
    });
  }
  return { git, common: resolve(git, common) };
}

async function kindOf(path: string): Promise<'file' | 'folder' | 'other' | undefined> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return undefined;
  return found.isFile() ? 'file' : found.isDirectory() ? 'folder' : 'other';
}

/** The line of a small file; `undefined` where it is none. */
async function lineOf(path: string): Promise<string | undefined> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined || !found.isFile() || found.size > FILE_LIMIT) return undefined;
  return (await readFile(path, 'utf8')).trim();
}

function unreadable(directory: string, why: string, { hint }: { readonly hint?: string } = {}): BuilderError {
  return new BuilderError('fix-without-origin', `git in ${directory}: ${why}`, {
    hint: hint ?? 'name a git repository with --git and one of its commits with --commit',
  });
}
