import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkRuntimeOperands } from './check-runtime-operands.ts';
import { Findings } from './finding.ts';
import { decode } from './instructions.ts';

/** What is found in a livepatch of one function with this code, and these sections. */
function findings(code: readonly number[], sections: readonly string[], shipped: readonly string[] = []): string[] {
  const bytes = Uint8Array.from(code);
  const found = new Findings();
  const simulation = {
    world: { runtimeOperands: () => shipped.map((variable) => ({ at: 0, kind: 'shift' as const, variable })) },
    loaded: { file: { sections: sections.map((name) => ({ name })) } },
    own: { functions: [{ name: 'fresh', code: bytes, instructions: decode(bytes) ?? [] }] },
  };
  checkRuntimeOperands(
    simulation,
    [{ object: 'vmlinux', name: 'old', sympos: 0, oldAddress: 0, oldEnd: 16, newAddress: 0 }],
    found,
  );
  return found.list.map((finding) => finding.code);
}

const RETURN = [0xc3];
/** `movabs $0x123456789abcdef,%rax`. */
const WAITING = [0x48, 0xb8, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01];

test('finds new code that waits for an operand of the kernel', () => {
  assert.deepEqual(findings(RETURN, ['.text']), []);
  assert.deepEqual(findings([...WAITING, ...RETURN], ['.text']), ['relocation-missing']);
  assert.deepEqual(findings(RETURN, ['.text', 'runtime_ptr_USER_PTR_MAX']), ['table-astray']);
  assert.deepEqual(findings(RETURN, ['.text'], ['d_hash_shift']), ['function-unpatchable']);
});
