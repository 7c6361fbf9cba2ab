import { randomUUID } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runOk } from '@kmend/base/node';
import { type AcceleratorChoice, chooseAccelerator } from './accelerator.ts';
import { type LabKernel, prepareBootFiles } from './boot-files.ts';
import { ConsoleLog } from './console.ts';
import type { LabEdges } from './edges.ts';
import { LabError } from './error.ts';
import { type Exercise, exercise } from './exercise.ts';
import { diskPath, Host } from './host.ts';
import { compileProgram } from './programs.ts';
import { prepareRoot, type Root } from './root.ts';
import { makeScratch, type Scratch } from './scratch.ts';
import { WORKLOAD_PORT, Workload } from './workload.ts';

export interface BootOptions {
  /** Letters, digits, `-`; unique among the lab's hosts. */
  readonly name: string;
  /** MiB; default 1024. */
  readonly memoryMb?: number;
  /** Default 2: fewer hide races. */
  readonly cpus?: number;
  /**
   * The guest reaches the operator's loopback (at `OPERATOR_ADDRESS`) and his network: for a host whose server runs
   * here. Else it reaches nothing, whatever its kernel has loaded.
   */
  readonly reachesOperator?: boolean;
  /** TCP ports of the guest to reach on the operator's loopback, see `Host.forwards`. */
  readonly forwards?: readonly number[];
  /** More arguments for the kernel, e.g. `module.sig_enforce=1`. */
  readonly kernelArguments?: readonly string[];
  /** Debian packages that the host has beside the lab's; each such set is one more root in the cache. */
  readonly packages?: readonly string[];
}

/** What a reproducer says of the running kernel. */
export type Said = 'vulnerable' | 'fixed';

/** The reproducer of a flaw, inside a host. */
export interface Reproducer {
  readonly id: string;
  /** Runs it as an unprivileged user. `lab-program-failed` when it could not tell. */
  ask(): Promise<Said>;
}

const REPRODUCERS = join(import.meta.dirname, '..', 'reproducers');
const EXERCISE = join(import.meta.dirname, '..', 'guest', 'exercise.c');
const WORKLOAD = join(import.meta.dirname, '..', 'guest', 'workload.c');

/** Throw-away Debian hosts. Everything it starts ends with `close()`, or with this process, whatever ends that. */
export class Lab {
  readonly #edges: LabEdges;
  readonly #names = new Set<string>();
  readonly #hosts: Host[] = [];
  readonly #workloads: Workload[] = [];
  #scratch: Promise<Scratch> | undefined;
  #accelerator: Promise<AcceleratorChoice> | undefined;
  #closing: Promise<void> | undefined;

  constructor(edges: LabEdges) {
    this.#edges = edges;
    edges.signal.addEventListener('abort', () => void this.close(), { once: true });
  }

  /** Makes the Debian root all hosts start from, once; about half a minute. */
  prepareRoot(packages: readonly string[] = []): Promise<Root> {
    return prepareRoot(this.#edges, packages);
  }

  /** Which accelerator hosts run with, and why; tried with the given kernel when there is a `/dev/kvm`. */
  accelerator(kernel: LabKernel): Promise<AcceleratorChoice> {
    const { cache, clock } = this.#edges;
    this.#accelerator ??= mkdir(cache, { recursive: true }).then(() =>
      chooseAccelerator(cache, clock, kernel.paths.vmlinuz),
    );
    return this.#accelerator;
  }

  /** Makes a new host with a fresh disk, boots the kernel on it, and waits until it is up. */
  async boot(kernel: LabKernel, options: BootOptions): Promise<Host> {
    this.#mustBeOpen();
    if (!/^[A-Za-z0-9-]{1,63}$/.test(options.name) || this.#names.has(options.name)) {
      throw new LabError('lab-host-state', `${options.name} is taken or not a host name`);
    }
    this.#names.add(options.name);
    try {
      const host = await this.#makeHost(kernel, options);
      this.#mustBeOpen();
      this.#hosts.push(host);
      this.#edges.progress.step(`lab: boot ${options.name} on ${kernel.release} (${host.accelerator})`);
      await host.start();
      return host;
    } catch (error) {
      this.#names.delete(options.name);
      this.#mustBeOpen(); // an interrupt is told as such
      throw error;
    }
  }

  async #makeHost(kernel: LabKernel, options: BootOptions): Promise<Host> {
    const { run, clock, signal } = this.#edges;
    const root = await this.prepareRoot(options.packages);
    const files = await prepareBootFiles(this.#edges, kernel);
    const { accelerator } = await this.accelerator(kernel);
    this.#mustBeOpen();
    this.#scratch ??= makeScratch(join(this.#edges.cache, 'runs'));
    const directory = (await this.#scratch).path;
    const disk = diskPath(directory, options.name);
    const backing = ['-b', root.image, '-F', 'raw'];
    await runOk(run, 'qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, disk], { signal });
    return new Host(
      {
        name: options.name,
        uuid: randomUUID(),
        accelerator,
        memoryMb: options.memoryMb ?? 1024,
        cpus: options.cpus ?? 2,
        vmlinuz: kernel.paths.vmlinuz,
        initramfs: files.initramfs,
        disk,
        modulesImage: files.modulesImage,
        kernelArguments: [`systemd.hostname=${options.name}`, ...(options.kernelArguments ?? [])],
        forwards: [WORKLOAD_PORT, ...(options.forwards ?? [])].map((guestPort) => ({ guestPort, hostPort: 0 })),
        reachesOperator: options.reachesOperator ?? false,
      },
      directory,
      clock,
      new ConsoleLog(),
    );
  }

  /** What a host boots this kernel with: for one that is to boot it from inside, by kexec. Paths on this machine. */
  async bootFiles(kernel: LabKernel): Promise<{ readonly vmlinuz: string; readonly initramfs: string }> {
    const { initramfs } = await prepareBootFiles(this.#edges, kernel);
    return { vmlinuz: kernel.paths.vmlinuz, initramfs };
  }

  /** From its next boot on the host runs another kernel, as after the package manager has installed a newer one. */
  async changeKernel(host: Host, kernel: LabKernel): Promise<void> {
    const { initramfs, modulesImage } = await prepareBootFiles(this.#edges, kernel);
    host.useKernel({ vmlinuz: kernel.paths.vmlinuz, initramfs, modulesImage });
  }

  /**
   * The program that tells whether the flaw `id` is there: compiled, static, ready to be copied into a host. `source`: a C file that is not the lab's own.
   */
  reproducer(id: string, source?: string): Promise<string> {
    if (!/^[A-Za-z0-9._-]+$/.test(id)) throw new LabError('lab-program-unknown', `there is no reproducer ${id}`);
    return compileProgram(this.#edges, id, source ?? join(REPRODUCERS, `${id}.c`));
  }

  /** The flaws that have a reproducer. */
  async reproducers(): Promise<string[]> {
    const names = await readdir(REPRODUCERS);
    return names.flatMap((name) => (name.endsWith('.c') ? [name.slice(0, -2)] : [])).sort();
  }

  /** Brings the reproducer of a flaw into a host. */
  async installReproducer(host: Host, id: string, source?: string): Promise<Reproducer> {
    const path = `/run/kmend-lab/${id}`;
    await host.copyIn(await this.reproducer(id, source), path, 0o755);
    return {
      id,
      async ask() {
        const { exitCode, stdout, stderr } = await host.run([path], { user: 'nobody' });
        const said = stdout.trim();
        if (exitCode === 1 && said === 'vulnerable') return said;
        if (exitCode === 0 && said === 'fixed') return said;
        throw new LabError(
          'lab-program-failed',
          `${host.name}: the reproducer of ${id} ended with ${exitCode}: ${said}${stderr}`,
        );
      },
    };
  }

  /** Brings the reproducer of a flaw into a host and runs it once. */
  async reproduce(host: Host, id: string): Promise<Said> {
    return (await this.installReproducer(host, id)).ask();
  }

  /** Starts a TCP workload between a host and this process; see `Workload.stop` for what it lived through. */
  async startWorkload(host: Host): Promise<Workload> {
    const program = await compileProgram(this.#edges, 'workload', WORKLOAD);
    const workload = await Workload.start(host, program, this.#edges.clock);
    this.#workloads.push(workload);
    return workload;
  }

  /** Uses many parts of a host's kernel for a time, side by side, and checks what comes back: network, files, io_uring, IPC, keys, memory. */
  async exercise(host: Host, seconds: number): Promise<Exercise> {
    return await exercise(host, await compileProgram(this.#edges, 'exercise', EXERCISE), seconds);
  }

  /** Cuts the power of all hosts and removes their disks. May be called again; an aborted `signal` calls it too. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const workload of this.#workloads) workload.abandon();
    await Promise.all(this.#hosts.map((host) => host.powerOffHard()));
    const scratch = await this.#scratch?.catch(() => undefined);
    await scratch?.remove();
  }

  #mustBeOpen(): void {
    this.#edges.signal.throwIfAborted();
    if (this.#closing !== undefined) throw new LabError('lab-closed', 'the lab is closed');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
