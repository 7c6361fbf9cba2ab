import { createHash } from 'node:crypto';
import { ElfError } from './error.ts';

/**
 * The identity of a livepatch module: a digest of its bytes.
 *
 * A module carries its own name (`struct module`, `.modinfo`, symbols), and the name holds the digest. So the digest is taken of the
 * module under a placeholder of the same length, with an empty GNU build id; then name and digest are written in. What the kernel's
 * signature tool appends is no part of it. The kernel shows the digest of a loaded module in
 * `/sys/module/NAME/notes/.note.gnu.build-id` (kernel/module/sysfs.c, add_notes_attrs).
 */
export interface ModuleIdentity {
  /** First 20 bytes of the SHA-256, lower-case hex: the module's GNU build id. */
  readonly content: string;
  /** The first 12 digits of it. */
  readonly id: string;
  /** `kmend_<id>`. */
  readonly name: string;
}

/** The name under which a module is linked before its content is known. */
export const UNNAMED_MODULE = 'kmend_000000000000';

/** include/linux/module_signature.h: `struct module_signature`, then the magic, end a signed module. */
const MAGIC = Buffer.from('~Module signature appended~\n', 'latin1');
const SIGNATURE_HEAD = 12;
/** The head of a GNU build id of 20 bytes (gABI, "Note Section"): sizes of name and content, type 3, name. */
const NOTE_HEAD = Buffer.from('040000001400000003000000474e5500', 'hex');
const DIGEST_SIZE = 20;

/** The module without the signature behind it. Throws `elf-truncated` where the signature is longer than the file. */
export function unsignedModule(module: Uint8Array): Uint8Array {
  const end = module.length - MAGIC.length - SIGNATURE_HEAD;
  if (end < 0 || !Buffer.from(module.subarray(-MAGIC.length)).equals(MAGIC)) return module;
  const length = new DataView(module.buffer, module.byteOffset + end).getUint32(8);
  if (length > end) throw new ElfError('elf-truncated', 'the signature of the module is longer than the module');
  return module.subarray(0, end - length);
}

/**
 * Gives a module that was linked as `UNNAMED_MODULE` the name and the build id of its content. Throws `elf-inconsistent` where it
 * has not that name, or not one build id of 20 bytes.
 */
export function identifyModule(unnamed: Uint8Array): {
  readonly module: Uint8Array;
  readonly identity: ModuleIdentity;
} {
  const module = Buffer.from(unnamed);
  const note = noteOf(module);
  if (note === undefined || module.indexOf(UNNAMED_MODULE, 0, 'latin1') === -1)
    throw new ElfError(
      'elf-inconsistent',
      `the module is not one that was linked as ${UNNAMED_MODULE} with a build id`,
    );
  note.fill(0);
  const identity = digestOf(module);
  Buffer.from(identity.content, 'hex').copy(note);
  rename(module, UNNAMED_MODULE, identity.name);
  return { module, identity };
}

/**
 * The identity of a module, signed or not, that is called `name`; `undefined` where its name or its build id is not that of its
 * content.
 */
export function moduleIdentity(module: Uint8Array, name: string): ModuleIdentity | undefined {
  const unsigned = Buffer.from(unsignedModule(module));
  const note = noteOf(unsigned);
  if (note === undefined || name.length !== UNNAMED_MODULE.length) return undefined;
  // Else two modules would have one content: one with the placeholder where the other has its name.
  if (name !== UNNAMED_MODULE && unsigned.indexOf(UNNAMED_MODULE, 0, 'latin1') !== -1) return undefined;
  const content = note.toString('hex');
  note.fill(0);
  rename(unsigned, name, UNNAMED_MODULE);
  const identity = digestOf(unsigned);
  return identity.content === content && identity.name === name ? identity : undefined;
}

/** The GNU build id of a module file, lower-case hex; `undefined` where it has not exactly one of 20 bytes. */
export function buildIdOf(module: Uint8Array): string | undefined {
  return noteOf(Buffer.from(module.buffer, module.byteOffset, module.byteLength))?.toString('hex');
}

function digestOf(normalised: Uint8Array): ModuleIdentity {
  const content = createHash('sha256')
    .update(normalised)
    .digest('hex')
    .slice(0, 2 * DIGEST_SIZE);
  const id = content.slice(0, 12);
  return { content, id, name: `kmend_${id}` };
}

/** Where the content of the one GNU build id lies. */
function noteOf(module: Buffer): Buffer | undefined {
  const at = module.indexOf(NOTE_HEAD);
  const start = at + NOTE_HEAD.length;
  if (at === -1 || module.includes(NOTE_HEAD, start) || start + DIGEST_SIZE > module.length) return undefined;
  return module.subarray(start, start + DIGEST_SIZE);
}

/** Both names are of one length. */
function rename(module: Buffer, from: string, to: string): void {
  for (let at = module.indexOf(from, 0, 'latin1'); at !== -1; at = module.indexOf(from, at + to.length, 'latin1'))
    module.write(to, at, 'latin1');
}
