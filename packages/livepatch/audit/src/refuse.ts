import { moduleIdentity } from '@kmend/elf';
import type { Livepatch, VerdictReason } from '@kmend/protocol';
import { audit } from './audit.ts';
import type { Finding } from './finding.ts';
import type { FixedWorlds } from './fixed-worlds.ts';
import type { AuditedSource } from './source.ts';
import type { World } from './world.ts';

/** What a build hands over: the manifest, and the module as it is to lie beside it; none where the verdict lets none be made. */
export interface Finished {
  readonly manifest: Livepatch;
  readonly module?: Uint8Array;
}

/** Findings shown as reasons in livepatch.json; the first ones name the cause. */
const REASONS = 100;

/** Audits what a build made. A livepatch with findings is refused: without its module, with the findings as its reasons. */
export async function audited(
  world: () => Promise<World>,
  finished: Finished,
  source: AuditedSource,
  fixed?: FixedWorlds,
): Promise<Finished> {
  const { manifest, module } = finished;
  if (module === undefined) return finished;
  const { findings: found } = await audit(await world(), {
    module,
    manifest,
    source,
    fixed: await fixed?.of(manifest),
  });
  const findings = [...identityFindings(module, manifest), ...found];
  if (findings.length === 0) return finished;
  const { file: _file, signature: _signature, ...rest } = manifest;
  const reasons = [...manifest.reasons, ...findings.slice(0, REASONS).map(reasonOf)];
  return { manifest: { ...rest, verdict: 'refused', reasons, reviewAccepted: false } };
}

/** An id is a promise about the bytes: serials, hosts and packages know a livepatch by it. */
function identityFindings(module: Uint8Array, { id, module: name, file }: Livepatch): Finding[] {
  const is = moduleIdentity(module, name)?.id === id && file?.name === `${name}.ko`;
  return is
    ? []
    : [{ code: 'manifest-differs', message: `${id} and ${file?.name} are not named for the module’s content` }];
}

function reasonOf({ code, message, symbol }: Finding): VerdictReason {
  return {
    code: 'audit-failed',
    verdict: 'refused',
    message: `${code}: ${message.slice(0, 3900)}; report it (docs/audit.md)`,
    ...(symbol === undefined ? {} : { symbol: symbol.slice(0, 512) }),
  };
}
