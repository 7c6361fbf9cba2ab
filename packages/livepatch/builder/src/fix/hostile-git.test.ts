import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode } from '@kmend/base';
import { exists, limitedRun, run, runOk } from '@kmend/base/node';
import { importFromGit } from './import.ts';

const edges = { run: limitedRun, signal: new AbortController().signal };
const words = { id: 'F', title: undefined, severity: 'low', hardware: false } as const;
const TEXT = 'int f(void)\n{\n\treturn 0;\n}\n';
const PATH = 'lib/unit.c';

interface Repository {
  readonly directory: string;
  readonly path: string;
  /** Says that it has run, by making a file. */
  readonly evil: string;
  hasRun(): Promise<boolean>;
  git(...args: string[]): Promise<string>;
}

/** A repository with two commits; the second changes `lib/unit.c`. */
async function repository(t: TestContext): Promise<Repository> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-git-'));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, 'repository');
  const evil = join(directory, 'evil');
  const ran = join(directory, 'ran');
  await writeFile(evil, `#!/bin/sh\ntouch ${ran}\ncat\n`);
  await chmod(evil, 0o755);
  await mkdir(join(path, 'lib'), { recursive: true });
  const git = async (...args: string[]): Promise<string> =>
    (await runOk(run, 'git', ['-C', path, '-c', 'user.name=n', '-c', 'user.email=e@x', ...args])).toString().trim();
  await git('init', '-q');
  for (const text of [TEXT, TEXT.replace('0', '1')]) {
    await writeFile(join(path, PATH), text);
    await git('add', '.');
    await git('commit', '-q', '-m', 'lib: return one');
  }
  return { directory, path, evil, git, hasRun: () => exists(ran) };
}

const importing = (path: string, commit = 'HEAD'): ReturnType<typeof importFromGit> =>
  importFromGit(edges, words, path, commit);

test('runs nothing that a repository configures', { timeout: 120_000 }, async (t) => {
  const { path, evil, git, hasRun, directory } = await repository(t);
  await writeFile(join(directory, 'included'), `[core]\n\tfsmonitor = ${evil}\n[diff]\n\texternal = ${evil}\n`);
  for (const [key, value] of [
    ['include.path', join(directory, 'included')],
    ['core.fsmonitor', evil],
    ['core.hooksPath', directory],
    ['core.pager', evil],
    ['core.editor', evil],
    ['core.sshCommand', evil],
    ['core.gitProxy', evil],
    ['core.alternateRefsCommand', evil],
    ['core.attributesFile', join(directory, 'attributes')],
    ['pager.show', evil],
    ['pager.log', evil],
    ['alias.rev-parse', `!${evil}`],
    ['diff.external', evil],
    ['diff.evil.textconv', evil],
    ['diff.evil.command', evil],
    ['filter.evil.clean', evil],
    ['filter.evil.smudge', evil],
    ['filter.evil.process', evil],
    ['gpg.program', evil],
    ['log.showSignature', 'true'],
    ['credential.helper', evil],
    ['remote.origin.url', `ext::${evil}`],
    ['remote.origin.uploadpack', evil],
    ['remote.origin.promisor', 'true'],
    ['remote.origin.partialclonefilter', 'blob:none'],
    ['extensions.partialClone', 'origin'],
    ['protocol.allow', 'always'],
    ['submodule.recurse', 'true'],
    ['diff.submodule', 'log'],
  ] as const) {
    await git('config', key, value);
  }
  for (const name of [
    'attributes',
    join('repository', '.gitattributes'),
    join('repository', '.git', 'info', 'attributes'),
  ])
    await writeFile(join(directory, name), '* diff=evil filter=evil -text\n');
  for (const hook of [
    'post-checkout',
    'pre-auto-gc',
    'reference-transaction',
    'post-index-change',
    'fsmonitor-watchman',
  ]) {
    await writeFile(join(path, '.git', 'hooks', hook), `#!/bin/sh\n${evil}\n`);
    await chmod(join(path, '.git', 'hooks', hook), 0o755);
    await writeFile(join(directory, hook), `#!/bin/sh\n${evil}\n`);
    await chmod(join(directory, hook), 0o755);
  }
  const fix = await importing(path);
  assert.deepEqual([fix.title, fix.files], ['lib: return one', [PATH]]);
  assert.match(fix.patch, /^-\treturn 0;\n\+\treturn 1;$/m);
  // A missing object would be fetched by the program that the repository names.
  const blob = await git('rev-parse', `HEAD:${PATH}`);
  await rm(join(path, '.git', 'objects', blob.slice(0, 2), blob.slice(2)));
  await assert.rejects(importing(path), (error) => errorCode(error) === 'fix-without-origin');
  assert.equal(await hasRun(), false);
});

test('ignores the environment and the configuration of the operator', async (t) => {
  const { path, evil, hasRun, directory } = await repository(t);
  const global = join(directory, 'global');
  await writeFile(global, `[diff]\n\texternal = ${evil}\n\tnoprefix = true\n[core]\n\tfsmonitor = ${evil}\n`);
  const before = { ...process.env };
  t.after(() => {
    process.env = before;
  });
  Object.assign(process.env, {
    GIT_CONFIG_GLOBAL: global,
    GIT_EXTERNAL_DIFF: evil,
    GIT_DIR: directory,
    HOME: directory,
  });
  await writeFile(join(directory, '.gitconfig'), await readFile(global));
  assert.deepEqual((await importing(path)).files, [PATH]);
  assert.equal(await hasRun(), false);
});

test('does not read objects of another repository', async (t) => {
  const { path, directory } = await repository(t);
  const other = await repository(t);
  await writeFile(join(other.path, PATH), `${TEXT}/* private */\n`);
  await other.git('commit', '-q', '-a', '-m', 'private');
  const commit = await other.git('rev-parse', 'HEAD');
  await writeFile(join(path, '.git', 'objects', 'info', 'alternates'), `${join(other.path, '.git', 'objects')}\n`);
  await assert.rejects(importing(path, commit), (error) => errorCode(error) === 'fix-without-origin');
  await rm(join(path, '.git', 'objects', 'info', 'alternates'));
  assert.deepEqual((await importing(path)).files, [PATH]);
  // A file in place of the folder, which leads elsewhere.
  const link = join(directory, 'link');
  await mkdir(link);
  await writeFile(join(link, '.git'), `gitdir: ${join(other.path, '.git')}\n`);
  await assert.rejects(importing(link, commit), (error) => errorCode(error) === 'fix-without-origin');
});

test('reads a linked work tree, and a folder of one', async (t) => {
  const { path, git, directory } = await repository(t);
  const linked = join(directory, 'linked');
  await git('worktree', 'add', '-q', linked, 'HEAD~1');
  await git('pack-refs', '--all');
  await git('tag', 'fixed');
  for (const [folder, commit] of [
    [linked, 'fixed'],
    [join(path, 'lib'), 'HEAD'],
    [join(path, '.git'), 'fixed'],
  ] as const) {
    assert.deepEqual((await importing(folder, commit)).files, [PATH]);
  }
});

test('refuses names of commits and files that look like options or revisions', async (t) => {
  const { path, git } = await repository(t);
  for (const commit of [
    '--upload-pack=x',
    '-h',
    'HEAD:lib/unit.c',
    ':/return',
    'HEAD --',
    '@{upstream}',
    'HEAD^{/x}',
    '',
  ])
    await assert.rejects(importing(path, commit), (error) => errorCode(error) === 'fix-without-origin', commit);
  // A branch may be called as an option is, by writing its file.
  await writeFile(join(path, '.git', 'refs', 'heads', '--output=x'), `${await git('rev-parse', 'HEAD')}\n`);
  await assert.rejects(importing(path, '--output=x'), (error) => errorCode(error) === 'fix-without-origin');
  const parent = await git('rev-parse', 'HEAD');
  const blob = await git('rev-parse', `HEAD:${PATH}`);
  const treeOf = async (line: string): Promise<string> =>
    (await runOk(run, 'git', ['-C', path, 'mktree', '-z'], { stdin: `${line}\0` })).toString().trim();
  const commitOf = (tree: string): Promise<string> => git('commit-tree', '-m', 'hostile', '-p', parent, tree);
  for (const name of ['..', '.git', '--output=x', 'a\nb', 'a"b', 'passwd']) {
    const inner = await treeOf(`100644 blob ${blob}\t${name}`).catch(() => undefined);
    if (inner === undefined) continue;
    const tree = await treeOf(`040000 tree ${inner}\tlib`);
    await assert.rejects(importing(path, await commitOf(tree)), (error) => {
      assert.ok(
        ['fix-unsafe-path', 'source-unsupported', 'fix-garbage'].includes(errorCode(error) ?? ''),
        String(error),
      );
      return true;
    });
  }
  // A link and a submodule are no sources.
  const link = await treeOf(`120000 blob ${blob}\tlib`);
  const module = await treeOf(`160000 commit ${parent}\tlib`);
  for (const tree of [link, module]) {
    await assert.rejects(importing(path, await commitOf(tree)), (error) => {
      assert.equal(errorCode(error), 'source-unsupported', String(error));
      return true;
    });
  }
});
