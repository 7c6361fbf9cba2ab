import { stat } from 'node:fs/promises';
import { sha256 } from '@kmend/base/node';
import { type MachineSpec, machineArguments } from '../qemu.ts';

/** What decides about the memory and the disk of a machine that has booted, beside its specification. */
export interface SavedParts {
  /** The first line of `qemu-system-x86_64 --version`: another QEMU may not read what this one saved. */
  readonly qemu: string;
  readonly kernelBuildId: string;
  /**
   * Absolute paths of the root, the initramfs and the modules; each is known by size, inode and time of its last
   * change.
   */
  readonly files: readonly string[];
  /** The key of what was done behind the boot; absent: nothing. */
  readonly preparation?: string | undefined;
}

/** Part of every key: to be changed when this package saves or restores in another way. */
const RECIPE = 'saved machine 1';

/**
 * The key of a saved machine: 32 hex digits. What a restored machine gets newly is not part of it: name, UUID, disk,
 * ports, and what it reaches, which QEMU's network decides and not the guest.
 */
export async function savedKey(spec: MachineSpec, parts: SavedParts): Promise<string> {
  const files = await Promise.all(
    parts.files.map(async (path) => {
      const { size, ino, mtimeMs } = await stat(path);
      return [path, size, ino, mtimeMs];
    }),
  );
  const alike = { name: '', uuid: '', disk: '', vmlinuz: '', forwards: [], reachesOperator: false };
  const { qemu, kernelBuildId, preparation } = parts;
  const done = preparation === undefined ? [] : [preparation];
  const machine = machineArguments({ ...spec, ...alike });
  return sha256(JSON.stringify([RECIPE, qemu, kernelBuildId, machine, files, ...done])).slice(0, 32);
}
