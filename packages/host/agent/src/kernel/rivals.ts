import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';

/**
 * Another live patch system on this host. Its modules, where they are loaded, are found by their names
 * (preconditions.ts).
 */
export interface Rival {
  readonly system: string;
  /**
   * It would load a livepatch on its own: the load is refused. Otherwise it is only installed: `doctor` says so.
   */
  readonly active: boolean;
  /** What was found. */
  readonly evidence: string;
  /** How its owner stops it. */
  readonly remedy: string;
}

/** What of the host the rules below look at. */
interface Host {
  /** Units that systemd says are active now. */
  readonly units: ReadonlySet<string>;
  /** Units enabled for the next boot. */
  readonly enabled: ReadonlySet<string>;
  readonly release: string;
  text(path: string): Promise<string | undefined>;
  names(path: string): Promise<readonly string[]>;
}

type Detector = (host: Host) => Promise<Rival | undefined>;

/**
 * systemd links an invocation id there for each active unit, and takes it away when the unit stops (src/core/unit.c).
 */
const UNITS = '/run/systemd/units';
const WANTS = '/etc/systemd/system/multi-user.target.wants';

const detectors: readonly Detector[] = [kernelCare, canonicalLivepatch, ksplice, kpatch, suse];

/** Every other live patch system that is installed; the active ones first. */
export async function findRivals(edges: Edges): Promise<readonly Rival[]> {
  const { files, machine } = edges;
  const names = async (path: string): Promise<readonly string[]> => (await files.names(path)) ?? [];
  const active = (await names(UNITS)).filter((it) => it.startsWith('invocation:'));
  const host: Host = {
    units: new Set(active.map((it) => it.slice('invocation:'.length))),
    enabled: new Set(await names(WANTS)),
    release: machine.release(),
    text: (path) => files.text(path),
    names,
  };
  const found = await Promise.all(detectors.map((detect) => detect(host)));
  return found.filter((it) => it !== undefined).sort((a, b) => Number(b.active) - Number(a.active));
}

/** Throws `conflict-agent` where another live patch system would load something by itself. */
export async function assertNoRival(edges: Edges): Promise<void> {
  const [rival] = await findRivals(edges);
  if (rival === undefined || !rival.active) return;
  throw new AgentError('conflict-agent', `${rival.system} is active on this host: ${rival.evidence}`, {
    details: { system: rival.system, evidence: rival.evidence },
    hint: `use one live patch system a host: ${rival.remedy}; then check again`,
  });
}

/**
 * TuxCare: a cron entry runs `kcarectl --auto-update` every four hours unless the configuration says AUTO_UPDATE=NO;
 * the service loads what is cached at boot whatever it says (docs.tuxcare.com, "Config options").
 */
async function kernelCare({ units, enabled, text }: Host): Promise<Rival | undefined> {
  const config = await text('/etc/sysconfig/kcare/kcare.conf');
  const cron = await text('/etc/cron.d/kcare-cron');
  const service = units.has('kcare.service') || enabled.has('kcare.service');
  if (config === undefined && cron === undefined && !service) return undefined;
  const automatic = !/^\s*AUTO_UPDATE\s*=\s*["']?(no|false|0)["']?\s*$/im.test(config ?? '');
  const byCron = cron !== undefined && /^[^#\n]*kcarectl/m.test(cron) && automatic;
  return {
    system: 'KernelCare (TuxCare)',
    active: byCron || service,
    evidence: byCron
      ? '/etc/cron.d/kcare-cron updates by itself'
      : service
        ? 'kcare.service loads its patches at boot'
        : 'it is installed, and set not to update by itself',
    remedy: 'kcarectl --unload, then remove the package kernelcare',
  };
}

/** Canonical: the daemon does nothing before `canonical-livepatch enable` has left a token. */
async function canonicalLivepatch({ units, text, names }: Host): Promise<Rival | undefined> {
  const directory = '/var/snap/canonical-livepatch/common';
  const running = units.has('snap.canonical-livepatch.canonical-livepatchd.service');
  if (!running && (await names(directory)).length === 0) return undefined;
  const enabled = (await text(`${directory}/machine-token`)) !== undefined;
  return {
    system: 'Canonical Livepatch',
    active: running && enabled,
    evidence: `canonical-livepatchd is ${running ? 'running' : 'not running'} and ${enabled ? 'enabled' : 'not enabled'}`,
    remedy: 'canonical-livepatch disable, then snap remove canonical-livepatch',
  };
}

/**
 * Oracle: an access key, and one of the settings that install without being asked (Ksplice User's Guide, "Client
 * Configuration Options").
 */
async function ksplice({ text }: Host): Promise<Rival | undefined> {
  const config = await text('/etc/uptrack/uptrack.conf');
  if (config === undefined) return undefined;
  const isOn = (key: string): boolean => new RegExp(`^\\s*${key}\\s*[=:]\\s*(yes|true|on|1)\\s*$`, 'im').test(config);
  const hasKey = /^\s*accesskey\s*[=:]\s*[0-9a-f]{16,}\s*$/im.test(config);
  const cron = await text('/etc/cron.d/uptrack');
  const byCron = isOn('autoinstall') && cron !== undefined && /^[^#\n]*uptrack/m.test(cron);
  const atBoot = isOn('upgrade_on_reboot') && (await text('/etc/uptrack/disable')) === undefined;
  return {
    system: 'Ksplice Uptrack',
    active: hasKey && (byCron || atBoot),
    evidence: !hasKey
      ? 'it is installed without an access key'
      : byCron
        ? 'autoinstall = yes in /etc/uptrack/uptrack.conf'
        : atBoot
          ? 'upgrade_on_reboot = yes in /etc/uptrack/uptrack.conf'
          : 'it is installed, and set not to install by itself',
    remedy: 'uptrack-remove --all, then remove the package uptrack',
  };
}

/**
 * kpatch.service runs `kpatch load --all` at boot: what is installed for this release (contrib/kpatch.service of
 * kpatch).
 */
async function kpatch({ units, enabled, release, names }: Host): Promise<Rival | undefined> {
  const modules: string[] = [];
  for (const directory of [`/var/lib/kpatch/${release}`, `/usr/lib/kpatch/${release}`]) {
    for (const name of await names(directory))
      if (/^(?!kpatch\.ko).*\.ko$/.test(name)) modules.push(`${directory}/${name}`);
  }
  const service = units.has('kpatch.service') || enabled.has('kpatch.service');
  const [first] = modules;
  if (first === undefined && !service) return undefined;
  return {
    system: 'kpatch',
    active: first !== undefined && service,
    evidence:
      first === undefined
        ? 'kpatch.service is enabled, with nothing installed for this kernel'
        : `${first} is installed, and kpatch.service is ${service ? 'enabled' : 'not enabled'}`,
    remedy: 'kpatch uninstall what it lists, or systemctl disable --now kpatch.service',
  };
}

/** SUSE brings its livepatches as packages: the package manager loads them, nothing that runs does. */
async function suse({ release, names }: Host): Promise<Rival | undefined> {
  const directory = `/lib/modules/${release}/livepatch`;
  const module = (await names(directory)).find((it) => /\.ko(\.\w+)?$/.test(it));
  if (module === undefined) return undefined;
  return {
    system: 'SUSE live patching',
    active: false,
    evidence: `${directory}/${module} is installed`,
    remedy: 'remove the package kernel-livepatch of this kernel',
  };
}
