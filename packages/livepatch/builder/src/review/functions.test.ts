import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OUTSIDE, scanFile } from './functions.ts';
import { textOf } from './tokens.ts';

function bodies(text: string): Record<string, string> {
  return Object.fromEntries([...scanFile(text).functions].map(([name, body]) => [name, textOf(body)]));
}

test('finds functions by their braces, whatever their header looks like', () => {
  const found = bodies(`
    static inline int plain(int a) { return a; }
    static struct sock *pointer(struct net *net)
        __acquires(RCU) __releases(net->lock) { return first(net); }
    SYSCALL_DEFINE3(shmat, int, shmid, char __user *, addr, int, flags) { return second(); }
    __printf(1, 2) static void annotated(const char *f, ...) { third(f); }
    int (*returns_pointer(int a))(void) { return 0; }
    static const struct ops table = { .run = plain, .size = sizeof(int) };
    static DEFINE_PER_CPU(struct ops, here) = (struct ops) { .run = plain };
    struct thing { int (*run)(void); } __packed;
    #define locked(x) do { take(x); } while (0)
  `);
  assert.equal(found['plain'], 'return a;');
  assert.equal(found['pointer'], 'return first(net);');
  assert.equal(found['SYSCALL_DEFINE3(shmat)'], 'return second();');
  assert.equal(found['annotated'], 'third(f);');
  assert.equal(found['locked'], 'do{take(x);}while(0)');
  assert.equal(Object.keys(found).length, 7);
  assert.match(found[OUTSIDE] ?? '', /\.run=plain/);
  assert.doesNotMatch(found[OUTSIDE] ?? '', /first|second|third|take/);
});

test('ignores comments, texts and #line marks', () => {
  const found = bodies(`#line 1 "a.c"
    int a(void) { /* } */ say("}{ /*"); // }
      char c = '}'; first(); }
#line 7
    int b(void) { second(); }`);
  assert.deepEqual(found, { a: 'say("}{ /*");char c=\'}\';first();', b: 'second();' });
});

test('reads all branches of an #if, but not #if 0', () => {
  const found = bodies(`
    #ifdef CONFIG_A
    int a(int x) {
    #else
    int a(long x) {
    #endif
      #ifdef CONFIG_B
      if (x) {
      #else
      while (x) {
      #endif
        first();
      }
      #if 0
      } hidden();
      #else
      second();
      #endif
    }
    int b(void) { third(); }`);
  assert.deepEqual(Object.keys(found), ['a', 'b']);
  assert.match(found['a'] ?? '', /first\(\);.*second\(\);/);
  assert.doesNotMatch(found['a'] ?? '', /hidden/);
});

test('reads a block that only one branch opens, and only the same branch closes', () => {
  const found = bodies(`
    int a(int x) {
    #ifdef CONFIG_A
      if (x) {
    #else
      first();
    #endif
        second();
    #ifdef CONFIG_A
      }
    #else
      ;
    #endif
      fourth();
    }
    int b(void) { third(); }`);
  assert.deepEqual(Object.keys(found), ['a', 'b']);
  assert.match(found['a'] ?? '', /second.*fourth/);
});

test('reports braces that do not match', () => {
  assert.equal(scanFile('int a(void) { return 0; }').isBroken, false);
  assert.equal(scanFile('int a(void) { { return 0; }').isBroken, true);
  assert.equal(scanFile('int a(void) { return 0; } }').isBroken, true);
  assert.equal(scanFile('int a(void) {\n#if A\n}\n#endif\n#if !A\n}\n#endif').isBroken, true);
});
