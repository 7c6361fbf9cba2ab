import { sha256 } from '@kmend/base/node';
import { KernelPolicy, kernelPolicyPath, kernelRole, manifestPath, modulePath, POLICY_ROLE } from '@kmend/protocol';
import { type Forge, putTarget, signOnline, signRole } from '@kmend/trust/testing';
import type { Attack, Stage, Victim } from './stage.ts';
import { noise } from './transport.ts';

/** Attacks that want a host to load what its owner never meant for it. */

const OTHER_KERNEL = 'f0'.repeat(20);

/** The two files of a livepatch, as a targets role lists them, under any kernel and serial. */
async function listed(
  forge: Forge,
  { buildId, serial }: Pick<Victim, 'buildId' | 'serial'>,
  { module, manifest, description }: Pick<Victim, 'module' | 'manifest' | 'description'>,
): Promise<Record<string, unknown>> {
  const custom = { ...description, serial };
  return {
    [modulePath(buildId, serial)]: await putTarget(forge, modulePath(buildId, serial), module, custom),
    [manifestPath(buildId, serial)]: await putTarget(forge, manifestPath(buildId, serial), manifest),
  };
}

/** The victim's own livepatch, said to be for another kernel. */
function forAnotherKernel(victim: Victim): Victim {
  const manifest = JSON.parse(victim.manifest.toString());
  manifest.kernel.buildId = OTHER_KERNEL;
  return { ...victim, manifest: Buffer.from(JSON.stringify(manifest)) };
}

/** The thief's own module, with a manifest that fits. */
function ofTheThief(victim: Victim, seed: number): Victim {
  const module = noise(seed, 'thief', victim.module.length);
  const manifest = JSON.parse(victim.manifest.toString());
  manifest.file.sha256 = sha256(module);
  return { ...victim, serial: victim.serial + 1, module, manifest: Buffer.from(JSON.stringify(manifest)) };
}

/** What the policy role has to say so that every host of the victim's kernel wants this serial. */
async function wanting(stage: Stage, forge: Forge, { buildId, serial }: Victim): Promise<Record<string, unknown>> {
  const policy: KernelPolicy = {
    schema: 'kmend.kernel-policy/1',
    buildId,
    channels: {
      canary: { settled: serial, rollout: null },
      early: { settled: serial, rollout: null },
      stable: { settled: serial, rollout: null },
    },
    withdrawn: [],
    issued: stage.now().toISOString(),
  };
  const path = kernelPolicyPath(buildId);
  return { [path]: await putTarget(forge, path, Buffer.from(JSON.stringify(KernelPolicy.parse(policy)))) };
}

/** Of the version that hosts know already: with a higher one, the true role would look like a rollback forever. */
async function wrongKernel(stage: Stage): Promise<Attack> {
  const forge = await stage.forge();
  const victim = await stage.victim();
  const files = await listed(forge, victim, forAnotherKernel(victim));
  const meta = await signRole(forge, kernelRole(victim.buildId), await stage.release(), (signed) => {
    signed.version--;
    Object.assign(signed.targets, files);
  });
  await signOnline(forge, await stage.online(), { meta });
  await stage.advance(2);
  return {};
}

async function wrongRole(stage: Stage): Promise<Attack> {
  const forge = await stage.forge();
  const victim = await stage.victim();
  const files = await listed(forge, { ...victim, buildId: OTHER_KERNEL }, forAnotherKernel(victim));
  const meta = await signRole(forge, kernelRole(victim.buildId), await stage.release(), (signed) => {
    signed.version--;
    signed.targets = files;
  });
  await signOnline(forge, await stage.online(), { meta });
  await stage.advance(2);
  return {};
}

async function keyCompromise(stage: Stage): Promise<Attack> {
  const forge = await stage.forge();
  const keys = await stage.online();
  const theirs = ofTheThief(await stage.victim(), stage.settings.seed);
  const files = await listed(forge, theirs, theirs);
  const wanted = await wanting(stage, forge, theirs);
  const kernel = await signRole(forge, kernelRole(theirs.buildId), keys.policy, (signed) => {
    Object.assign(signed.targets, files);
  });
  const policy = await signRole(forge, POLICY_ROLE, keys.policy, (signed) => {
    // What a role says below the paths of another role does not count.
    Object.assign(signed.targets, wanted, files);
  });
  await signOnline(forge, keys, { meta: { ...kernel, ...policy } });
  return {};
}

async function unpublishedSerial(stage: Stage): Promise<Attack> {
  const forge = await stage.forge();
  const keys = await stage.online();
  const victim = await stage.victim();
  const wanted = await wanting(stage, forge, { ...victim, serial: victim.serial + 1 });
  const meta = await signRole(forge, POLICY_ROLE, keys.policy, (signed) => {
    Object.assign(signed.targets, wanted);
  });
  await signOnline(forge, keys, { meta });
  return {};
}

async function releaseKey(stage: Stage): Promise<Attack> {
  const forge = await stage.forge();
  const theirs = ofTheThief(await stage.victim(), stage.settings.seed);
  const files = await listed(forge, theirs, theirs);
  await signRole(forge, kernelRole(theirs.buildId), await stage.release(), (signed) => {
    Object.assign(signed.targets, files);
  });
  return {};
}

async function extraneousDependencies(stage: Stage): Promise<Attack> {
  const forge = await stage.forge();
  const keys = await stage.online();
  const { buildId } = await stage.victim();
  const bytes = Buffer.from('extraneous');
  const extra: Record<string, unknown> = {};
  for (const path of ['policy/extraneous.json', `kernels/${buildId}/1/extraneous.ko`]) {
    extra[path] = await putTarget(forge, path, bytes);
  }
  const policy = await signRole(forge, POLICY_ROLE, keys.policy, (signed) => {
    Object.assign(signed.targets, extra);
  });
  const more = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`extraneous-${n}.json`, { version: 1 }]));
  await signOnline(forge, keys, { meta: { ...policy, ...more } });
  return {};
}

export const LIVEPATCH = {
  'wrong-kernel': wrongKernel,
  'wrong-role': wrongRole,
  'key-compromise': keyCompromise,
  'unpublished-serial': unpublishedSerial,
  'release-key': releaseKey,
  'extraneous-dependencies': extraneousDependencies,
} as const satisfies Record<string, (stage: Stage) => Promise<Attack>>;
