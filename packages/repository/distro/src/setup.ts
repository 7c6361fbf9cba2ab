import * as z from 'zod';
import { DistroError } from './error.ts';
import { SUITES } from './suites.ts';

export const SetupOptions = z.object({
  /** Where hosts find the repository. */
  url: z.url({ protocol: /^(https?|file)$/ }).regex(/^[!-~]+$/, 'not an address'),
  /** ASCII armour, as publishing returns it. */
  keyring: z
    .string()
    .regex(
      /^-----BEGIN PGP PUBLIC KEY BLOCK-----\n[\w\s+/=.:-]+-----END PGP PUBLIC KEY BLOCK-----\n$/,
      'not a public key',
    ),
  /** Names the files on hosts. */
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'lower-case letters, digits and "-" only')
    .default('kmend'),
  /** Of APT: `security` for fixes of CVEs alone. */
  suite: z.enum(SUITES).default('updates'),
  /** The repository requires an activation key. */
  gated: z.boolean().default(false),
  /** The activation key may travel in the clear: in a test network alone. */
  allowPlainHttp: z.boolean().default(false),
});
export type SetupOptions = z.input<typeof SetupOptions>;

export interface HostFile {
  readonly path: string;
  readonly mode: number;
  readonly text: string;
}

/** How a host is configured for a repository: the files, and one text for a root shell that writes them. */
export interface Setup {
  readonly files: readonly HostFile[];
  readonly snippet: string;
}

/** The placeholder that a person replaces with the activation key: a text that is copied around holds no secret. */
const KEY_PLACE = 'ACTIVATION-KEY';

/** Whose seat of the key it is (docs/decisions/052-package-seats.md); the host puts its own name in. */
const LOGIN = 'kmend-THIS-MACHINE';
/**
 * The machine's id is confidential (machine-id(5)): its hash tells machines apart as well. A machine without one (an
 * image's file is empty, or says `uninitialized`) is given a name by chance: all of them would share one otherwise.
 */
const MACHINE =
  '$({ grep -vx uninitialized /etc/machine-id | grep . || cat /proc/sys/kernel/random/uuid; } | sha256sum | cut -c1-16)';

export function aptSetup(options: SetupOptions): Setup {
  const { url, keyring, name, suite, gated } = checked(options);
  const key = keyring.trimEnd().split('\n');
  const sources = [
    'Types: deb',
    `URIs: ${url}`,
    `Suites: ${suite}`,
    'Components: main',
    'Architectures: amd64',
    'Signed-By:',
    ...key.map((line) => (line === '' ? ' .' : ` ${line}`)),
  ];
  const files: HostFile[] = [
    { path: `/etc/apt/sources.list.d/${name}.sources`, mode: 0o644, text: `${sources.join('\n')}\n` },
  ];
  if (gated) {
    // Without a protocol APT sends it over https alone (apt_auth.conf(5)).
    const machine = url.replace(/^https:\/\//, '');
    const text = `machine ${machine} login ${LOGIN} password ${KEY_PLACE}\n`;
    files.push({ path: `/etc/apt/auth.conf.d/${name}.conf`, mode: 0o600, text });
  }
  return { files, snippet: snippetOf(files, 'apt-get update') };
}

export function dnfSetup(options: SetupOptions): Setup {
  const { url, keyring, name, gated } = checked(options);
  const keyPath = `/etc/pki/rpm-gpg/RPM-GPG-KEY-${name}`;
  const lines = [
    `[${name}]`,
    `name=${name} livepatches`,
    `baseurl=${url}`,
    'enabled=1',
    'gpgcheck=1',
    'repo_gpgcheck=1',
    `gpgkey=file://${keyPath}`,
    ...(gated ? [`username=${LOGIN}`, `password=${KEY_PLACE}`] : []),
  ];
  const files: HostFile[] = [
    { path: keyPath, mode: 0o644, text: keyring },
    { path: `/etc/yum.repos.d/${name}.repo`, mode: gated ? 0o600 : 0o644, text: `${lines.join('\n')}\n` },
  ];
  return { files, snippet: snippetOf(files, `dnf -y --repo=${name} makecache`) };
}

function checked(options: SetupOptions): z.output<typeof SetupOptions> {
  const parsed = SetupOptions.safeParse(options);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new DistroError('setting-invalid', `${issue?.path.join('.')}: ${issue?.message}`, { cause: parsed.error });
  }
  const { username, password, protocol } = new URL(parsed.data.url);
  if (username !== '' || password !== '') {
    throw new DistroError(
      'setting-invalid',
      'everyone on the host could read a user name or a password in the address',
    );
  }
  if (parsed.data.gated && protocol !== 'https:' && !parsed.data.allowPlainHttp) {
    throw new DistroError('setting-invalid', 'an activation key needs an https address');
  }
  return parsed.data;
}

/** For a root shell. A file that will hold a secret is never readable by others, not for a moment. */
function snippetOf(files: readonly HostFile[], then: string): string {
  const writes = files.map(
    ({ path, mode, text }) =>
      `install -D -m 0${mode.toString(8)} /dev/stdin ${path} <<'END-OF-FILE'\n${text}END-OF-FILE\n${
        text.includes(LOGIN) ? `sed -i "s/${LOGIN}/kmend-${MACHINE}/" ${path}\n` : ''
      }`,
  );
  return `${writes.join('')}${then}\n`;
}
