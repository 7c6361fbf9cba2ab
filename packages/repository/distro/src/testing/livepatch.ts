import { join } from 'node:path';
import { sha256 } from '@kmend/base/node';
import type { Livepatch } from '@kmend/protocol';
import { exampleModule, writeBuild } from '@kmend/trust/testing';

export const BUILD_ID = 'ab'.repeat(20);
export const RELEASE = '6.1.0-47-amd64';

export interface Example {
  readonly kind?: 'stacked' | 'cumulative';
  readonly fixes: readonly string[];
  readonly titles?: Readonly<Record<string, string>>;
  /** Functions of vmlinux. */
  readonly functions?: readonly string[];
  readonly dependsOn?: readonly string[];
  /** Patches of the fixes it was built on, by fix; default: those of `patchOf`. */
  readonly on?: Readonly<Record<string, string>>;
  readonly kernel?: { readonly buildId: string; readonly release: string };
  /** Another one builds the same fix into other bytes. */
  readonly build?: number;
}

export function patchOf(fix: string): string {
  return sha256(`patch of ${fix}`);
}

/** What a build makes, as far as packages look at it; the module is made up. */
export function exampleLivepatch(example: Example): { readonly manifest: Livepatch; readonly module: Buffer } {
  const { kind = 'stacked', fixes, functions = [`${fixes[0]}_function`], dependsOn = [], build = 1 } = example;
  const kernel = example.kernel ?? { buildId: BUILD_ID, release: RELEASE };
  const { module, identity } = exampleModule(JSON.stringify([kind, fixes, kernel, build]));
  const { id } = identity;
  const manifest: Livepatch = {
    schema: 'kmend.livepatch/1',
    id,
    module: `kmend_${id}`,
    kind,
    ...(kind === 'stacked' ? { dependsOn: [...dependsOn] } : {}),
    kernel: { ...kernel, version: '6.1.170-3', arch: 'x86_64' },
    fixes: fixes.map((fix) => ({
      id: fix,
      title: example.titles?.[fix] ?? `net: mend ${fix}`,
      severity: 'high',
      hardware: false,
    })),
    verdict: 'patchable',
    reasons: [],
    reviewAccepted: false,
    objects: [
      {
        name: 'vmlinux',
        functions: functions.map((name) => ({ name: name.replaceAll('-', '_'), sympos: 0, source: 'net/f.c' })),
      },
    ],
    byteProof: { compared: 1, equal: 1, different: [] },
    file: { name: 'livepatch.ko', sha256: sha256(module), size: module.length },
    inputs: {
      fixes: Object.fromEntries(fixes.map((fix) => [fix, patchOf(fix)])),
      ...(kind === 'stacked'
        ? { on: example.on ?? Object.fromEntries(dependsOn.map((fix) => [fix, patchOf(fix)])) }
        : {}),
      config: sha256(''),
      moduleSymvers: sha256(''),
      vmlinux: sha256(''),
      source: sha256(''),
    },
    compiler: 'gcc',
    builder: { name: 'kmend', version: '0.1.0' },
  };
  return { manifest, module };
}

/** Writes it as `kmend build --out` does; returns the folder. */
export async function writeLivepatch(folder: string, example: Example): Promise<string> {
  const { manifest, module } = exampleLivepatch(example);
  const directory = join(folder, manifest.id);
  await writeBuild(directory, manifest, module);
  return directory;
}
