import assert from 'node:assert/strict';
import { test } from 'node:test';
import { objectOf } from '../testing/gcc.ts';
import { numberedApart } from './numbers.ts';

const FIRST = 'int first(int a) { static int n; static int own; return own += n += a; }\n';
const SECOND = 'int second(int a) { static int n; return n -= a; }\n';

test('pairs variables by number in two compilations only where the declaration is the same', async () => {
  const flags = ['-g'];
  const separate = await objectOf(FIRST + SECOND, { flags });
  const joined = await objectOf(FIRST + SECOND, { flags, layout: 'joined' });
  assert.deepEqual([...numberedApart(separate, joined)], []);
  const names = separate.atoms.flatMap(({ kind, symbol }) => (kind === 'data' && symbol ? [symbol.name] : []));
  const other = await objectOf(SECOND + FIRST, { flags, layout: 'joined' });
  const apart = numberedApart(separate, other);
  assert.ok(
    names.filter((name) => name.startsWith('n.')).every((name) => apart.has(name)),
    [...apart].join(),
  );
  // Nothing tells.
  const bare = await objectOf(FIRST + SECOND, { layout: 'joined' });
  assert.deepEqual([...numberedApart(separate, bare)].sort(), names.sort());
});

test('knows a variable that shares its place with one without size', async () => {
  const text = `struct key {};
void use(struct key *);
static inline void init(void) { static struct key key; use(&key); }
int first(int a) { static int n; init(); return n += a; }
`;
  const flags = ['-g'];
  const joined = await objectOf(text, { flags, layout: 'joined' });
  assert.deepEqual([...numberedApart(await objectOf(text, { flags }), joined)], []);
});
