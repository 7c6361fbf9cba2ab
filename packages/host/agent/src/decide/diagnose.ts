import type { PendingKernel } from '@kmend/protocol';
import { exitCodes } from '../error.ts';
import type { FlawSummary } from '../kernel/flaws.ts';
import type { Problem } from '../observed/observed.ts';
import type { StatusDocument } from './document.ts';

/** One thing that is so on this host, in plain words, and what a person does about it. */
export interface Finding {
  readonly level: 'good' | 'note' | 'bad';
  /** Stable; the same as in status, reports and docs/agent.md where there is one. */
  readonly code: string;
  readonly text: string;
  /** Empty where nothing has to be done. */
  readonly advice: string;
}

const reasons: Readonly<Record<string, readonly [string, string]>> = {
  'not-covered': [
    'the repository has nothing for this exact kernel',
    'ask the operator to publish for this kernel (kmend-agent status shows its build id), or boot a covered kernel',
  ],
  'nothing-chosen': [
    'the signed policy asks for no livepatch on this channel',
    'nothing to do here: the operator has not settled one yet, or withdrew it',
  ],
  'none-needed': ['the operator says that this kernel needs no livepatch yet', 'nothing to do here'],
  busy: ['another livepatch is being loaded or reverted', 'wait; kmend-agent status shows the progress'],
  halted: ['the operator halted the fleet: nothing new is loaded anywhere', 'nothing to do here; ask the operator'],
  held: ['an administrator holds this host', 'kmend-agent resume lifts the hold'],
  quarantined: [
    'the livepatch that the policy asks for is quarantined on this host',
    'read the reason below; kmend-agent resume retries it',
  ],
  withdrawn: ['that livepatch was withdrawn by the operator', 'choose another serial'],
  window: ['the maintenance window is closed', 'wait for it, or kmend-agent apply loads it now'],
  deferred: [
    'the last transition did not end; the agent retries it later',
    'end or restart the tasks that blocked it (kmend-agent history names them), then run kmend-agent apply',
  ],
  'conflict-packages': [
    'the packages drive this host: the agent loads nothing',
    'nothing to do; kmend-agent consolidate replaces their stack by one livepatch of the agent',
  ],
  'switched-off': ['the agent is switched off in this boot', 'remove /etc/kmend-agent/off, or boot without kmend=off'],
};

/** Why this host is, or is not, protected; what is worst first. Pure. */
export function findingsOf(document: StatusDocument): Finding[] {
  const bad: Finding[] = [];
  const notes: Finding[] = [];
  const { status, problem, hold, quarantined, blockers } = document;
  if (document.switchedOff !== null)
    bad.push({
      level: 'bad',
      code: 'switched-off',
      text: `nothing is loaded in this boot: ${document.switchedOff}`,
      advice: reasons['switched-off']?.[1] ?? '',
    });
  if (problem !== null) bad.push(findingOf(problem));
  contactFindings(document, bad, notes);
  if (document.refusal !== null)
    bad.push({
      level: 'bad',
      code: 'server-refused',
      text: `the server rejects reports since ${document.refusal.at}: ${document.refusal.message}`,
      advice: 'if the server does not know this host, run kmend-agent enrol --again …; what is loaded stays in force',
    });
  stackFindings(document, bad, notes);
  if (status.transition.state === 'in-transition') {
    const names = blockers.map((it) => `${it.name} (pid ${it.pid})`).join(', ');
    bad.push({
      level: 'bad',
      code: 'in-transition',
      text: `a transition is under way: not every task runs the new code yet${names === '' ? '' : `; blocked by: ${names}`}`,
      advice:
        names === '' ? 'wait' : 'wait, or restart those tasks; after its limit the agent reverts it and retries later',
    });
  }
  const { reason } = document;
  if (reason !== null && reason !== 'up-to-date' && reason !== 'switched-off') {
    const [text, advice] = reasons[reason] ?? [reason, 'docs/agent.md explains it'];
    const protects =
      reason === 'conflict-packages' ||
      reason === 'none-needed' ||
      reason === 'newer-loaded' ||
      (reason === 'held' && document.effectiveSerial !== null);
    (protects ? notes : bad).push({ level: protects ? 'note' : 'bad', code: reason, text, advice });
  }
  if (hold !== null)
    notes.push({
      level: 'note',
      code: 'held',
      text: `held since ${hold.at}${hold.until === null ? '' : ` until ${hold.until}`}: ${hold.reason}`,
      advice: 'kmend-agent resume lifts it',
    });
  for (const it of quarantined)
    notes.push({
      level: 'note',
      code: it.code,
      text: `serial ${it.serial} is quarantined since ${it.at}: ${it.reason}`,
      advice: 'a newer serial is still loaded; kmend-agent resume retries this one',
    });
  if (document.pendingKernel !== null) notes.push(pendingFinding(document.pendingKernel));
  for (const flaw of document.hardware.flaws) {
    if (flaw.state !== 'vulnerable') continue;
    const text = `${flaw.name}: the kernel says "${flaw.words}"`;
    notes.push({ level: 'note', code: 'hardware-flaw', text, advice: mitigationText(flaw) });
  }
  return [headline(document), ...bad, ...notes];
}

function findingOf({ code, message, hint }: Problem): Finding {
  return { level: 'bad', code, text: message, advice: hint ?? 'docs/agent.md explains the code' };
}

function stackFindings({ stack, stackProblem, reason }: StatusDocument, bad: Finding[], notes: Finding[]): void {
  if (stackProblem !== null) bad.push(findingOf(stackProblem));
  if (stack === null) return;
  if (stack.strategy === 'temporary' && reason !== 'conflict-packages') {
    const [text, advice] = reasons['conflict-packages'] ?? ['', ''];
    notes.push({ level: 'note', code: 'conflict-packages', text, advice });
  }
  if (stack.warning !== null)
    notes.push({ level: 'note', code: 'stack-deep', text: stack.warning, advice: 'kmend-agent consolidate' });
  if (stack.strategy === 'temporary' && stack.exitCode !== 0 && stack.outcome !== null)
    bad.push({
      level: 'bad',
      code: stack.outcome.code,
      text: `the packages: ${stack.outcome.text}`,
      advice: 'kmend-livepatch status says why, and what to do',
    });
}

function contactFindings({ status, metadataExpires }: StatusDocument, bad: Finding[], notes: Finding[]): void {
  const { contact } = status;
  if (contact.state === 'ok') return;
  const expiry = metadataExpires === null ? '' : `; the cached metadata is signed until ${metadataExpires}`;
  const text = `${contact.detail ?? 'no check yet in this boot'}${expiry}`;
  if (contact.state === 'untrusted')
    bad.push({
      level: 'bad',
      code: 'untrusted',
      text,
      advice:
        'nothing of it was used; tell the operator of the repository: a mirror is broken, or its data was tampered with',
    });
  else if (contact.state === 'unreachable')
    bad.push({
      level: 'bad',
      code: 'unreachable',
      text,
      advice: 'check network, proxy, address and certificate; what is loaded stays in force',
    });
  else
    notes.push({
      level: 'note',
      code: 'contact-unknown',
      text,
      advice: 'see systemctl status kmend-agent; kmend-agent check asks now',
    });
}

/** What stands between a hardware flaw and this host, or what would. */
export function mitigationText({ mitigation, fixes }: FlawSummary): string {
  switch (mitigation) {
    case 'not-needed':
      return 'this processor does not have it';
    case 'kernel':
      return 'mitigated by the running kernel';
    case 'kernel-and-livepatch':
      return `mitigated by the running kernel; the livepatch adds ${fixes.join(', ')}`;
    case 'livepatch':
      return `the livepatch in force adds ${fixes.join(', ')}; the kernel's words are from boot`;
    case 'microcode':
      return 'needs newer microcode';
    case 'hypervisor':
      return 'depends on the hypervisor under this host';
    case 'reboot':
      return 'only a reboot changes it: a newer kernel, or another boot option';
  }
}

/** A kernel that apt brought, and that only a reboot starts. */
function pendingFinding({ release, serial }: PendingKernel): Finding {
  const ready = serial === null ? 'no livepatch is ready for it' : `serial ${serial} is ready for it`;
  const text = `a reboot brings another kernel, ${release}; ${ready}`;
  return { level: 'note', code: 'kernel-pending', text, advice: 'nothing to do: the running kernel stays patched' };
}

function headline({
  status,
  effectiveSerial,
  chosenSerial,
  fixes,
  effectiveVersion,
  stack,
  exitCode,
}: StatusDocument): Finding {
  if (stack?.strategy === 'temporary' && stack.depth > 0) {
    const what = `${stack.depth} livepatches of packages are in force`;
    if (stack.exitCode === 0)
      return {
        level: 'good',
        code: 'protected',
        text: `this host is protected: ${what}, all that are installed`,
        advice: '',
      };
    return { level: 'bad', code: 'behind', text: `${what}, but not all that are installed`, advice: 'see below' };
  }
  if (effectiveSerial === null && exitCode === exitCodes.latest) {
    const text = 'this host is protected: the signed policy says that its kernel needs no livepatch yet';
    return { level: 'good', code: 'protected', text, advice: '' };
  }
  if (effectiveSerial === null) {
    const text = 'this host is NOT protected: no livepatch is in force for every task';
    return { level: 'bad', code: 'nothing-in-force', text, advice: 'see below' };
  }
  const what = `serial ${effectiveSerial} (${fixes.length} fixes${effectiveVersion === null ? '' : `, as good as ${effectiveVersion}`})`;
  if (status.coverage.state === 'current')
    return {
      level: 'good',
      code: 'protected',
      text: `this host is protected: ${what} is in force, and the policy asks for nothing newer`,
      advice: '',
    };
  if (status.coverage.state === 'behind') {
    const text = `${what} is in force, but the policy asks for serial ${chosenSerial ?? 'another'}`;
    return { level: 'bad', code: 'behind', text, advice: 'see below' };
  }
  const text = `${what} is in force; whether there is a newer one is unknown`;
  return { level: 'note', code: 'coverage-unknown', text, advice: 'see below' };
}
