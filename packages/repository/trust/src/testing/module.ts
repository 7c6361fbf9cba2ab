import { identifyModule, type ModuleIdentity, UNNAMED_MODULE } from '@kmend/elf';

/** The head of a GNU build id of 20 bytes, and an empty one. */
const NOTE = Buffer.concat([Buffer.from('040000001400000003000000474e5500', 'hex'), Buffer.alloc(20)]);

/** Bytes of each. */
const SIZE = 2001;

/** What matters of a livepatch module: its name and its build id, both of its content. Each `content` makes another. */
export function exampleModule(content: string): { readonly module: Buffer; readonly identity: ModuleIdentity } {
  const head = Buffer.concat([Buffer.from(`${content}\n${UNNAMED_MODULE}\0`), NOTE]);
  const { module, identity } = identifyModule(Buffer.concat([head, Buffer.alloc(SIZE - head.length, '\n')]));
  return { module: Buffer.from(module), identity };
}

/** A module as scripts/sign-file leaves it; each `signer` makes another signature. */
export function signedModule(module: Uint8Array, signer: string): Buffer {
  const head = Buffer.alloc(12);
  head[2] = 2;
  head.writeUInt32BE(signer.length, 8);
  return Buffer.concat([module, Buffer.from(signer), head, Buffer.from('~Module signature appended~\n')]);
}
