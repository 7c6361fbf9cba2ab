import { callbackHelpers, callbackSource, phasesOf, type RegisteredCallbacks } from './callback-source.ts';

/** One function of an object that the livepatch replaces, as `struct klp_func` wants it. */
export interface RegisteredFunction {
  readonly oldName: string;
  readonly sympos: number;
  /** Global symbol of the new code. */
  readonly alias: string;
}

/** What the livepatch does to one kernel object. */
export interface RegisteredObject {
  readonly functions: RegisteredFunction[];
  /** In the order in which they are to be called. */
  readonly callbacks: RegisteredCallbacks[];
}

export interface Registration {
  readonly description: string;
  readonly replace: boolean;
  /** By name; vmlinux is `vmlinux`. */
  readonly objects: ReadonlyMap<string, RegisteredObject>;
  readonly namespaces: readonly string[];
}

/**
 * The C source that hands the new functions to the kernel (include/linux/livepatch.h). GPL-2.0, as all that is linked
 * into a livepatch.
 */
export function registrationSource(registration: Registration): string {
  const lines = [
    '// SPDX-License-Identifier: GPL-2.0',
    '#include <linux/kernel.h>',
    '#include <linux/livepatch.h>',
    '#include <linux/module.h>',
    '#include <kmend/livepatch.h>',
    '',
  ];
  const objects: string[] = [];
  let number = 0;
  if ([...registration.objects.values()].some(({ callbacks }) => callbacks.length > 0)) lines.push(callbackHelpers);
  for (const [object, { functions, callbacks }] of registration.objects) {
    const name = `kmend_funcs_${number}`;
    for (const { alias } of functions) lines.push(`extern void ${alias}(void);`);
    lines.push(`static struct klp_func ${name}[] = {`);
    for (const { oldName, sympos, alias } of functions) {
      lines.push(`\t{ .old_name = ${quote(oldName)}, .new_func = ${alias}, .old_sympos = ${sympos} },`);
    }
    lines.push('\t{ }', '};');
    lines.push(...callbackSource(callbacks, number));
    const members = [`.name = ${object === 'vmlinux' ? 'NULL' : quote(object)}`, `.funcs = ${name}`];
    const phases = phasesOf(callbacks).map((phase) => `.${phase} = kmend_${phase}_${number}`);
    if (phases.length > 0) members.push(`.callbacks = { ${phases.join(', ')} }`);
    objects.push(`\t{ ${members.join(', ')} },`);
    number++;
  }
  lines.push(
    'static struct klp_object kmend_objects[] = {',
    ...objects,
    '\t{ }',
    '};',
    'static struct klp_patch kmend_patch = {',
    '\t.mod = THIS_MODULE,',
    '\t.objs = kmend_objects,',
    `\t.replace = ${registration.replace},`,
    '};',
    '',
    'static int __init kmend_init(void)',
    '{',
    '\treturn klp_enable_patch(&kmend_patch);',
    '}',
    '',
    '/* Without an exit function the module could never be unloaded after a revert. */',
    'static void __exit kmend_exit(void)',
    '{',
    '}',
    '',
    'module_init(kmend_init);',
    'module_exit(kmend_exit);',
    'MODULE_LICENSE("GPL");',
    'MODULE_INFO(livepatch, "Y");',
    `MODULE_DESCRIPTION(${quote(registration.description)});`,
    // What MODULE_IMPORT_NS() makes; its argument is a string since 6.13 only.
    ...registration.namespaces.map((namespace) => `MODULE_INFO(import_ns, ${quote(namespace)});`),
    '',
  );
  return lines.join('\n');
}

function quote(text: string): string {
  return `"${text.replaceAll(/[^\x20-\x7e]/g, '?').replaceAll(/["\\]/g, '\\$&')}"`;
}
