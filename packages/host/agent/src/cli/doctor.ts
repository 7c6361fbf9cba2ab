import { errorCode, errorText, KmendError } from '@kmend/base';
import { loadConfig } from '../config/load.ts';
import { type Finding, findingsOf } from '../decide/diagnose.ts';
import { readStatus } from '../decide/document.ts';
import { readManifest } from '../decide/manifest.ts';
import type { Edges } from '../edges/edges.ts';
import { type ExitCode, exitCodes } from '../error.ts';
import { preflight } from '../kernel/preflight.ts';
import { findRivals } from '../kernel/rivals.ts';
import { readTaint } from '../kernel/taint.ts';

export interface Diagnosis {
  readonly findings: readonly Finding[];
  readonly exitCode: ExitCode;
}

/**
 * Why this host is, or is not, protected. Besides the status it tries now what a load would ask of the kernel, so that
 * the answer does not wait for the next check. A host that is not enrolled or configured wrongly is a finding too.
 */
export async function diagnose(edges: Edges): Promise<Diagnosis> {
  try {
    const document = await readStatus(edges);
    const { chosenSerial, effectiveSerial, kernel } = document;
    const wanted = chosenSerial === effectiveSerial ? null : chosenSerial;
    const manifest = wanted === null ? undefined : await readManifest(edges, kernel.buildId, wanted);
    const findings = [
      ...findingsOf(document),
      ...(await obstacles(edges, manifest === undefined ? undefined : { manifest, buildId: kernel.buildId })),
      ...(await units(edges)),
    ];
    const known = new Set<string>();
    // What the last load met and what is met now is said once.
    const once = findings.filter(({ code, level }) => level !== 'bad' || (!known.has(code) && known.add(code)));
    return { findings: once, exitCode: document.exitCode };
  } catch (error) {
    if (!(error instanceof KmendError)) throw error;
    return { findings: [findingOf(error)], exitCode: exitCodes.failed };
  }
}

function findingOf(error: unknown): Finding {
  const advice = error instanceof KmendError ? (error.hint ?? '') : '';
  return { level: 'bad', code: errorCode(error) ?? 'internal', text: errorText(error), advice };
}

async function obstacles(edges: Edges, candidate: Parameters<typeof preflight>[1]): Promise<Finding[]> {
  const { acceptTaint } = await loadConfig(edges);
  const problems = await preflight(edges, candidate, acceptTaint);
  const { flags } = await readTaint(edges);
  const notes = flags.filter(({ weight }) => weight === 'warns').map(({ meaning, letter }) => `${meaning} (${letter})`);
  const rivals = (await findRivals(edges)).filter(({ active }) => !active);
  return [
    ...problems.map(findingOf),
    ...rivals.map(
      ({ system, evidence }) =>
        ({
          level: 'note',
          code: 'conflict-agent',
          text: `${system} is installed, inactive: ${evidence}`,
          advice: 'leave it inactive',
        }) as const,
    ),
    ...notes.map(
      (text) => ({ level: 'note', code: 'kernel-tainted', text, advice: 'nothing is held back by it' }) as const,
    ),
  ];
}

const UNITS = ['kmend-agent.service', 'kmend-loader.socket', 'kmend-loader-consider.socket'];

async function units(edges: Edges): Promise<Finding[]> {
  if (!(await edges.files.isDirectory('/run/systemd/system'))) return [];
  const findings: Finding[] = [];
  for (const unit of UNITS) {
    const { exitCode, stdout } = await edges.run('/bin/systemctl', ['is-active', unit], { timeoutMs: 10_000 });
    if (exitCode === 0) continue;
    const state = stdout.toString('utf8').trim();
    findings.push({
      level: 'bad',
      code: 'unit-inactive',
      text: `${unit} is ${state === '' ? 'not running' : state}`,
      advice: `systemctl enable --now ${unit}; journalctl -u ${unit} says why it stopped`,
    });
  }
  return findings;
}
