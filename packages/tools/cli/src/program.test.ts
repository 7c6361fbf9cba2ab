import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CliError, exitCodes } from './error.ts';
import { type Register, runProgram } from './program.ts';

const family: Register = ({ program, action }) => {
  const thing = program.command('thing');
  thing
    .command('show')
    .argument('<name>')
    .action(
      action(async (context, name: string) => {
        context.terminal.result({ name }, (data) => `the thing ${data.name}`);
      }),
    );
  thing.command('break').action(
    action(async () => {
      throw new CliError('not-configured', 'there is no thing', { hint: 'make one' });
    }),
  );
  thing.command('refuse').action(
    action(async (context) => {
      context.exitWith(exitCodes.refused);
    }),
  );
};

async function kmend(...argv: string[]): Promise<{ exitCode: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const streams = {
    out: {
      write(text: string) {
        out += text;
      },
    },
    err: {
      write(text: string) {
        err += text;
      },
    },
  };
  const { exitCode } = await runProgram(argv, [family], { streams, env: {}, signal: new AbortController().signal });
  return { exitCode, out, err };
}

test('prints a result as text, and as one JSON document under --json', async () => {
  assert.deepEqual(await kmend('thing', 'show', 'a'), { exitCode: 0, out: 'the thing a\n', err: '' });
  const json = await kmend('thing', 'show', 'a', '--json');
  assert.deepEqual(JSON.parse(json.out), { name: 'a' });
});

test('prints an error with its code and hint, and exits with 1', async () => {
  const { exitCode, out, err } = await kmend('thing', 'break');
  assert.equal(exitCode, 1);
  assert.equal(out, '');
  assert.equal(err, 'kmend: there is no thing [not-configured]\n  make one\n');
  const json = await kmend('--json', 'thing', 'break');
  assert.equal(JSON.parse(json.out).error.code, 'not-configured');
});

test('exits with 2 on wrong usage, also as JSON', async () => {
  for (const argv of [['thing', 'show'], ['nothing'], ['thing', 'show', 'a', '--wrong'], ['thing', 'show', 'a', 'b']]) {
    const plain = await kmend(...argv);
    assert.equal(plain.exitCode, 2, argv.join(' '));
    assert.notEqual(plain.err, '');
    const json = await kmend(...argv, '--json');
    assert.equal(json.exitCode, 2);
    assert.equal(JSON.parse(json.out).error.code, 'usage');
  }
});

test('exits with 0 on help, which lists the exit codes', async () => {
  const { exitCode, out } = await kmend('--help');
  assert.equal(exitCode, 0);
  assert.match(out, /3 refused, 4 needs review/);
  assert.equal((await kmend('thing', 'show', '--help')).exitCode, 0);
});

test('exits with the code that a command chooses', async () => {
  assert.equal((await kmend('thing', 'refuse')).exitCode, 3);
});
