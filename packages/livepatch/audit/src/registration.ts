import { sectionOf } from '@kmend/elf';
import type { StructLayout } from '@kmend/kernel';
import type { Address } from './address.ts';
import { AuditError } from './error.ts';
import type { Findings } from './finding.ts';
import { decode } from './instructions.ts';
import type { Loaded } from './loaded.ts';
import type { World } from './world.ts';

export interface ReplacedFunction {
  readonly oldName: string;
  readonly sympos: number;
  readonly newFunction: Address;
  /** Where its `struct klp_func` holds that address. */
  readonly heldAt: Address;
}

export interface PatchedPart {
  /** `vmlinux` where the kernel has NULL. */
  readonly name: string;
  readonly functions: readonly ReplacedFunction[];
  readonly callbacks: readonly Address[];
}

export interface RegisteredPatch {
  readonly replace: boolean;
  readonly objects: readonly PatchedPart[];
}

/** No livepatch has more: a damaged table must not be walked forever. */
const MOST = 10_000;
const MODULE_NAME_LIMIT = 56;

/**
 * What the livepatch hands to klp_enable_patch(), read from its data as the kernel reads it (include/linux/livepatch.h:
 * klp_for_each_object_static, klp_for_each_func_static).
 */
export function readRegistration(loaded: Loaded, world: World, findings: Findings): RegisteredPatch | undefined {
  const patch = patchAddress(loaded, world);
  if (patch === undefined) {
    findings.add('load-refused', 'the init function hands nothing to klp_enable_patch()');
    return undefined;
  }
  const member = (struct: string, name: string): number => {
    const offset = layout(world, struct).members.get(name);
    if (offset === undefined) throw unknown(`${struct}.${name}`);
    return offset;
  };
  const read = (address: Address, struct: string, name: string): Address =>
    loaded.pointer(address + member(struct, name)) ?? 0;
  const module = loaded.file.symbols.find(({ name }) => name === '__this_module');
  if (module === undefined || read(patch, 'klp_patch', 'mod') !== loaded.addressOf(module)) {
    findings.add('load-refused', 'the patch that is handed to klp_enable_patch() is not this module’s');
  }
  for (const [member, name] of [
    ['init', 'init_module'],
    ['exit', 'cleanup_module'],
  ] as const) {
    const symbol = loaded.file.symbols.find((one) => one.name === name);
    const base = module === undefined ? undefined : loaded.addressOf(module);
    const held = base === undefined ? undefined : read(base, 'module', member);
    if (symbol === undefined || held !== loaded.addressOf(symbol)) {
      findings.add('load-refused', `struct module does not have ${name} for its ${member} function`);
    }
  }
  const objects: PatchedPart[] = [];
  const seen = new Set<string>();
  const objectSize = layout(world, 'klp_object').size;
  const functionSize = layout(world, 'klp_func').size;
  const first = read(patch, 'klp_patch', 'objs');
  for (let at = first; objects.length < MOST; at += objectSize) {
    const nameAt = read(at, 'klp_object', 'name');
    const functionsAt = read(at, 'klp_object', 'funcs');
    if (nameAt === 0 && functionsAt === 0) break;
    const name = nameAt === 0 ? 'vmlinux' : loaded.text(nameAt);
    if (
      name === undefined ||
      name.length >= MODULE_NAME_LIMIT ||
      functionsAt === 0 ||
      (nameAt !== 0 && name === 'vmlinux')
    ) {
      findings.add(
        'load-refused',
        `the object ${name ?? 'without a readable name'} is not one that klp_enable_patch() takes`,
      );
      continue;
    }
    if (seen.has(name)) findings.add('load-refused', `the object ${name} is registered twice`, { object: name });
    seen.add(name);
    const functions: ReplacedFunction[] = [];
    for (let entry = functionsAt; functions.length < MOST; entry += functionSize) {
      const oldName = read(entry, 'klp_func', 'old_name');
      const newFunction = read(entry, 'klp_func', 'new_func');
      const sympos = read(entry, 'klp_func', 'old_sympos');
      if (oldName === 0 && newFunction === 0 && sympos === 0) break;
      const text = oldName === 0 ? undefined : loaded.text(oldName);
      if (text === undefined || newFunction === 0) {
        findings.add('load-refused', `a function of ${name} is registered without a name or without its new code`, {
          object: name,
        });
        continue;
      }
      functions.push({ oldName: text, sympos, newFunction, heldAt: entry + member('klp_func', 'new_func') });
    }
    const callbacksAt = at + member('klp_object', 'callbacks');
    const callbacks = ['pre_patch', 'post_patch', 'pre_unpatch', 'post_unpatch']
      .map((phase) => read(callbacksAt, 'klp_callbacks', phase))
      .filter((address) => address !== 0);
    objects.push({ name, functions, callbacks });
  }
  const replaceAt = loaded.at(patch + member('klp_patch', 'replace'));
  const replace = replaceAt !== undefined && loaded.memory(replaceAt.section)[replaceAt.offset] === 1;
  if (objects.length === 0) findings.add('load-refused', 'the livepatch patches no object');
  return { replace, objects };
}

function layout(world: World, name: string): StructLayout {
  const found = world.layouts.get(name);
  if (found === undefined) throw unknown(name);
  return found;
}

/** First argument of the call of klp_enable_patch() in the init function: `mov $patch,%rdi`. */
function patchAddress(loaded: Loaded, world: World): Address | undefined {
  const enable = world.exportedAt('klp_enable_patch');
  const init = loaded.file.symbols.find(({ name }) => name === 'init_module');
  const section = init === undefined ? undefined : sectionOf(init);
  if (init === undefined || section === undefined || enable === undefined) return undefined;
  const start = Number(init.value);
  const code = loaded.memory(section).subarray(start, start + init.size);
  const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
  const base = (loaded.base(section) ?? 0) + start;
  let argument: Address | undefined;
  for (const instruction of decode(code) ?? []) {
    const { immediate, relative, opcode, map, wide } = instruction;
    const end = base + instruction.at + instruction.length;
    if (map === 0 && opcode === 0xc7 && wide && immediate !== undefined && code[immediate.at - 1] === 0xc7) {
      argument = view.getInt32(immediate.at, true);
    } else if (
      map === 0 &&
      opcode === 0x8d &&
      instruction.memory?.base === 'rip' &&
      code[instruction.memory.at - 1] === 0x3d
    ) {
      argument = end + view.getInt32(instruction.memory.at, true);
    } else if (
      relative?.size === 4 &&
      instruction.flow !== 'branch' &&
      end + view.getInt32(relative.at, true) === enable
    ) {
      return argument;
    }
  }
  return undefined;
}

function unknown(what: string): AuditError {
  return new AuditError('audit-unreadable', `the kernel's type information does not have ${what}`);
}
