import { randomUUID } from 'node:crypto';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, errorText } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import { baseSuite } from '@kmend/kernel';
import { type AcceleratorChoice, chooseAccelerator } from './accelerator.ts';
import { type LabKernel, prepareBootFiles } from './boot-files.ts';
import { ConsoleLog } from './console.ts';
import type { LabEdges } from './edges.ts';
import { LabError } from './error.ts';
import { type Exercise, exercise } from './exercise.ts';
import { diskPath, Host } from './host.ts';
import { usualProcessors } from './processors.ts';
import { compileProgram } from './programs.ts';
import type { MachineSpec } from './qemu.ts';
import { prepareRoot, type Root } from './root.ts';
import { takeIdentity } from './saved/identity.ts';
import { savedKey } from './saved/key.ts';
import { SavedMachines } from './saved/store.ts';
import { makeScratch, type Scratch } from './scratch.ts';
import { WORKLOAD_PORT, Workload } from './workload.ts';

export interface BootOptions {
  /** Letters, digits, `-`; unique among the lab's hosts. */
  readonly name: string;
  /** MiB; default 1024. */
  readonly memoryMb?: number;
  /** Default: see `usualProcessors`. */
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
  /**
   * Boot in truth, whatever was saved: for what is about booting, for what is measured, and for arguments used once.
   */
  readonly fresh?: boolean;
  /**
   * What is done to the host behind its boot, before anything else. Saved with the machine, so that it is done once.
   */
  readonly preparation?: Preparation;
}

/** Work on a new host that takes long and has the same result each time, such as the installation of a package. */
export interface Preparation {
  /** Differs where the outcome differs, e.g. the hash of the package. */
  readonly key: string;
  /**
   * Leaves nothing in the host that is a particular host's: the name, the machine id and the time are another host's
   * later.
   */
  prepare(host: Host): Promise<void>;
}

/** What a reproducer says of the running kernel. */
export type Said = 'vulnerable' | 'fixed';

/** The reproducer of a flaw, inside a host. */
export interface Reproducer {
  readonly id: string;
  /** Runs it as an unprivileged user. `lab-program-failed` when it could not tell. */
  ask(): Promise<Said>;
}

/** A host that is about to be. */
interface Plan {
  readonly kernel: LabKernel;
  readonly root: Root;
  readonly spec: MachineSpec;
  /** The machine that is saved for its kind. */
  readonly saved: MachineSpec;
  readonly preparation: Preparation | undefined;
  /** Scratch space of this lab. */
  readonly directory: string;
}

/** The snapshot in a saved machine's disk. */
const SAVED = 'saved';
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
  #qemu: Promise<string> | undefined;
  #accelerator: Promise<AcceleratorChoice> | undefined;
  #closing: Promise<void> | undefined;

  constructor(edges: LabEdges) {
    this.#edges = edges;
    edges.signal.addEventListener('abort', () => void this.close(), { once: true });
  }

  /** Makes the Debian root that all hosts of a suite start from, once; about half a minute. */
  prepareRoot(suite: string, packages: readonly string[] = []): Promise<Root> {
    return prepareRoot(this.#edges, suite, packages);
  }

  /** Which accelerator hosts run with, and why; tried with the given kernel when there is a `/dev/kvm`. */
  accelerator(kernel: LabKernel): Promise<AcceleratorChoice> {
    const { cache, clock } = this.#edges;
    this.#accelerator ??= mkdir(cache, { recursive: true }).then(() =>
      chooseAccelerator(cache, clock, kernel.paths.vmlinuz),
    );
    return this.#accelerator;
  }

  /**
   * Makes a new host with a disk of its own and waits until it is up. An emulated kernel takes as much as a minute of
   * processor time to boot: so its memory and disk are saved behind the first boot, and later hosts of the same kind,
   * of any process, are restored from there (`Host.restored`). They have a name, a machine id, random numbers and the
   * time of day of their own. Of that one boot they keep, until they boot themselves: the boot id, the uptime, the log,
   * the addresses of kernel and modules, the UUID of the hardware, and `systemd.hostname=saved` in `/proc/cmdline`.
   */
  async boot(kernel: LabKernel, options: BootOptions): Promise<Host> {
    this.#mustBeOpen();
    if (!/^[A-Za-z0-9-]{1,63}$/.test(options.name) || this.#names.has(options.name)) {
      throw new LabError('lab-host-state', `${options.name} is taken or not a host name`);
    }
    this.#names.add(options.name);
    try {
      const plan = await this.#plan(kernel, options);
      const host = this.#newHost(plan.spec, plan.directory);
      if (host.accelerator === 'kvm' || options.fresh === true) {
        await this.#bootFresh(host, plan);
        await plan.preparation?.prepare(host);
      } else {
        await this.#restore(host, plan);
      }
      return host;
    } catch (error) {
      this.#names.delete(options.name);
      this.#mustBeOpen(); // an interrupt is told as such
      throw error;
    }
  }

  async #plan(kernel: LabKernel, options: BootOptions): Promise<Plan> {
    const root = await this.prepareRoot(baseSuite(kernel.suite), options.packages);
    const files = await prepareBootFiles(this.#edges, kernel);
    const { accelerator } = await this.accelerator(kernel);
    this.#mustBeOpen();
    this.#scratch ??= makeScratch(join(this.#edges.cache, 'runs'));
    const directory = (await this.#scratch).path;
    const kernelArguments = options.kernelArguments ?? [];
    const spec = {
      name: options.name,
      uuid: randomUUID(),
      accelerator,
      memoryMb: options.memoryMb ?? 1024,
      cpus: options.cpus ?? usualProcessors(kernel, accelerator),
      vmlinuz: kernel.paths.vmlinuz,
      initramfs: files.initramfs,
      disk: diskPath(directory, options.name),
      modulesImage: files.modulesImage,
      kernelArguments: [`systemd.hostname=${options.name}`, ...kernelArguments],
      forwards: [WORKLOAD_PORT, ...(options.forwards ?? [])].map((guestPort) => ({ guestPort, hostPort: 0 })),
      reachesOperator: options.reachesOperator ?? false,
    };
    // What is saved is no particular host's.
    const saved = { ...spec, uuid: randomUUID(), kernelArguments: ['systemd.hostname=saved', ...kernelArguments] };
    return { kernel, root, spec, saved, preparation: options.preparation, directory };
  }

  #newHost(spec: MachineSpec, directory: string): Host {
    this.#mustBeOpen();
    const host = new Host(spec, directory, this.#edges.clock, new ConsoleLog());
    this.#hosts.push(host);
    return host;
  }

  /** Boots a host on a fresh disk. */
  async #bootFresh(host: Host, { kernel, root, spec }: Plan): Promise<void> {
    const { run, signal, progress } = this.#edges;
    const backing = ['-b', root.image, '-F', 'raw'];
    await runOk(run, 'qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, spec.disk], { signal });
    this.#mustBeOpen();
    progress.step(`lab: boot ${host.name} on ${kernel.release} (${host.accelerator})`);
    await host.start();
  }

  /** Goes on from a saved machine of this kind; the first of its kind is booted and saved before. */
  async #restore(host: Host, plan: Plan): Promise<void> {
    const { clock, progress, cache } = this.#edges;
    const { kernel, root, spec } = plan;
    const key = await savedKey(plan.saved, {
      qemu: await this.#qemuVersion(),
      kernelBuildId: kernel.buildId,
      files: [root.image, spec.initramfs, spec.modulesImage],
      preparation: plan.preparation?.key,
    });
    const store = new SavedMachines(this.#edges, join(cache, 'saved'));
    const start = async (): Promise<void> => {
      await store.take(key, spec.disk, () => this.#makeSaved(plan));
      this.#mustBeOpen();
      progress.step(`lab: restore ${host.name}, saved on ${kernel.release} (${host.accelerator})`);
      await host.startSaved(SAVED);
    };
    try {
      await start();
    } catch (error) {
      if (errorCode(error) !== 'lab-qemu-failed') throw error;
      progress.step(`lab: QEMU rejects the saved machine, which is made again: ${errorText(error)}`);
      await store.discard(key);
      await start();
    }
    await takeIdentity(host, spec.uuid, clock);
  }

  /** Leaves a saved machine at the place of the host's disk. A prepared one begins as a saved one that is not. */
  async #makeSaved(plan: Plan): Promise<void> {
    const { preparation, saved, directory } = plan;
    const host = this.#newHost(saved, directory);
    if (preparation === undefined) {
      await this.#bootFresh(host, { ...plan, spec: saved });
    } else {
      await this.#restore(host, { ...plan, spec: saved, preparation: undefined });
      this.#edges.progress.step(`lab: prepare ${host.name}: ${preparation.key}`);
      await preparation.prepare(host);
    }
    await host.check(['sync']);
    await host.save(SAVED);
    await host.powerOffHard();
  }

  #qemuVersion(): Promise<string> {
    this.#qemu ??= runOk(this.#edges.run, 'qemu-system-x86_64', ['--version']).then(
      (output) => output.toString('utf8').split('\n')[0] ?? '',
      (cause) => {
        throw new LabError('lab-no-qemu', 'qemu-system-x86_64 does not run', { cause, hint: 'run script/bootstrap' });
      },
    );
    return this.#qemu;
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
   * The program that tells whether the flaw `id` is there: compiled, static, ready to be copied into a host. `source`:
   * a C file that is not the lab's own.
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

  /**
   * Uses many parts of a host's kernel for a time, side by side, and checks what comes back: network, files, io_uring,
   * IPC, keys, memory.
   */
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
