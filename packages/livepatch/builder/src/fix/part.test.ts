import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '@kmend/base/node';
import { lineChanges, partOf } from './part.ts';

const SOCKETS = {
  before: `struct tcp_sock {
	int a;
};

static inline struct tcp_sock *tcp_sk(const struct sock *sk)
{
	return (struct tcp_sock *)sk;
}

struct tcp_timewait_sock {
	int b;
};
`,
  after: `struct tcp_sock {
	int a;
};

#define tcp_sk(ptr) container_of_const(ptr, struct tcp_sock, sk)

/* Variant of tcp_sk() for a
 * const sock.
 */
#define tcp_sk_rw(ptr) \\
	container_of(ptr, struct tcp_sock, sk)

struct tcp_timewait_sock {
	int b;
};
`,
};

async function part({ before, after }: { before: string; after: string }, ...names: string[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'kmend-part-'));
  try {
    const [old, fresh] = [join(folder, 'old'), join(folder, 'new')];
    await writeFile(old, before, 'latin1');
    await writeFile(fresh, after, 'latin1');
    const { stdout } = await run('diff', ['-U0', '--text', old, fresh]);
    return partOf(before, after, lineChanges(stdout.toString('latin1')), new Set(names));
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('takes a new definition without other changes of the same lines', async () => {
  const macro = SOCKETS.after.slice(SOCKETS.after.indexOf('/* Variant'), SOCKETS.after.indexOf('struct tcp_timewait'));
  assert.equal(
    await part(SOCKETS, 'tcp_sk_rw'),
    SOCKETS.before.replace('struct tcp_timewait', `${macro}struct tcp_timewait`),
  );
});

test('selects the whole change by all names, and nothing by none', async () => {
  assert.equal(await part(SOCKETS, 'tcp_sk', 'tcp_sk_rw'), SOCKETS.after);
  assert.equal(await part(SOCKETS, 'tcp_timewait_sock'), SOCKETS.before);
});

test('takes each change of one definition, with conditions inside it', async () => {
  const before = 'struct a {\n\tint x;\n\tint y;\n};\nint f(int a);\nint g(int a);\nstruct b {\n\tint x;\n};\n';
  const after =
    'struct a {\n\tint w;\n\tint x;\n\tint y;\n#ifdef Z\n\tint z;\n#endif\n};\nint f(int a, int b);\nint g(int a, int b);\nstruct b {\n\tint x;\n\tint y;\n};\n';
  assert.equal(await part({ before, after }, 'f'), before.replace('int f(int a)', 'int f(int a, int b)'));
  const changed = before.replace('\tint x;\n\tint y;\n', '\tint w;\n\tint x;\n\tint y;\n#ifdef Z\n\tint z;\n#endif\n');
  assert.equal(await part({ before, after }, 'a'), changed);
  assert.equal(await part({ before, after }, 'a', 'b', 'f', 'g'), after);
});

test('keeps definitions under a new condition together', async () => {
  const before = 'int a;\n\nint z;\n';
  const after = 'int a;\n\n#ifdef X\nint f(void);\n#else\n#define f() 0\n#endif\n\nint z;\n';
  assert.equal(await part({ before, after }, 'f'), after);
});

test('takes a value of an enumeration with the lines of the enumeration', async () => {
  const before = 'enum stop {\n\tA,\n\tB,\n};\n#define LIMIT 3\n';
  const after = 'enum stop {\n\tA,\n\tB,\n\tC,\n};\n#define LIMIT 4\n';
  assert.equal(await part({ before, after }, 'C'), before.replace('\tB,\n', '\tB,\n\tC,\n'));
  assert.equal(await part({ before, after }, 'LIMIT'), before.replace('3', '4'));
});
