import { cleanEnvironment } from '@kmend/base/node';

/** For tools that live in `/usr/sbin`, which Debian does not put on the path of ordinary users. */
export function toolEnvironment(): Record<string, string> {
  const environment = cleanEnvironment();
  return { ...environment, PATH: `${environment['PATH']}:/usr/sbin:/sbin` };
}
