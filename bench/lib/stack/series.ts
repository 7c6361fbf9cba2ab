import { type Operator, patchOf } from '@kmend/harness';

const FILE = 'kernel/sys.c';
/** In every fix, so that the stack is as deep over one function as it can be: what a patched call costs shows there. */
const SHARED = 'getppid';
/** One of them beside it in each fix. */
const OWN = ['getpid', 'gettid', 'getuid', 'geteuid', 'getgid', 'getegid'] as const;

/** A line more at the end of a system call: one that is never true, as most of what a fix adds. */
function withCheck(text: string, name: string, number: number): string {
  const at = text.indexOf(`SYSCALL_DEFINE0(${name})\n`);
  const end = text.indexOf('\n\treturn ', at);
  if (at < 0 || end < 0) throw new Error(`${FILE} has no ${name} that ends with a return`);
  return `${text.slice(0, end)}\n\tif (unlikely(current->pid == -${number}))\n\t\treturn -EPERM;${text.slice(end)}`;
}

/** The file with the fix of that number, on top of those before. */
function fixed(text: string, number: number): string {
  return withCheck(withCheck(text, SHARED, number), OWN[number % OWN.length] ?? OWN[0], number);
}

/** The file as the first `count` fixes leave it. */
function after(text: string, count: number): string {
  for (let number = 1; number <= count; number += 1) text = fixed(text, number);
  return text;
}

/** Makes and imports a series of fixes of one file of the kernel, each on top of those before. Their ids, in order. */
export async function importSeries(operator: Operator, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let number = 1; number <= count; number += 1) {
    const id = `layer-${number}`;
    const patch = await patchOf(
      operator,
      FILE,
      (text) => fixed(text, number),
      (text) => after(text, number - 1),
    );
    await operator.kmend('fix', 'import', '--id', id, '--patch', patch);
    ids.push(id);
  }
  return ids;
}
