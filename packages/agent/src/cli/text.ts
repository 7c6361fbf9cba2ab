import type { StatusDocument } from '../agent/status.ts';
import type { CommandResult } from '../service/orders.ts';

const reasons: Record<string, string> = {
  'not-covered': 'the repository has nothing for this kernel',
  'nothing-chosen': 'the signed policy asks for no livepatch here',
  'up-to-date': 'what the signed policy asks for is loaded',
  'newer-loaded': 'something newer than what the policy asks for is loaded, and not withdrawn',
  busy: 'another livepatch is on its way in or out',
  halted: 'the fleet is halted: nothing new is loaded',
  held: 'held back by kmend-agent revert; kmend-agent resume lifts it',
  quarantined: 'quarantined on this host; kmend-agent resume lifts it',
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
  if (document.reason !== null) lines.push(`policy      ${reasonText(document.reason)}`);
  if (problem !== null)
    lines.push(`problem     ${problem.message} [${problem.code}]`, `            ${problem.hint ?? ''}`);
  if (hold !== null) lines.push(`held        since ${hold.at}; kmend-agent resume lifts it`);
  for (const it of document.quarantined) lines.push(`quarantined serial ${it.serial} [${it.code}]: ${it.reason}`);
  lines.push(`host        ${document.hostId}, channel ${document.channel}, server ${document.server}`);
  return lines.join('\n');
}

function livepatchText({ livepatches, effectiveSerial, chosenSerial, state }: StatusDocument): string {
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
    case 'resume':
      return 'resumed: nothing is held back or quarantined';
    case 'none':
      return `nothing to do: ${reasonText(result.reason ?? 'up-to-date')}`;
  }
}

export const help = `kmend-agent keeps this host's running kernel patched.

Usage: kmend-agent COMMAND [--json]

  enrol --server URL --key-file FILE --root FILE
        [--repository URL] [--ca FILE] [--allow-plain-http] [--again] [--no-start]
                 buys a seat with the activation key in FILE ("-": stdin), trusts the repository root, starts the service
  status         what is in force, what was seen and when; the exit code is for monitoring
  check          checks now and waits for the outcome
  revert [--until-newer]
                 takes the livepatch out of the kernel; nothing is loaded until "resume", or until a newer serial
  resume         lifts what revert and quarantine hold back
  run            the service (kmend-agent.service)
  boot           re-applies the last good livepatch (kmend-agent-boot.service)
  shutdown       notes that the host goes down in good order (kmend-agent-shutdown.service)

Exit codes of status: 0 latest, 1 nothing in force, 2 newer available, 3 kernel not covered, 4 unknown.
Of every command: 0 done, 5 failed, 6 wrong usage, 130 interrupted.
`;
