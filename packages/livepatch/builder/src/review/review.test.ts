import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Reason } from '../types.ts';
import { reviewSource } from './review.ts';

function review(original: string, patched: string): Reason[] {
  return reviewSource({ path: 'a/unit.c', stock: original, versions: [{ fix: 'A', text: patched }] }, new Set('A'));
}
const codes = (original: string, patched: string): string[] => review(original, patched).map(({ code }) => code);

/** Codes for a statement that comes into a function that did not have it. */
function codesOf(statement: string, more = ''): string[] {
  const file = (body: string): string => `void f(struct x *x) { work(x); ${body} }\n${more}`;
  return codes(file(''), file(statement));
}

test('sorts calls by what they take or give back', () => {
  const cases: Record<string, readonly string[]> = {
    'lock-protocol': [
      'spin_lock_irqsave(&x->lock, flags);',
      'mutex_unlock(&x->m);',
      'if (!raw_spin_trylock(&x->l)) return;',
      'down_read(&x->sem);',
      'up(&x->sem);',
      'percpu_down_write(&x->sem);',
      'f2fs_up_read(&sbi->sb_lock);',
      'lock_sock(sk);',
      'release_sock(sk);',
      'bh_lock_sock(sk);',
      'rtnl_lock();',
      'local_bh_disable();',
      'preempt_enable();',
      'cpu = get_cpu();',
      'seq = read_seqcount_begin(&x->seq);',
      'write_sequnlock(&x->seq);',
      'guard(mutex)(&x->m);',
      'scoped_guard(raw_spinlock, &x->l) work(x);',
      'folio_lock(folio);',
      'inode_unlock(inode);',
      'sb_start_write(sb);',
      'shm_lock_by_ptr(shp);',
    ],
    'rcu-protocol': [
      'rcu_read_lock();',
      'idx = srcu_read_lock(&x->srcu);',
      'synchronize_rcu();',
      'synchronize_net();',
      'call_rcu(&x->rcu, gone);',
      'kfree_rcu(x, rcu);',
      'rcu_assign_pointer(x->p, p);',
      'p = rcu_dereference_protected(x->p, 1);',
      'list_add_tail_rcu(&x->node, &list);',
      'hlist_del_init_rcu(&x->node);',
      'guard(rcu)();',
    ],
    'reference-protocol': [
      'sock_hold(sk);',
      'dev_put(dev);',
      'refcount_inc(&x->ref);',
      'if (!refcount_inc_not_zero(&x->ref)) return;',
      'kref_put(&x->kref, gone);',
      'fput(file);',
      'iput(inode);',
      'get_task_struct(task);',
      'module_put(owner);',
      'atomic_dec(&x->users);',
      'foo_session_put(x);',
      'dst_release(dst);',
    ],
  };
  for (const [code, statements] of Object.entries(cases)) {
    for (const statement of statements) assert.deepEqual(codesOf(statement), [code], statement);
  }
});

test('ignores names that only look like such calls', () => {
  for (const statement of [
    'clock_settime(x);',
    'block_read(x);',
    'flock_make_lock(x);',
    'posix_lock_file(f, l, 0);',
    'spin_lock_init(&x->lock);',
    'lockdep_assert_held(&x->lock);',
    'if (mutex_is_locked(&x->m)) return;',
    'shutdown(x);',
    'back_up(x);',
    'x->ops->lock(x);',
    'if (rcu_read_lock_held()) return;',
    'get_random_bytes(x, 4);',
    'if (get_user(v, p)) return;',
    'put_unaligned_le32(v, p);',
    'nla_put_u32(skb, 1, 2);',
    'skb_put(skb, 4);',
    'v = this_cpu_get(x);',
    'v = platform_get_drvdata(x);',
    'v = foo_get_size(x);',
    'atomic_inc(&x->errors);',
    'refcount_set(&x->ref, 1);',
  ]) {
    assert.deepEqual(codesOf(statement), [], statement);
  }
});

test('takes a get for a reference if something of that name is put', () => {
  assert.deepEqual(codesOf('y = foo_get(x);'), []);
  assert.deepEqual(codesOf('y = foo_get(x);', 'void g(struct y *y) { foo_put(y); }'), ['reference-protocol']);
  assert.deepEqual(codesOf('foo_get(x);'), ['reference-protocol']);
});

const TWO = `
int first(struct x *x) { spin_lock(&x->lock); work(x); spin_unlock(&x->lock); return 0; }
int second(struct x *x) { work(x); return 0; }
int third(struct x *x) { spin_lock(&x->lock); more(x); spin_unlock(&x->lock); return 0; }
`;

test('names in the reason the calls and what runs beside them', () => {
  const [reason, ...rest] = review(
    TWO,
    TWO.replace(
      'int second(struct x *x) { work(x);',
      'int second(struct x *x) { spin_lock(&x->lock); work(x); spin_unlock(&x->lock);',
    ),
  );
  assert.deepEqual(rest, []);
  assert.equal(reason?.code, 'lock-protocol');
  assert.equal(reason.verdict, 'needs-review');
  assert.equal(reason.source, 'a/unit.c');
  assert.match(reason.message, /second \(\+spin_lock\(&x->lock\), \+spin_unlock\(&x->lock\)\)/);
  assert.match(reason.message, /unchanged beside it, with the same: first, third;/);
});

test('counts dropped calls as it counts added ones', () => {
  const [reason] = review(TWO, TWO.replace('spin_lock(&x->lock); more(x); spin_unlock(&x->lock);', 'more(x);'));
  assert.match(reason?.message ?? '', /third \(-spin_lock\(&x->lock\), -spin_unlock\(&x->lock\)\)/);
});

test('ignores a call that moves inside its function', () => {
  assert.deepEqual(codes(TWO, TWO.replace('spin_lock(&x->lock); work(x);', 'work(x); spin_lock(&x->lock);')), []);
});

test('counts another lock of the same kind as a change', () => {
  const patched = TWO.replaceAll(/(int third.*)x->lock(.*)x->lock/g, '$1x->other$2x->other');
  assert.deepEqual(codes(TWO, patched), ['lock-protocol']);
});

test('asks for a review of a release without a take, not of a missing release on an error path', () => {
  const early = (release: string): string =>
    TWO.replace('work(x); spin_unlock', `if (bad(x)) { ${release} return 1; } work(x); spin_unlock`);
  assert.deepEqual(codes(TWO, early('spin_unlock(&x->lock);')), []);
  assert.deepEqual(codes(TWO, early('spin_unlock(&x->other);')), ['lock-protocol']);
  const got = (release: string): string =>
    `int f(int i) { struct y *y = find(i); struct z z; fill(&z); ${release} return 0; }`;
  assert.deepEqual(codes(got(''), got('dev_put(y);')), []);
  assert.deepEqual(codes(got(''), got('brelse(z.bh);')), []);
  assert.deepEqual(codes(got(''), got('dev_put(other);')), ['reference-protocol']);
  const same = (release: string): string =>
    `int f(struct page *p) { struct folio *y = page_folio(p); ${release} return 0; }`;
  assert.deepEqual(codes(same(''), same('folio_put(y);')), ['reference-protocol']);
});

test('reports a missing release if another call of its family changes', () => {
  const patched = TWO.replace(
    'work(x); spin_unlock',
    'if (bad(x)) { spin_unlock(&x->lock); return 1; } work(x); spin_unlock',
  ).replace('more(x);', 'more(x); mutex_lock(&x->m);');
  assert.match(review(TWO, patched)[0]?.message ?? '', /first \(\+spin_unlock.*third \(\+mutex_lock/);
});

test('ignores calls that move into a new function, out of a removed one, or with a new name', () => {
  const body = 'spin_lock(&q->lock); work(q); spin_unlock(&q->lock);';
  const caller = TWO.replace('spin_lock(&x->lock); more(x); spin_unlock(&x->lock);', 'helper(x);');
  const split = `static void helper(struct x *q) { ${body} }\n${caller}`;
  assert.deepEqual(codes(TWO, split), []);
  assert.deepEqual(codes(split, TWO), []);
  assert.deepEqual(codes(split, split.replaceAll('helper', 'assistant')), []);
  // Two use it now, one of which had none of these calls.
  const wider = split.replace('int second(struct x *x) { work(x);', 'int second(struct x *x) { helper(x);');
  assert.deepEqual(codes(TWO, wider), ['lock-protocol']);
});

test('compares new functions with nothing', () => {
  assert.deepEqual(codes(TWO, `${TWO} static void gone(struct rcu_head *r) { mutex_lock(&m); }`), ['lock-protocol']);
});

test('compares a file as a whole if it cannot be split', () => {
  const broken = `${TWO}\nint b(void) {\n#if A\n}\n#endif\n#if !A\n}\n#endif\n`;
  assert.deepEqual(codes(broken, broken.replace('work(x); return', 'work(x); mutex_lock(&x->m); return')), [
    'lock-protocol',
  ]);
  assert.match(
    review(broken, broken.replace('work(x); return', 'mutex_lock(&x->m); return'))[0]?.message ?? '',
    /the file as a whole/,
  );
  assert.deepEqual(codes(broken, broken.replace('more(x)', 'less(x)')), []);
});

test('asks for a review of a changed macro constant that functions use', () => {
  const file = `#define LIMIT 4\n#define NAME "one"\n#define UNUSED 1\nint f(int a) { say(NAME); return a < LIMIT; } int g(void) { return LIMIT; }`;
  const [reason, ...rest] = review(file, file.replace('LIMIT 4', 'LIMIT (8 << 1)'));
  assert.deepEqual(
    [reason?.code, reason?.symbol, reason?.verdict, rest],
    ['macro-changed', 'LIMIT', 'needs-review', []],
  );
  assert.match(reason?.message ?? '', /from 4 to \(8<<1\) \(used in f, g\)/);
  assert.deepEqual(codes(file, file.replace('UNUSED 1', 'UNUSED 2')), []);
  assert.deepEqual(codes(file, file.replace('"one"', '"two"')), []);
  assert.deepEqual(codes(file, file.replace('LIMIT 4', 'LIMIT 4 /* four */')), []);
  assert.deepEqual(codes(file, file.replace('LIMIT 4', 'FRESH 1\n#define LIMIT 4')), []);
});

test('judges each fix of a series by its own change', () => {
  const locked = TWO.replace('work(x); return', 'mutex_lock(&x->m); return');
  const versions = [
    { fix: 'A', text: locked },
    { fix: 'B', text: locked.replace('more(x)', 'less(x)') },
    { fix: 'C', text: TWO.replace('more(x)', 'less(x)') },
  ];
  const told = (...fixes: string[]): (string | undefined)[] =>
    reviewSource({ path: 'a/unit.c', stock: TWO, versions }, new Set(fixes)).map(({ fix }) => fix);
  assert.deepEqual(told('A', 'B', 'C'), ['A', 'C']);
  assert.deepEqual(told('B', 'C'), ['C']);
});

test('counts a constant of a header as used by what includes it', () => {
  const versions = [{ fix: 'A', text: '#define LIMIT 5\n' }];
  const [reason] = reviewSource({ path: 'a/unit.h', stock: '#define LIMIT 4\n', versions }, new Set('A'));
  assert.equal(reason?.code, 'macro-changed');
});

test('asks for a review of another allocator or release, except kvfree() for kfree()', () => {
  const file = (take: string, give: string): string =>
    `int take(void **p, size_t size) { *p = ${take}; return *p ? 0 : -ENOMEM; } void give(void *p) { ${give}; }`;
  const base = file('kzalloc(size, GFP_KERNEL)', 'kfree(p)');
  const [wider] = review(base, file('kvzalloc(size, GFP_KERNEL)', 'kvfree(p)'));
  assert.deepEqual([wider?.code, wider?.symbol], ['memory-protocol', 'take']);
  assert.match(wider?.message ?? '', /in take \(\+kvzalloc\(size, GFP_KERNEL\), -kzalloc\(size, GFP_KERNEL\)\);/);
  for (const [take, give] of [
    ['kmem_cache_alloc(all, GFP_KERNEL)', 'kfree(p)'],
    ['vmalloc(size)', 'kfree(p)'],
    ['kzalloc(size, GFP_KERNEL)', 'vfree(p)'],
    ['kzalloc(size, GFP_KERNEL)', 'kmem_cache_free(all, p)'],
  ] as const) {
    assert.deepEqual(codes(base, file(take, give)), ['memory-protocol'], `${take} ${give}`);
  }
  for (const [take, give] of [
    ['kmalloc_array(size, 2, GFP_NOFS)', 'kfree_sensitive(p)'],
    ['kzalloc(size, GFP_KERNEL)', 'kvfree(p)'],
    ['kzalloc(size, GFP_KERNEL)', 'kfree_skb(p); kfree(p)'],
    ['kzalloc(size, GFP_KERNEL)', 'kfree(p); vfree(q)'],
    ['find(size)', 'kfree(p)'],
  ] as const) {
    assert.deepEqual(codes(base, file(take, give)), [], `${take} ${give}`);
  }
  const [narrower] = review(
    file('kvmalloc(1)', 'kvfree(p->a); kvfree(p->b); kfree(p->c); kvfree(p)'),
    file('kvmalloc(1)', 'kvfree(p->a); kfree(p->b); kfree(p->c); kvfree(p)'),
  );
  assert.match(narrower?.message ?? '', /in give \(\+kfree\(p->b\), -kvfree\(p->b\)\);/);
});
