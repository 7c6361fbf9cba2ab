import { shownLine, shownLines } from '@kmend/base';
import type { HostStack } from '@kmend/protocol';
import { mitigationText } from '../decide/diagnose.ts';
import type { StatusDocument } from '../decide/document.ts';
import { effectiveVersion } from '../decide/effective.ts';
import type { CommandResult } from '../service/orders.ts';
import type { JournalEvent } from '../state/journal.ts';
import type { Diagnosis } from './doctor.ts';

const reasons: Record<string, string> = {
  'not-covered': 'the repository has nothing for this kernel',
  'nothing-chosen': 'the signed policy asks for no livepatch here',
  'none-needed': 'the signed policy says that this kernel needs no livepatch yet',
  'up-to-date': 'what the signed policy asks for is loaded',
  'newer-loaded': 'a newer livepatch than the policy asks for is loaded, and not withdrawn',
  busy: 'another livepatch is being loaded or reverted',
  halted: 'the fleet is halted: nothing new is loaded',
  held: 'an administrator holds this host; kmend-agent resume lifts the hold',
  withdrawn: 'that livepatch was withdrawn',
  window: 'the maintenance window is closed; kmend-agent apply loads it now',
  deferred: 'the last transition did not end; the agent retries it later',
  'switched-off': 'the agent is switched off in this boot',
  'not-found': 'the repository has no such livepatch',
  quarantined: 'quarantined on this host; kmend-agent resume lifts it',
  'conflict-packages':
    'the packages drive this host: the agent loads nothing; kmend-agent consolidate replaces their stack',
};

export function reasonText(reason: string): string {
  return reasons[reason] ?? reason;
}

/** The status for people: what matters first, then one line an axis. */
export function statusText(document: StatusDocument): string {
  const { status, kernel, hold, problem } = document;
  const lines = [
    `kernel      ${kernel.release} (build id ${kernel.buildId})`,
    `livepatch   ${livepatchText(document)}`,
  ];
  for (const [name, axis] of Object.entries(status)) {
    const seen = axis.seen === null ? 'never looked at' : `seen ${axis.seen}`;
    lines.push(`${name.padEnd(11)} ${axis.state} (${seen})${axis.detail === undefined ? '' : `: ${axis.detail}`}`);
  }
  if (document.reason !== null) {
    const when = document.wakeAt === null ? '' : ` (looked at again ${document.wakeAt})`;
    lines.push(`policy      ${reasonText(document.reason)}${when}`);
  }
  const { pendingKernel: next } = document;
  if (next !== null)
    lines.push(
      `reboot      brings ${next.release}${next.serial === null ? '' : `, serial ${next.serial} is ready for it`}`,
    );
  if (document.stack !== null) lines.push(...stackLines(document.stack));
  if (document.switchedOff !== null) lines.push(`off         ${document.switchedOff}`);
  for (const it of document.blockers)
    lines.push(`blocked by  ${it.name} (pid ${it.pid}, task ${it.tid}): ${it.stack.slice(0, 6).join(' < ')}`);
  if (problem !== null)
    lines.push(`problem     ${problem.message} [${problem.code}]`, `            ${problem.hint ?? ''}`);
  if (document.refusal !== null) lines.push(`reports     rejected: ${document.refusal.message}`);
  if (hold !== null)
    lines.push(`held        since ${hold.at}${hold.until === null ? '' : ` until ${hold.until}`}: ${hold.reason}`);
  for (const it of document.quarantined) lines.push(`quarantined serial ${it.serial} [${it.code}]: ${it.reason}`);
  for (const flaw of document.hardware.flaws.filter(({ state }) => state !== 'not-affected'))
    lines.push(`hardware    ${flaw.name}: ${flaw.words}: ${mitigationText(flaw)}`);
  if (document.hardware.otherFixes.length > 0)
    lines.push(`hardware    other fixes in force: ${document.hardware.otherFixes.join(', ')}`);
  if (document.microcode !== null) lines.push(`microcode   ${document.microcode}`);
  lines.push(`host        ${document.hostId}, channel ${document.channel}, server ${document.server}`);
  return shownLines(lines);
}

/** Who drives this host, and what the packages have. */
function stackLines({
  strategy,
  depth,
  functionsCoveredSeveralTimes,
  livepatches,
  outcome,
  warning,
}: HostStack): string[] {
  const who = strategy === 'temporary' ? 'the packages drive this host' : 'the agent drives this host';
  const several =
    functionsCoveredSeveralTimes === 0 ? '' : `, ${functionsCoveredSeveralTimes} functions covered several times`;
  return [
    `driven by   ${strategy}: ${who}${depth === 0 ? '' : `; ${depth} livepatches of packages${several}`}`,
    ...livepatches.map(
      (it) =>
        `stack       ${it.module} ${it.inForce ? 'in force' : 'in transition'} (${it.package ?? 'no package'}): ${fixesText(it.fixes)}`,
    ),
    ...(outcome === null ? [] : [`packages    ${outcome.text} [${outcome.code}]`]),
    ...(warning === null ? [] : [`warning     ${warning}`]),
  ];
}

/** Fixes named of one livepatch. */
const SHOWN = 8;

function fixesText(fixes: readonly string[]): string {
  if (fixes.length === 0) return 'fixes unknown';
  return `${fixes.slice(0, SHOWN).join(', ')}${fixes.length > SHOWN ? ' …' : ''}`;
}

function livepatchText({ livepatches, effectiveSerial, chosenSerial, state, stack }: StatusDocument): string {
  if (stack?.strategy === 'temporary')
    return stack.depth === 0 ? 'none (the packages drive this host)' : `${stack.depth} of packages, see below`;
  const names = livepatches.map((it) => it.name).join(', ');
  const wanted = chosenSerial === null ? '' : `, the policy asks for serial ${chosenSerial}`;
  if (effectiveSerial !== null) return `serial ${effectiveSerial} in force (${names}, ${state})${wanted}`;
  return livepatches.length === 0
    ? `none (${state})${wanted}`
    : `${names}: not in force for every task (${state})${wanted}`;
}

export function commandText(result: CommandResult): string {
  const serial = result.serial === null ? '' : ` serial ${result.serial}`;
  switch (result.action) {
    case 'load':
      return `loaded${serial}: every task runs it (${result.state})`;
    case 'revert':
      return `reverted${serial}: now ${result.state}`;
    case 'consolidate':
      return `consolidated:${serial} replaced the stack (${result.state}); it is re-applied at boot after its soak`;
    case 'hand-over':
      return `the packages drive this host${result.serial === null ? '' : `,${serial} unloaded`}; kmend-agent consolidate undoes this`;
    case 'hold':
      return `held: ${result.serial === null ? 'nothing is loaded' : `serial ${result.serial} stays`}; kmend-agent resume lifts it`;
    case 'fetch':
      return `serial ${result.serial ?? '?'} is not in the repository`;
    case 'resume':
      return 'resumed: lifted hold, delay and quarantine';
    case 'none':
      return `nothing to do: ${reasonText(result.reason ?? 'up-to-date')}`;
  }
}

/** The system as uname(1) names it, with the version whose fixes are in force. */
export function unameText(document: StatusDocument): string {
  return `${document.kernel.release} ${effectiveVersion(document)}`;
}

export function historyText({ events }: { readonly events: readonly JournalEvent[] }): string {
  if (events.length === 0) return 'no events yet';
  return shownLines(
    events.map(
      ({ at, code, serial, message }) =>
        `${at}  ${serial === undefined ? '' : `serial ${serial}  `}${message} [${code}]`,
    ),
  );
}

export function diagnosisText({ findings }: Diagnosis): string {
  const signs = { good: 'ok', note: '--', bad: '!!' } as const;
  return findings
    .map(
      ({ level, code, text, advice }) =>
        `${signs[level]} ${shownLine(text)} [${code}]${advice === '' ? '' : `\n     ${shownLine(advice)}`}`,
    )
    .join('\n');
}

export const help = `Keep this host's running kernel patched.

Usage: kmend-agent COMMAND [--json]

  enrol --server URL --key-file FILE --root FILE
        [--repository URL] [--ca FILE] [--allow-plain-http] [--again] [--no-start]
                 Enrol this host with the activation key in FILE ("-": stdin), trust the repository root, start the service.
  status         Show what is in force, what was seen and when. The exit code is for monitoring.
  doctor         Say why this host is not protected, and what to do.
  check [--bundle FILE] [--report FILE]
                 Check now and wait for the outcome. --bundle: use a carried bundle instead of the network.
                 --report: write the report to a file instead of sending it.
  apply [--serial N]
                 Load what the policy wants now, ignoring maintenance windows and delays.
                 --serial: load that serial, and hold the host there.
  revert [--until-newer | --previous]
                 Revert the livepatch; load nothing until "resume", or until a newer serial (--until-newer).
                 --previous: go back to the livepatch before it, and hold the host there.
  consolidate [--undo]
                 Replace the stack of the packages by one livepatch, at once. --undo: let the packages drive again.
  hold [--until TIME] [--reason TEXT]
                 Keep what runs now until "resume", or until TIME (2026-12-24T18:00, 8h, 3d).
  resume         Lift what revert, hold and quarantine hold back.
  history        Show what happened on this host, newest last.
  uname          Show the kernel's release and the version whose fixes are in force.

For the units: fetcher-once, fetcher-enrol, loader, boot, shutdown.
Exit codes of status and doctor: 0 latest, 1 nothing in force, 2 newer available, 3 kernel not covered, 4 unknown.
Of every command: 0 done, 5 failed, 6 wrong usage, 130 interrupted.
`;
