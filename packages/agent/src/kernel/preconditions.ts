import type { Livepatch } from '@kmend/protocol';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';
import { isOurs, type KernelView, LIVEPATCH_DIRECTORY } from './livepatch.ts';

/** Modules of other live patch systems: two of them on one kernel undo or break each other. */
const RIVALS = /^(kpatch|kpatch_.*|ksplice_.*|kcare|kernelcare|kmodlve_kcare|lkp_.*|livepatch_.*)$/;

/** What the module signature of kernel/module/signing.c ends with. */
const SIGNATURE_MAGIC = '~Module signature appended~\n';

/** Throws where this kernel cannot take any livepatch. */
export function assertLivepatchSupport(kernel: KernelView): void {
  if (kernel.supported) return;
  throw new AgentError('kernel-without-livepatch', `the running kernel has no ${LIVEPATCH_DIRECTORY}`, {
    hint: 'boot a kernel built with CONFIG_LIVEPATCH (every Debian amd64 kernel is)',
  });
}

/** Throws where the signed description is not of a livepatch for this very kernel, or not of a kind the agent loads. */
export function assertFits(manifest: Livepatch, buildId: string): void {
  if (manifest.kernel.buildId !== buildId) {
    throw new AgentError(
      'wrong-kernel',
      `livepatch ${manifest.module} is for kernel ${manifest.kernel.release} (build id ${manifest.kernel.buildId}), ` +
        `this host runs build id ${buildId}`,
      { hint: 'nothing was loaded; the repository lists a livepatch under the wrong kernel: publish it again' },
    );
  }
  if (manifest.kind !== 'cumulative' || !isOurs(manifest.module)) {
    throw new AgentError(
      'livepatch-unsupported',
      `the agent loads cumulative livepatches of kmend, not ${manifest.module}`,
      {
        details: { kind: manifest.kind },
        hint: 'stacked livepatches come through the package manager',
      },
    );
  }
}

/** Throws `conflict-*` where something else in the kernel would be broken by the load, or would break it. */
export function assertNoConflict(kernel: KernelView): void {
  const foreign = kernel.livepatches.find((it) => !isOurs(it.name));
  if (foreign !== undefined) {
    throw new AgentError('conflict-livepatch', `another livepatch is loaded: ${foreign.name}`, {
      details: { livepatch: foreign.name },
      hint: 'a cumulative livepatch would replace it: remove it (and what loads it) first, then check again',
    });
  }
  const rival = kernel.modules.find((name) => RIVALS.test(name));
  if (rival !== undefined) {
    throw new AgentError('conflict-module', `the module of another live patch system is loaded: ${rival}`, {
      details: { module: rival },
      hint: 'use one live patch system a host: remove the other one, then check again',
    });
  }
  const moving = kernel.livepatches.find((it) => it.transition);
  if (moving !== undefined) {
    throw new AgentError('conflict-transition', `${moving.name} is still in transition`, {
      hint: 'the kernel does one transition at a time; the agent tries again at its next check',
    });
  }
}

/** Throws where the kernel would refuse this module for want of a signature. */
export async function assertMayLoad(edges: Edges, module: Uint8Array): Promise<void> {
  const tail = Buffer.from(module.subarray(-SIGNATURE_MAGIC.length)).toString('latin1');
  if (tail === SIGNATURE_MAGIC) return;
  const lockdown = await edges.files.text('/sys/kernel/security/lockdown');
  const mode = lockdown === undefined ? undefined : /\[(\w+)\]/.exec(lockdown)?.[1];
  if (mode !== undefined && mode !== 'none') {
    throw new AgentError(
      'lockdown',
      `the kernel is locked down (${mode}) and the livepatch carries no module signature`,
      {
        details: { mode },
        hint: 'sign livepatches with a key that this kernel trusts, or boot without Secure Boot lockdown',
      },
    );
  }
  const enforced = await edges.files.text('/sys/module/module/parameters/sig_enforce');
  if (enforced?.trim() === 'Y') {
    throw new AgentError('signature-required', 'the kernel takes signed modules only (module.sig_enforce)', {
      hint: 'sign livepatches with a key that this kernel trusts, or boot without module.sig_enforce=1',
    });
  }
}

const TRACED = ['/sys/kernel/tracing/enabled_functions', '/sys/kernel/debug/tracing/enabled_functions'];

/**
 * Throws where a function to be patched is traced by someone who changes its instruction pointer (flag `I`; kernel
 * Documentation/trace/ftrace.rst): only one may. Functions that kmend itself patches now are no conflict. Where tracefs
 * is not mounted the kernel's own refusal has to do.
 */
export async function assertNotHooked(edges: Edges, manifest: Livepatch, kernel: KernelView): Promise<void> {
  let text: string | undefined;
  for (const path of TRACED) text ??= await edges.files.text(path, 16_000_000);
  if (text === undefined) return;
  const hooked = new Set<string>();
  for (const line of text.split('\n')) {
    const found = /^(\S+)(?: \[\w+\])? \(\d+\)(?:\s+\w)*?\s+I\b/.exec(line);
    if (found?.[1] !== undefined) hooked.add(found[1]);
  }
  for (const livepatch of kernel.livepatches) {
    for (const object of livepatch.objects) {
      const entries = (await edges.files.names(`${LIVEPATCH_DIRECTORY}/${livepatch.name}/${object.name}`)) ?? [];
      for (const entry of entries) hooked.delete(entry.split(',', 1)[0] ?? '');
    }
  }
  const clash = manifest.objects.flatMap((it) => it.functions).find((it) => hooked.has(it.name));
  if (clash !== undefined) {
    throw new AgentError('conflict-ftrace', `${clash.name} is hooked already by a kprobe or another tracer`, {
      details: { function: clash.name },
      hint: 'see /sys/kernel/tracing/enabled_functions; stop that tracer, then check again',
    });
  }
}
