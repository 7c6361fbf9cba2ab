import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseCommand } from './command.ts';
import { splitCommands, splitWords } from './words.ts';

const OF_A_MODULE = `cmd_crypto/af_alg.o := gcc-12 -Wp,-MMD,crypto/.af_alg.o.d -nostdinc -D__KERNEL__ -g  -DMODULE  -DKBUILD_BASENAME='"af_alg"' -DKBUILD_MODNAME='"af-alg"' -c -o crypto/af_alg.o crypto/af_alg.c  ; ./tools/objtool/objtool --orc --module crypto/af_alg.o

source_crypto/af_alg.o := crypto/af_alg.c
`;

test('reads the flags of a unit, and its objtool options', () => {
  assert.deepEqual(parseCommand(OF_A_MODULE), {
    compiler: 'gcc-12',
    compilerArguments: [
      '-nostdinc',
      '-D__KERNEL__',
      '-g',
      '-DMODULE',
      '-DKBUILD_BASENAME="af_alg"',
      '-DKBUILD_MODNAME="af-alg"',
    ],
    objtoolArguments: ['--orc', '--module'],
  });
  const builtIn = OF_A_MODULE.replace('-DMODULE', '')
    .replace(/;.*objtool.*/, '')
    .replace('cmd_', 'savedcmd_');
  assert.deepEqual(parseCommand(builtIn)?.objtoolArguments, []);
});

test('does not take commands of other tools for a compiler', () => {
  assert.equal(parseCommand('cmd_a.o := as -o a.o a.S\n'), undefined);
  assert.equal(parseCommand(''), undefined);
});

test('reads quoting as Kbuild writes it', () => {
  assert.deepEqual(splitWords(`a 'b c' "d \\" e" f\\ g ''`), ['a', 'b c', 'd " e', 'f g', '']);
  assert.deepEqual(splitCommands(`a 'x;y' ; b "p&&q" && c`), [`a 'x;y'`, `b "p&&q"`, 'c']);
});
