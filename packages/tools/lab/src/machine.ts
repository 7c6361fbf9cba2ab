import type { ChildProcess } from 'node:child_process';
import { Duplex, type Readable } from 'node:stream';
import { spawnBound } from './bound.ts';
import { type ConsoleLog, panicIn } from './console.ts';
import { DataChannel } from './data-channel.ts';
import { LabError } from './error.ts';
import { GuestAgent } from './guest-agent.ts';
import { AGENT_DEVICE, AGENT_FD, CHANNELS, DATA_FD, type MachineSpec, machineArguments, QMP_FD } from './qemu.ts';
import { Qmp } from './qmp.ts';

/** One running QEMU process: from power on to power off. */
export class Machine {
  readonly agent: GuestAgent;
  readonly data: DataChannel;
  readonly qmp: Qmp;
  /**
   * Resolves when the process has ended and its console is read to the end: with `reset` if the guest wanted to reboot.
   */
  readonly ended: Promise<'reset' | 'off'>;
  readonly #child: ChildProcess;
  readonly #log: ConsoleLog;
  readonly #agentListeners = new Set<() => void>();
  #agentOpen = false;
  #failure: LabError | undefined;
  #stderr = '';
  #running = true;
  #reset = false;

  constructor(spec: MachineSpec, cwd: string, log: ConsoleLog) {
    this.#log = log;
    this.#child = spawnBound('qemu-system-x86_64', machineArguments(spec), { cwd, channels: CHANNELS });
    collect(this.#child.stdout, (text) => log.append(text));
    collect(this.#child.stderr, (text) => {
      this.#stderr = (this.#stderr + text).slice(-4000);
    });
    this.agent = new GuestAgent(channelOf(this.#child, AGENT_FD), spec.accelerator);
    this.data = new DataChannel(channelOf(this.#child, DATA_FD));
    this.qmp = new Qmp(channelOf(this.#child, QMP_FD), (event) => {
      if (event.name === 'VSERPORT_CHANGE' && event.data['id'] === AGENT_DEVICE)
        this.#onAgent(event.data['open'] === true);
      if (event.name === 'SHUTDOWN') this.#reset = event.data['reason'] === 'guest-reset';
    });
    const stopWatching = log.onLine((line) => {
      const panic = panicIn(line);
      if (panic !== undefined)
        this.#fail(new LabError('lab-guest-panic', `${spec.name}: kernel panic: ${panic}`, this.#context()));
    });
    this.ended = new Promise((resolve) => {
      const onEnd = (): void => {
        if (!this.#running) return;
        this.#running = false;
        stopWatching();
        this.#fail(this.#endError(spec.name));
        this.qmp.end(this.#failure ?? this.#endError(spec.name));
        resolve(this.#reset ? 'reset' : 'off');
      };
      this.#child.once('close', onEnd);
      this.#child.once('error', (error) => {
        this.#stderr += error.message;
        onEnd();
      });
    });
  }

  get running(): boolean {
    return this.#running;
  }

  /** What ended the guest, if anything did: QEMU's end or a kernel panic. */
  get failure(): LabError | undefined {
    return this.#failure;
  }

  /** Resolves when the guest agent has opened its end of the channel; rejects when the guest fails or time is up. */
  async agentOpens(deadline: AbortSignal): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#agentOpen) return;
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        this.#agentListeners.delete(listener);
        deadline.removeEventListener('abort', onAbort);
      };
      const onAbort = (): void => {
        done();
        reject(deadline.reason);
      };
      const listener = (): void => {
        if (this.#failure === undefined && !this.#agentOpen) return;
        done();
        if (this.#failure === undefined) resolve();
        else reject(this.#failure);
      };
      this.#agentListeners.add(listener);
      deadline.addEventListener('abort', onAbort, { once: true });
      if (deadline.aborted) onAbort();
    });
  }

  /** Cuts the power: what the guest had not written to its disk is lost. */
  async powerOff(): Promise<void> {
    if (this.#running) this.#child.kill('SIGKILL');
    await this.ended;
  }

  #onAgent(open: boolean): void {
    this.#agentOpen = open;
    if (!open) {
      this.agent.interrupt(new LabError('lab-guest-gone', 'the guest agent went away', this.#context()));
    }
    for (const listener of this.#agentListeners) listener();
  }

  #fail(error: LabError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.agent.end(error);
    for (const listener of this.#agentListeners) listener();
  }

  #endError(name: string): LabError {
    const said = this.#stderr.trim();
    if (/qemu-system-x86_64: not found|ENOENT/.test(said)) {
      return new LabError('lab-no-qemu', 'qemu-system-x86_64 is not installed', { hint: 'run script/bootstrap' });
    }
    if (said !== '') return new LabError('lab-qemu-failed', `${name}: QEMU ended: ${said}`, this.#context());
    const state = this.#reset ? 'rebooting' : 'off';
    return new LabError('lab-guest-gone', `${name} is ${state}`, this.#context());
  }

  #context(): { details: { console: string } } {
    return { details: { console: this.#log.tail() } };
  }
}

function collect(stream: Readable | null, onText: (text: string) => void): void {
  const decoder = new TextDecoder();
  stream?.on('data', (chunk: Buffer) => onText(decoder.decode(chunk, { stream: true })));
}

function channelOf(child: ChildProcess, fd: number): Duplex {
  const channel = child.stdio[fd];
  if (!(channel instanceof Duplex)) throw new LabError('lab-qemu-failed', `no channel ${fd} to QEMU`);
  return channel;
}
