import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cleanEnvironment, run, runOk } from '@kmend/base/node';
import type { HostFile } from '../setup.ts';

/** A host as far as rpm and dnf see one, in a folder of its own. */
export class DnfHost {
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  static async make(root: string): Promise<DnfHost> {
    await mkdir(root, { recursive: true });
    await runOk(run, 'rpm', ['--root', root, '--initdb']);
    return new DnfHost(root);
  }

  /** The key file is read from outside of the root: its place is put into the settings. */
  async place(files: readonly HostFile[]): Promise<void> {
    for (const { path, mode, text } of files) {
      await mkdir(dirname(join(this.root, path)), { recursive: true });
      await writeFile(join(this.root, path), text.replaceAll('file:///etc/', `file://${this.root}/etc/`), { mode });
    }
  }

  async dnf(...words: string[]): Promise<{ readonly exitCode: number; readonly said: string }> {
    const settings = [
      `reposdir=${this.root}/etc/yum.repos.d`,
      `cachedir=${this.root}/var/cache/dnf`,
      'pluginpath=/nowhere',
      'retries=1',
      'metadata_expire=0',
    ];
    const args = [
      '--installroot',
      this.root,
      '--releasever',
      '9',
      '--forcearch',
      'x86_64',
      '--assumeyes',
      ...settings.flatMap((one) => ['--setopt', one]),
    ];
    const { exitCode, stdout, stderr } = await run('dnf', [...args, ...words], { env: cleanEnvironment() });
    return { exitCode, said: `${stdout.toString()}${stderr}` };
  }

  /** Package files count as installed; their scripts are not run. */
  async installed(...rpms: string[]): Promise<void> {
    await runOk(run, 'rpm', [
      '--root',
      this.root,
      '--install',
      '--justdb',
      '--nodeps',
      '--noscripts',
      '--notriggers',
      '--nosignature',
      ...rpms,
    ]);
  }
}
