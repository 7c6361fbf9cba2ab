import { shownLine, shownLines } from '@kmend/base';
import type { HostDetail, HostStack, HostSummary, HostTrouble } from '@kmend/protocol';

/** Reasons of the agent's decision (docs/agent.md), as the operator sees them: what holds the host back, and who can change it. */
const reasons: Readonly<Record<string, string>> = {
  'not-covered': 'the repository has nothing for this exact kernel: build and publish for its build id',
  'nothing-chosen': 'the policy asks for no livepatch on its channel: kmend policy kernel ... --settle',
  'newer-loaded': 'it runs a newer livepatch than the policy asks for; only a withdrawal reverts it',
  busy: 'another livepatch is being loaded or reverted',
  halted: 'the fleet is halted, nothing new is loaded: kmend policy fleet --resume',
  held: 'an administrator holds it; kmend-agent resume on the host lifts the hold',
  quarantined: 'the policy’s livepatch is quarantined on it; kmend-agent resume on the host retries it',
  withdrawn: 'the serial asked for on the host was withdrawn',
  window: 'its maintenance window is closed; kmend-agent apply on the host loads now',
  deferred: 'its last transition did not end; the agent retries later',
  'conflict-packages':
    'its packages drive it: the agent loads nothing; run kmend-agent consolidate on the host, or kmend policy fleet --consolidate on',
  'switched-off': 'the agent is switched off there: /etc/kmend-agent/off, or kmend=off on the kernel’s command line',
};

/** Tasks shown, and functions of each one's stack. */
const SHOWN_TASKS = 10;
const SHOWN_FRAMES = 8;
/** Fixes named of a livepatch of the packages. */
const SHOWN_FIXES = 8;

/** One host in full. What it says of itself is shown, not believed: each line stays one line. */
export function hostText(host: HostDetail): string {
  const axes = Object.entries(host.status).map(([name, axis]) => {
    const seen = axis.seen === null ? 'never looked at' : `seen ${axis.seen}`;
    const detail = axis.detail === undefined ? '' : `: ${axis.detail}`;
    return `  ${name.padEnd(11)} ${axis.state.padEnd(14)} ${seen}${detail}`;
  });
  return shownLines([
    `id        ${host.id}`,
    `host      ${host.hostname}`,
    `kernel    ${host.release} (build id ${host.buildId})`,
    `channel   ${host.channel}`,
    `serial    ${serialText(host.effectiveSerial)}`,
    `enrolled  ${host.enrolled}`,
    `reported  ${host.lastReport ?? 'never'}`,
    ...presenceLines(host),
    'status',
    ...axes,
    ...stackLines(host.stack),
    ...obstacles(host),
    'loaded',
    ...host.livepatches.map(
      (entry) =>
        `  ${entry.name} (serial ${serialText(entry.serial)}) ${entry.transition ? 'in transition' : entry.enabled ? 'enabled' : 'disabled'}`,
    ),
    'events',
    ...host.events.slice(-20).map((event) => `  ${event.at} ${event.code}: ${event.message}`),
  ]);
}

export function serialText(value: number | null): string {
  return value === null ? 'none' : String(value);
}

/** What packages do there. */
function stackLines(stack: HostStack | null): string[] {
  if (stack === null) return [];
  const { strategy, depth, functionsCoveredSeveralTimes: several, outcome, warning, livepatches } = stack;
  const who = strategy === 'temporary' ? 'its packages drive it' : 'its agent drives it, the packages yield';
  return [
    'packages',
    `  strategy    ${strategy}: ${who}`,
    `  depth       ${depth}${several === 0 ? '' : `, ${several} functions covered several times`}`,
    ...(outcome === null ? [] : [`  last run    ${outcome.text} [${outcome.code}]`]),
    ...(warning === null ? [] : [`  WARNING     ${warning}`]),
    ...livepatches.map((it) => {
      const fixes = it.fixes.length === 0 ? 'fixes unknown' : it.fixes.slice(0, SHOWN_FIXES).join(', ');
      const more = it.fixes.length > SHOWN_FIXES ? ', ...' : '';
      return `  ${it.inForce ? 'in force   ' : 'moving     '} ${it.module} (${it.package ?? 'no package'}): ${fixes}${more}`;
    }),
  ];
}

/** Why it has no livepatch yet, or not the one that it should have. */
function obstacles({ effectiveSerial, lastReport, trouble, stack, noneNeeded }: HostDetail): string[] {
  if (noneNeeded === true)
    return [
      'no livepatch needed',
      '  the policy says that this kernel has every fix: kmend policy kernel ... --settle',
    ];
  const without = effectiveSerial === null && !(stack?.strategy === 'temporary' && stack.depth > 0);
  const lines = trouble === null ? [] : troubleLines(trouble);
  if (lines.length > 0) return [without ? 'no livepatch in force, because' : 'obstacles', ...lines];
  if (!without) return [];
  const why =
    lastReport === null
      ? 'it has never reported: check that kmend-agent runs there and reaches the server'
      : trouble === null
        ? 'its agent did not report why: run kmend-agent doctor on the host'
        : 'it reports no obstacle: its next check may load one; see the status above';
  return ['no livepatch in force', `  ${why}`];
}

function troubleLines({ reason, problem, hold, quarantined, blockers }: HostTrouble): string[] {
  const lines: string[] = [];
  const say = (name: string, text: string): unknown => lines.push(`  ${name.padEnd(11)} ${text}`);
  if (reason !== null && reason !== 'up-to-date') {
    const words = Object.hasOwn(reasons, reason) ? `${reasons[reason]} ` : '';
    say('reason', `${words}[${reason}]`);
  }
  if (problem !== null) {
    say('problem', `${problem.message} [${problem.code}]`);
    if (problem.hint !== undefined) say('', problem.hint);
  }
  if (hold !== null) say('held', hold);
  for (const it of quarantined) say('quarantined', `serial ${it.serial}: ${it.reason} [${it.code}]`);
  for (const { name, pid, tid, stack } of blockers.slice(0, SHOWN_TASKS)) {
    say('task', `${name} (pid ${pid}${tid === pid ? '' : `, thread ${tid}`}) has not moved to the new code`);
    const more = stack.length > SHOWN_FRAMES ? ' < ...' : '';
    if (stack.length > 0) say('', `in ${stack.slice(0, SHOWN_FRAMES).join(' < ')}${more}`);
  }
  if (blockers.length > SHOWN_TASKS) say('', `and ${blockers.length - SHOWN_TASKS} more tasks (--json shows all)`);
  return lines;
}

/** What the status cannot say: whether it still holds, whose it is, and what a reboot changes. */
function presenceLines({ presence, otherMachines = [], pendingKernel, refused }: HostDetail): string[] {
  const lines: string[] = [];
  if (presence === 'silent') lines.push('SILENT    it does not report any more: what follows is its last report');
  if (presence === 'replaced')
    lines.push('REPLACED  its machine enrolled again and is another host now: kmend host remove');
  if (typeof refused === 'string') {
    lines.push(`REFUSED   a report at ${refused}: its number was far above the one before; its token may be stolen;`);
    lines.push('          kmend host reset restarts the count, kmend host remove invalidates the token');
  }
  if (otherMachines.length > 0) {
    lines.push('SHARED    several machines report with this identity: enrol each of them, kmend-agent enrol --again');
    for (const it of otherMachines) {
      const machine = it.machineId === null ? 'no machine-id' : `machine ${it.machineId.slice(0, 12)}`;
      lines.push(
        `          ${it.hostname}, ${machine}, boot ${it.bootId}, serial ${serialText(it.effectiveSerial)}, reported ${it.lastReport}`,
      );
    }
  }
  if (pendingKernel !== undefined && pendingKernel !== null) {
    const ready = pendingKernel.serial === null ? 'no livepatch' : `livepatch serial ${pendingKernel.serial}`;
    lines.push(`reboot    brings kernel ${pendingKernel.release}; ${ready} is ready for it`);
  }
  return lines;
}

/** Rows of `kmend host list`: the host, and every other machine that reports as it. */
export function hostRows(host: HostSummary): string[][] {
  const others = (host.otherMachines ?? []).map((it) => [
    host.id,
    shownLine(it.hostname),
    it.release,
    host.channel,
    serialText(it.effectiveSerial),
    'shared',
    it.lastReport,
    'reports with the same identity',
  ]);
  return [hostRow(host), ...others];
}

/** Columns of `kmend host list`. */
export const HOST_COLUMNS = ['ID', 'HOST', 'KERNEL', 'CHANNEL', 'SERIAL', 'COVERAGE', 'LAST REPORT', 'NOTES'] as const;

/** Cells of one host. What a silent host said last is not shown as if it were so. */
export function hostRow(host: HostSummary): string[] {
  return [
    host.id,
    shownLine(host.hostname),
    host.release,
    host.channel,
    serialText(host.effectiveSerial),
    coverageOf(host),
    host.lastReport ?? 'never',
    notesOf(host),
  ];
}

function coverageOf({ presence, noneNeeded, status }: HostSummary): string {
  if (presence === 'silent' || presence === 'replaced') return presence;
  return noneNeeded === true ? 'not needed' : status.coverage.state;
}

function notesOf({ otherMachines = [], pendingKernel }: HostSummary): string {
  const notes: string[] = [];
  if (otherMachines.length > 0) notes.push(`${otherMachines.length + 1} machines share this identity`);
  if (pendingKernel !== undefined && pendingKernel !== null) notes.push(`reboot brings ${pendingKernel.release}`);
  return notes.join('; ');
}
