import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cleanEnvironment } from '../node/process.ts';

const FOLDERS = [
  'etc/apt/apt.conf.d',
  'etc/apt/sources.list.d',
  'etc/apt/preferences.d',
  'etc/apt/auth.conf.d',
  'etc/apt/trusted.gpg.d',
  'var/lib/apt/lists/partial',
  'var/lib/dpkg',
  'var/cache/apt/archives/partial',
  'var/log/apt',
];

/**
 * Makes a host as far as apt sees one: lists, status and settings in a folder of its own, nothing of this machine's.
 * `status`: of dpkg; `settings`: further lines of apt.conf(5). Returns the environment to run apt in.
 */
export async function makeAptRoot(
  root: string,
  { status = '', settings = [] }: { readonly status?: string; readonly settings?: readonly string[] } = {},
): Promise<Record<string, string>> {
  for (const folder of FOLDERS) await mkdir(join(root, folder), { recursive: true });
  const conf = [
    `Dir "${root}";`,
    `Dir::State::status "${root}/var/lib/dpkg/status";`,
    'APT::Architecture "amd64";',
    'APT::Architectures { "amd64"; };',
    'APT::Sandbox::User "root";',
    'Acquire::Languages "none";',
    'Acquire::Retries "0";',
    ...settings,
  ];
  const path = join(root, 'apt.conf');
  await writeFile(path, `${conf.join('\n')}\n`);
  await writeFile(join(root, 'var/lib/dpkg/status'), status);
  return { ...cleanEnvironment(), APT_CONFIG: path };
}
