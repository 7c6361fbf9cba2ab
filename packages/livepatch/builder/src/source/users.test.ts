import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Users } from './users.ts';

/** What a text defines with `LIMIT`. */
function usersOf(text: string): string[] | 'unclear' {
  const found = new Users(['LIMIT']).scan(text);
  return found === 'unclear' ? found : found.sort();
}

test('follows what is defined with a name, through what is defined with that', () => {
  assert.deepEqual(
    usersOf('#define TWICE (2 * LIMIT)\nstatic inline int f(void) { return TWICE; }\nint other(void);\n'),
    ['TWICE', 'f'],
  );
  assert.deepEqual(usersOf('struct s { int a[LIMIT]; };\nstruct t { struct s s; };\n'), ['s', 't']);
  assert.deepEqual(usersOf('#define OTHER 1\n'), []);
});

test('follows a macro that pastes names by its own name', () => {
  assert.deepEqual(usersOf('#define check(what) check_##what(LIMIT)\n'), ['check']);
});

test('reports what a macro may make of a name as unclear, wherever it is passed to one', () => {
  assert.equal(usersOf('TRACE_EVENT(thing, TP_PROTO(int a), limit(LIMIT));\n'), 'unclear');
  // include/linux/fsnotify_backend.h, FSNOTIFY_ITER_FUNCS: the functions have the argument's name.
  assert.equal(
    usersOf('#define MAKE(name) static inline int get_##name(void) { return LIMIT; }\nMAKE(first)\nMAKE(second)\n'),
    'unclear',
  );
  assert.equal(
    usersOf('#define make(name) int get_##name(void) { return LIMIT; }\nstatic inline make(first)\n'),
    'unclear',
  );
  // Through a macro that pastes nothing itself.
  assert.equal(
    usersOf(
      '#define make(name) int get_##name(void) { return LIMIT; }\n#define both(a, b) make(a) make(b)\nstatic both(c, d)\n',
    ),
    'unclear',
  );
});

test('reports a text that pastes what another one defines as unclear when it is read again', () => {
  const users = new Users(['LIMIT']);
  assert.deepEqual(users.scan('#define make(name) int get_##name(void) { return LIMIT; }\n'), ['make']);
  assert.equal(users.scan('static inline make(first)\n'), 'unclear');
});

test('still searches for what an unclear text defines if another text defines it', () => {
  const users = new Users(['LIMIT']);
  const define = '#define TWICE (2 * LIMIT)\n';
  assert.equal(users.scan(`${define}static inline int f(int a[TWICE]);\nMAKE(LIMIT)\n`), 'unclear');
  assert.deepEqual(users.scan(define), ['TWICE']);
});
