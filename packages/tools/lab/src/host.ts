import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, errorCode } from '@kmend/base';
import { z } from 'zod';
import type { ConsoleLog } from './console.ts';
import { LabError } from './error.ts';
import { type GuestResult, type GuestRunOptions, runInGuest } from './guest.ts';
import { readGuestFile, writeGuestFile } from './guest-files.ts';
import { Machine } from './machine.ts';
import type { Accelerator, MachineSpec, PortForward } from './qemu.ts';

/** Until the guest's systemd says that it is up. */
const BOOT_TIMEOUT_MS = { kvm: 60_000, tcg: 180_000 } as const satisfies Record<Accelerator, number>;
/** Emulated on a busy machine, a guest that ends its boot took more than a minute. */
const SHUTDOWN_TIMEOUT_MS = { kvm: 60_000, tcg: 180_000 } as const satisfies Record<Accelerator, number>;
/** Number of reboots after which a guest that never comes up is given up. */
const MOST_RESTARTS = 3;

/** What holds for one power-on alone. */
export interface StartOptions {
  /** More arguments for the kernel. */
  readonly kernelArguments?: readonly string[];
  /** What the machine's clock says at power on; it runs on from there. Default: the time of day. */
  readonly clock?: Date;
}

/**
 * One throw-away Debian machine. It keeps its disk over reboots and power cuts, until the lab is closed. All methods
 * that talk to the guest reject with `lab-guest-gone` when it is off or goes down meanwhile, `lab-guest-panic` after a
 * panic.
 */
export class Host {
  readonly name: string;
  readonly accelerator: Accelerator;
  #spec: MachineSpec;
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #log: ConsoleLog;
  #machine: Machine | undefined;
  #boot: Promise<void> = Promise.resolve();
  #stayOff = false;
  #forwards: ReadonlyMap<number, number> = new Map();
  #bootSeconds = 0;
  #restored = false;
  /** Boots in a row that ended in another one before the host was up. */
  #restarts = 0;

  /** For `Lab.boot`: the host is off until `start()`. */
  constructor(spec: MachineSpec, directory: string, clock: Clock, log: ConsoleLog) {
    this.name = spec.name;
    this.accelerator = spec.accelerator;
    this.#spec = spec;
    this.#directory = directory;
    this.#clock = clock;
    this.#log = log;
  }

  /**
   * Seconds the last boot took, from power on (or the order to reboot) until systemd was done; or it took to restore
   * it.
   */
  get bootSeconds(): number {
    return this.#bootSeconds;
  }

  /** The host did not boot itself, but continues from a saved boot. */
  get restored(): boolean {
    return this.#restored;
  }

  /** Ports on the operator's loopback, by guest port. They stay the same over power cuts. */
  get forwards(): ReadonlyMap<number, number> {
    return this.#forwards;
  }

  /** Processors. */
  get cpus(): number {
    return this.#spec.cpus;
  }

  /** MiB. */
  get memoryMb(): number {
    return this.#spec.memoryMb;
  }

  get isOn(): boolean {
    return this.#machine?.running ?? false;
  }

  /** Switches the host on, with the disk as it was left, and waits until it is up. */
  async start(options: StartOptions = {}): Promise<void> {
    if (this.isOn) throw new LabError('lab-host-state', `${this.name} is on already`);
    await this.#powerOn(options);
  }

  /** For `Lab.boot`: switches the host on with memory and disk as its disk's file holds them under that name. */
  async startSaved(name: string): Promise<void> {
    await this.#powerOn({}, name);
  }

  #powerOn(options: StartOptions, saved?: string): Promise<void> {
    const boot = this.#bootOnce(options, saved);
    this.#boot = boot;
    // A reboot without a waiting caller must not end this process; the next call to the host reports it.
    boot.catch(() => {});
    return boot;
  }

  async #bootOnce(options: StartOptions, saved: string | undefined): Promise<void> {
    const begin = this.#clock.monotonic();
    const forwards: PortForward[] = this.#spec.forwards.map((forward) => ({
      ...forward,
      hostPort: this.#forwards.get(forward.guestPort) ?? forward.hostPort,
    }));
    const kernelArguments = [...this.#spec.kernelArguments, ...(options.kernelArguments ?? [])];
    const paused = saved !== undefined;
    const spec = { ...this.#spec, forwards, kernelArguments, clock: options.clock, paused };
    const machine = new Machine(spec, this.#directory, this.#log);
    this.#machine = machine;
    this.#stayOff = false;
    void machine.ended.then((reason) => {
      // A real machine comes back by itself after a reset; this runs before those who waited for the end continue.
      if (reason === 'reset' && !this.#stayOff) void this.#powerOn({});
    });
    try {
      await machine.qmp.negotiate();
      this.#forwards = await machine.qmp.forwards();
      // Without the kernel's boot there is nothing to wait for: the guest agent runs.
      if (saved === undefined) await this.#untilUp(machine);
      else await machine.qmp.load(saved);
      this.#restarts = 0;
    } catch (error) {
      if (saved === undefined && (await this.#comesAgain(machine, error))) return await this.#boot;
      await machine.powerOff();
      throw error;
    }
    this.#bootSeconds = (this.#clock.monotonic() - begin) / 1000;
    this.#restored = saved !== undefined;
  }

  /**
   * Whether a guest that went away in its boot did so to reboot, as an offline update does; its next boot is under way
   * then.
   */
  async #comesAgain(machine: Machine, error: unknown): Promise<boolean> {
    if (errorCode(error) !== 'lab-guest-gone' || this.#stayOff || this.#restarts >= MOST_RESTARTS) return false;
    this.#restarts++;
    return (await this.#endsInTime(machine)) && (await machine.ended) === 'reset';
  }

  /**
   * Runs a command and waits for its end, whatever its exit code: an array is a program with its arguments, a string a
   * line for the shell. Output that a background process keeps open is waited for. `lab-command-timeout` when it does
   * not end in time (it is killed).
   */
  async run(command: string | readonly string[], options: GuestRunOptions = {}): Promise<GuestResult> {
    const result = await this.#explain((machine) => runInGuest(machine.agent, this.#clock, command, options));
    return { ...result, stdout: result.stdout.toString('utf8'), stderr: result.stderr.toString('utf8') };
  }

  /** As `run`, and its stdout without the trailing line end; an exit code other than 0 is `lab-command-failed`. */
  async check(command: string | readonly string[], options: GuestRunOptions = {}): Promise<string> {
    const result = await this.run(command, options);
    if (result.exitCode !== 0) {
      const text = typeof command === 'string' ? command : command.join(' ');
      const said = (result.stderr.trim() || result.stdout.trim()).slice(-2000);
      throw new LabError('lab-command-failed', `${this.name}: ${text} ended with ${result.exitCode}: ${said}`, {
        details: { ...result, console: this.#log.tail() },
      });
    }
    return result.stdout.trimEnd();
  }

  /** Writes a file into the guest, whole or not at all: bytes, or the local file of that path. Directories are made. */
  async copyIn(source: string | Uint8Array, guestPath: string, mode = 0o644): Promise<void> {
    const bytes = typeof source === 'string' ? await readFile(source) : source;
    await this.#explain((machine) => writeGuestFile(machine, this.#clock, bytes, { path: guestPath, mode }));
  }

  /** Reads a file of the guest, at most 16 MiB. */
  readFile(guestPath: string): Promise<Buffer> {
    return this.#explain((machine) => readGuestFile(machine.agent, this.#clock, guestPath));
  }

  /** Everything the serial console showed since the host was made (the last 4 MiB). */
  console(): string {
    return this.#log.text();
  }

  /** The kernel's log (dmesg) of this boot, or only what is `warn` or worse. */
  kernelLog(level: 'all' | 'warn' = 'all'): Promise<string> {
    return this.check(level === 'all' ? ['dmesg'] : ['dmesg', '--level=emerg,alert,crit,err,warn']);
  }

  /** The address that each processor is at just now, also when the guest does not answer any more or is in panic. */
  async processors(): Promise<readonly bigint[]> {
    if (this.#machine === undefined || !this.isOn) throw new LabError('lab-guest-gone', `${this.name} is off`);
    return await this.#machine.qmp.processors();
  }

  /** Differs from boot to boot (`/proc/sys/kernel/random/boot_id`). */
  bootId(): Promise<string> {
    return this.check(['cat', '/proc/sys/kernel/random/boot_id']);
  }

  /** Reboots in an orderly way and waits until the host is up again. */
  reboot(): Promise<void> {
    return this.rebootBy(() => this.#order(this.#on(), 'reboot'));
  }

  /**
   * Does something that makes the guest reboot by itself (a panic with `kernel.panic` set, a program that reboots), and
   * waits until the host is up again. That `trigger` loses the guest under its hands is no error. `lab-boot-timeout`
   * when no reboot comes.
   */
  async rebootBy(trigger: () => Promise<unknown>): Promise<void> {
    const machine = this.#on();
    try {
      await trigger();
    } catch (error) {
      const code = errorCode(error);
      if (code !== 'lab-guest-gone' && code !== 'lab-guest-panic') throw error;
    }
    if (!(await this.#endsInTime(machine))) {
      throw new LabError('lab-boot-timeout', `${this.name} did not go down for its reboot`, this.#context());
    }
    await this.#boot;
  }

  /**
   * Keeps the running host as it is just now, memory and disk, under a name (letters, digits, `-`): `restore` brings it
   * back as often as wanted, as long as the lab lasts.
   */
  async save(name: string): Promise<void> {
    await this.#on().qmp.save(name);
  }

  /**
   * Makes the host what it was when it was saved, whatever happened to it since; only its clock says the time of day.
   */
  async restore(name: string): Promise<void> {
    if (this.#machine?.running === true && this.#machine.failure === undefined) {
      await this.#machine.qmp.load(name);
      this.#machine.agent.interrupt(new LabError('lab-guest-gone', `${this.name} was set back`));
    } else {
      await this.powerOffHard();
      await this.#powerOn({}, name);
    }
    await this.check(['date', '-u', '-s', `@${Math.round(this.#clock.now().getTime() / 1000)}`]);
  }

  /** For `Lab.changeKernel`: what the next boot comes up with. */
  useKernel(files: Pick<MachineSpec, 'vmlinuz' | 'initramfs' | 'modulesImage'>): void {
    this.#spec = { ...this.#spec, ...files };
  }

  /** Cuts the power, as if the plug were pulled. `start()` brings the host back with what was on its disk. */
  async powerOffHard(): Promise<void> {
    this.#stayOff = true;
    await this.#machine?.powerOff();
  }

  /** Shuts the host down in an orderly way; cuts the power when that takes too long. */
  async shutdown(): Promise<void> {
    const machine = this.#on();
    this.#stayOff = true;
    await this.#order(machine, 'poweroff');
    if (!(await this.#endsInTime(machine))) await machine.powerOff();
  }

  async #order(machine: Machine, verb: 'reboot' | 'poweroff'): Promise<void> {
    await machine.agent.execute('guest-exec', z.object({ pid: z.number() }), { path: '/bin/systemctl', arg: [verb] });
  }

  async #endsInTime(machine: Machine): Promise<boolean> {
    const timeout = new AbortController();
    const late = this.#clock.sleep(SHUTDOWN_TIMEOUT_MS[this.accelerator], timeout.signal).then(
      () => false,
      () => false,
    );
    const inTime = await Promise.race([machine.ended.then(() => true), late]);
    timeout.abort();
    return inTime;
  }

  #on(): Machine {
    if (this.#machine === undefined) throw new LabError('lab-guest-gone', `${this.name} is off`);
    if (this.#machine.failure !== undefined) throw this.#machine.failure;
    return this.#machine;
  }

  async #untilUp(machine: Machine): Promise<void> {
    const deadline = AbortSignal.timeout(BOOT_TIMEOUT_MS[this.accelerator]);
    try {
      await machine.agentOpens(deadline);
      // `degraded` is up too: a unit of the guest failed, which is for the caller to look at.
      const wait = ['systemctl', 'is-system-running', '--wait'];
      const options = { timeoutMs: BOOT_TIMEOUT_MS[this.accelerator] };
      const result = await runInGuest(machine.agent, this.#clock, wait, options);
      const state = result.stdout.toString('utf8').trim();
      // A rescue mode or an offline update that ends in a reboot, seen while it ends.
      if (state === 'stopping') throw new LabError('lab-guest-gone', `${this.name} ends its boot`, this.#context());
      if (state !== 'running' && state !== 'degraded') {
        throw new LabError('lab-boot-timeout', `${this.name} did not come up: systemd says ${state}`, this.#context());
      }
    } catch (cause) {
      if (!deadline.aborted && errorCode(cause) !== 'lab-command-timeout') throw cause;
      throw new LabError('lab-boot-timeout', `${this.name} did not come up in time`, {
        cause,
        hint: 'details.console holds the last lines the guest printed',
        ...this.#context(),
      });
    }
  }

  /** Reports a guest that panics or ends during a command as such. */
  async #explain<T>(work: (machine: Machine) => Promise<T>): Promise<T> {
    const machine = this.#on();
    try {
      return await work(machine);
    } catch (error) {
      throw machine.failure ?? error;
    }
  }

  #context(): { details: { console: string } } {
    return { details: { console: this.#log.tail() } };
  }
}

/** Where a host keeps its disk inside the lab's scratch directory. */
export function diskPath(directory: string, name: string): string {
  return join(directory, `${name}.qcow2`);
}
