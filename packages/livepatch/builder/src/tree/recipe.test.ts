import assert from 'node:assert/strict';
import { test } from 'node:test';
import { objtoolArguments, parseLink, parseModpost } from './recipe.ts';

/** As 6.12 builds a module; 6.1 says the same without what is named in the titles. */
const LINK = `savedcmd_/p/m.ko := ld -r -m elf_x86_64 -T scripts/module.lds -o /p/m.ko /p/m.o /p/m.mod.o /p/.module-common.o
`;
const MODPOST = 'savedcmd_/p/Module.symvers := scripts/mod/modpost -M -m -o /p/Module.symvers -T /p/modules.order -e\n';

test('objects that are linked into every module are inputs, not arguments', () => {
  assert.deepEqual(parseLink(LINK), {
    arguments: ['-r', '-m', 'elf_x86_64', '-T', 'scripts/module.lds'],
    inputs: ['/p/m.o', '/p/m.mod.o', '/p/.module-common.o'],
  });
  assert.equal(parseLink('savedcmd_/p/m.ko := cp a b\n'), undefined);
});

test('keeps modpost’s list of objects as an argument only if it is standard input', () => {
  assert.deepEqual(parseModpost(MODPOST), ['-M', '-m', '-e']);
  const piped = 'cmd_/p/Module.symvers := sed s/ko$/o/ /p/modules.order | scripts/mod/modpost -m -o /p/x -e -T -\n';
  assert.deepEqual(parseModpost(piped), ['-m', '-e', '-T', '-']);
});

test('gives a unit objtool’s delayed passes, and units of modules those of modules', () => {
  const none = { objtoolArguments: [] };
  const late = { objtoolArguments: ['--ibt', '--orc', '--link', '--module'] };
  assert.deepEqual(objtoolArguments(late, none, 'vmlinux'), ['--ibt', '--orc', '--link']);
  assert.deepEqual(objtoolArguments(late, none, 'ext4'), late.objtoolArguments);
  const own = { objtoolArguments: ['--ibt', '--link', '--module', '--no-unreachable'] };
  assert.deepEqual(objtoolArguments(late, own, 'ext4'), own.objtoolArguments);
});

test('runs no objtool on a unit without it if no pass is delayed', () => {
  assert.deepEqual(
    objtoolArguments({ objtoolArguments: ['--orc', '--module'] }, { objtoolArguments: [] }, 'vmlinux'),
    [],
  );
});
