import { HardwareFlaw, HostFacts } from '@kmend/protocol';
import * as z from 'zod';
import type { Edges } from '../edges/edges.ts';
import { AgentError } from '../error.ts';
import { AGENT_VERSION } from '../version.ts';
import { readMachineId } from './machine.ts';
import { runningBuildId } from './notes.ts';

const FLAWS = '/sys/devices/system/cpu/vulnerabilities';

/** Id of this boot, new at each one. */
export async function readBootId(edges: Edges): Promise<string> {
  const parsed = z.uuid().safeParse((await edges.files.text('/proc/sys/kernel/random/boot_id'))?.trim());
  if (!parsed.success)
    throw new AgentError('kernel-unknown', 'the kernel does not say its boot id (is /proc mounted?)');
  return parsed.data;
}

/** What the host says of itself. */
export async function readFacts(edges: Edges): Promise<HostFacts> {
  const { machine, files } = edges;
  const os = (await files.text('/etc/os-release')) ?? '';
  const stat = (await files.text('/proc/stat', 4_000_000)) ?? '';
  const booted = Number(/^btime (\d+)$/m.exec(stat)?.[1] ?? Number.NaN);
  const facts: HostFacts = {
    hostname: machine.hostname().slice(0, 253),
    machineArch: machine.arch(),
    osRelease: (/^PRETTY_NAME="?([^"\n]*)"?$/m.exec(os)?.[1] ?? 'unknown').slice(0, 500),
    kernel: {
      release: machine.release(),
      buildId: await runningBuildId(edges),
      version: machine.version().slice(0, 500),
    },
    bootId: await readBootId(edges),
    bootedAt: new Date(Number.isFinite(booted) ? booted * 1000 : edges.clock.now()).toISOString(),
    agentVersion: AGENT_VERSION,
    hardwareFlaws: await readFlaws(edges),
    microcode: await readMicrocode(edges),
    machineId: await readMachineId(edges),
  };
  return HostFacts.parse(facts);
}

/** Revision of the processor's microcode, as /proc/cpuinfo has it; `null` where it does not tell. */
export async function readMicrocode(edges: Edges): Promise<string | null> {
  const cpu = (await edges.files.text('/proc/cpuinfo', 16_000_000)) ?? '';
  return /^microcode\s*: (\S{1,32})$/m.exec(cpu)?.[1] ?? null;
}

export async function readFlaws(edges: Edges): Promise<HostFacts['hardwareFlaws']> {
  const flaws: HostFacts['hardwareFlaws'] = [];
  for (const name of (await edges.files.names(FLAWS)) ?? []) {
    const state = (await edges.files.text(`${FLAWS}/${name}`))?.trim().slice(0, 300);
    const flaw = HardwareFlaw.safeParse({ name, state });
    if (flaw.success && flaws.length < 64) flaws.push(flaw.data);
  }
  return flaws;
}

/** Names of what the kernel left in persistent storage when it died, also where systemd-pstore moved it. */
export async function pstoreNames(edges: Edges): Promise<readonly string[]> {
  const names = [
    ...((await edges.files.names('/sys/fs/pstore')) ?? []),
    ...((await edges.files.names('/var/lib/systemd/pstore')) ?? []),
  ];
  return names.slice(0, 32);
}
