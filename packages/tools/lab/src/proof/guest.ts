import { type Clock, errorCode, errorText, KmendError } from '@kmend/base';
import { baseSuite } from '@kmend/kernel';
import type { SystemContents } from '@kmend/protocol';
import { DPKG_STATUS, rootContents } from '@kmend/toolchain/roots';
import type { LabKernel } from '../boot-files.ts';
import { LabError } from '../error.ts';
import { EXERCISE_PACKAGES } from '../exercise-packages.ts';
import type { Host } from '../host.ts';
import type { Lab } from '../lab.ts';
import { breakpointHandlers, type CodeRange, lookAtProcessors, runsStaleCode } from '../stale-code.ts';
import { LivepatchControl } from './control.ts';
import { ProofFailure } from './failure.ts';
import { KernelWatch, runningBuildId } from './kernel-watch.ts';
import type { StepWork } from './record.ts';

const MEMORY_MB = 1024;
/** Images of file systems and of disks, and what stress-ng takes. */
const EXERCISED_MEMORY_MB = 2048;

/** What happens to a guest, or to what runs in it, when its kernel is broken. */
const BROKEN: ReadonlySet<string | undefined> = new Set([
  'lab-guest-panic',
  'lab-guest-gone',
  'lab-guest-garbage',
  'lab-command-timeout',
  'lab-command-failed',
  'lab-copy-failed',
  'lab-program-failed',
  'lab-workload-failed',
]);

/** Lines of the console that are kept of a broken guest: what two processors were doing. */
const CONSOLE_LINES = 120;

export interface GuestOptions {
  /** Of the host; unique in the lab. */
  readonly name: string;
  /** Processors; default: the lab's. */
  readonly cpus?: number | undefined;
  /** Seconds a transition may take. */
  readonly transitionLimit: number;
  /** On the root that exercises need. */
  readonly exercised: boolean;
}

/** The host of one proof: its kernel is watched while each step is made. */
export class Guest {
  readonly host: Host;
  /** What its Debian system consists of. */
  readonly root: SystemContents;
  readonly control: LivepatchControl;
  readonly #watch: KernelWatch;
  readonly #clock: Clock;
  /** Empty where the emulator's fault cannot be. */
  readonly #breakpoints: readonly CodeRange[];
  /** Whether a livepatch has been in the kernel: before, what fails is the lab. */
  #touched = false;

  private constructor(
    host: Host,
    root: SystemContents,
    transitionLimit: number,
    parts: { readonly watch: KernelWatch; readonly clock: Clock; readonly breakpoints: readonly CodeRange[] },
  ) {
    this.host = host;
    this.root = root;
    this.control = new LivepatchControl(host, transitionLimit);
    this.#watch = parts.watch;
    this.#clock = parts.clock;
    this.#breakpoints = parts.breakpoints;
  }

  /** Boots the kernel as it was shipped, and makes sure that it is that one. */
  static async boot(
    lab: Lab,
    clock: Clock,
    kernel: LabKernel,
    { name, cpus, transitionLimit, exercised }: GuestOptions,
  ): Promise<Guest> {
    const host = await lab.boot(kernel, {
      name,
      ...(cpus !== undefined && { cpus }),
      memoryMb: exercised ? EXERCISED_MEMORY_MB : MEMORY_MB,
      packages: exercised ? EXERCISE_PACKAGES : [],
      // Or the kernel would drop some of the marks that KernelWatch writes; and the first of them, by what file systems
      // say.
      kernelArguments: ['printk.devkmsg=on', ...(exercised ? ['log_buf_len=16M'] : [])],
    });
    const running = await runningBuildId(host);
    if (running !== kernel.buildId) {
      throw new LabError('lab-kernel-unsuitable', `the guest runs build id ${running}, not ${kernel.buildId}`, {
        hint: `remove the kernel ${kernel.release} from the store and add it again`,
      });
    }
    const status = await host.readFile(`/${DPKG_STATUS}`);
    const root = rootContents(baseSuite(kernel.suite), status.toString('utf8'));
    const watch = new KernelWatch(host);
    await watch.begin();
    const mayBeStale = host.accelerator === 'tcg' && host.cpus > 1;
    const breakpoints = mayBeStale ? await breakpointHandlers(host) : [];
    return new Guest(host, root, transitionLimit, { watch, clock, breakpoints });
  }

  /** From here on the kernel is not the shipped one any more. */
  touch(): void {
    this.#touched = true;
  }

  /** A step's work, with the kernel log read behind it: a kernel that complains fails the step during which it does. */
  watched(name: string, work: StepWork): StepWork {
    return async (say) => {
      try {
        await this.#watch.mark(name);
        const reason = await work(say);
        await this.#watch.requireQuiet();
        return reason;
      } catch (error) {
        throw await this.#explain(error);
      }
    };
  }

  /** Throws `ProofFailure` for anything wrong since the boot; the number of lines in the kernel log. */
  requireQuietThroughout(): Promise<number> {
    return this.#watch.requireQuietThroughout();
  }

  async #explain(error: unknown): Promise<unknown> {
    if (!(error instanceof ProofFailure)) {
      if (!this.#touched || !BROKEN.has(errorCode(error))) return error;
      if (await this.#runsStaleCode()) {
        return new LabError(
          'lab-emulator-fault',
          'the emulator ran code that the kernel had changed, and the guest hung',
          {
            hint: 'a fault of QEMU before 8.1: use KVM or a newer QEMU, or prove again',
            cause: error,
          },
        );
      }
      const told = error instanceof KmendError ? error.details?.['console'] : undefined;
      // A guest that answers no more has said why on its console: calls, which are no complaints, too.
      const console = typeof told === 'string' ? told : this.host.console();
      const lines = console.trimEnd().split('\n').slice(-CONSOLE_LINES);
      return new ProofFailure(errorText(error), [...(await this.#watch.wrong()), ...lines], { cause: error });
    }
    return new ProofFailure(error.message, [...error.details, ...(await this.#watch.wrong())], { cause: error });
  }

  async #runsStaleCode(): Promise<boolean> {
    if (this.#breakpoints.length === 0 || !this.host.isOn) return false;
    const isHandler = (address: bigint): boolean =>
      this.#breakpoints.some(([start, end]) => start <= address && address < end);
    return runsStaleCode(await lookAtProcessors(this.host, this.#clock), isHandler);
  }
}
