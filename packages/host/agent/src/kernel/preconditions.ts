import type { Livepatch } from '@kmend/protocol';
import { isRivalModule } from '@kmend/rules';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';
import { isOurs, type KernelView, LIVEPATCH_DIRECTORY } from './livepatch.ts';

/** Throws where this kernel cannot take any livepatch. */
export function assertLivepatchSupport(kernel: KernelView): void {
  if (kernel.supported) return;
  throw new AgentError('kernel-without-livepatch', `the running kernel has no ${LIVEPATCH_DIRECTORY}`, {
    hint: 'boot a kernel built with CONFIG_LIVEPATCH (every Debian amd64 kernel is)',
  });
}

/**
 * Why the kernel takes no module at all any more; `undefined` where it does. Once set it stays until the next boot
 * (kernel/module/main.c).
 */
export async function modulesDisabled(edges: Edges): Promise<AgentError | undefined> {
  const value = await edges.files.text('/proc/sys/kernel/modules_disabled');
  if (value?.trim() !== '1') return undefined;
  return new AgentError('modules-disabled', 'the kernel takes no module any more (kernel.modules_disabled = 1)', {
    hint: 'the next boot loads it, if the sysctl is set after kmend-agent-boot.service',
  });
}

export async function assertModulesEnabled(edges: Edges): Promise<void> {
  const disabled = await modulesDisabled(edges);
  if (disabled !== undefined) throw disabled;
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
  const rival = kernel.modules.find(isRivalModule);
  if (rival !== undefined) {
    throw new AgentError('conflict-module', `the module of another live patch system is loaded: ${rival}`, {
      details: { module: rival },
      hint: 'use one live patch system a host: remove the other one, then check again',
    });
  }
  const moving = kernel.livepatches.find((it) => it.transition);
  if (moving !== undefined) {
    throw new AgentError('conflict-transition', `${moving.name} is still in transition`, {
      hint: 'the kernel does one transition at a time; the agent retries at its next check',
    });
  }
}
