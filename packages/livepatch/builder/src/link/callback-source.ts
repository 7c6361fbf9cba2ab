import { PHASES, type Phase } from '../author/callbacks.ts';

/** Callbacks of one fix, a `struct kmend_callbacks` (author/include/kmend/livepatch.h). */
export interface RegisteredCallbacks {
  readonly phases: readonly Phase[];
  /** Global symbol of the struct. */
  readonly alias: string;
}

/**
 * An object has one set of callbacks (struct klp_callbacks), the fixes in it may have several: going in they are called
 * in order, going out the other way round. Where a pre-patch callback fails the kernel refuses the livepatch and calls
 * nothing more for this object, so that those which were called already are undone here, as the kernel does with the
 * objects before.
 */
export const callbackHelpers = `
struct kmend_set {
	const struct kmend_callbacks *const *all;
	int count;
};

static int __maybe_unused kmend_pre_patch(const struct kmend_set *set, struct klp_object *obj)
{
	int at, error = 0;

	for (at = 0; at < set->count; at++) {
		if (set->all[at]->pre_patch)
			error = set->all[at]->pre_patch(obj);
		if (error)
			break;
	}
	if (!error)
		return 0;
	while (--at >= 0) {
		if (set->all[at]->post_unpatch)
			set->all[at]->post_unpatch(obj);
	}
	return error;
}

static void __maybe_unused kmend_post_patch(const struct kmend_set *set, struct klp_object *obj)
{
	int at;

	for (at = 0; at < set->count; at++) {
		if (set->all[at]->post_patch)
			set->all[at]->post_patch(obj);
	}
}

static void __maybe_unused kmend_pre_unpatch(const struct kmend_set *set, struct klp_object *obj)
{
	int at;

	for (at = set->count - 1; at >= 0; at--) {
		if (set->all[at]->pre_unpatch)
			set->all[at]->pre_unpatch(obj);
	}
}

static void __maybe_unused kmend_post_unpatch(const struct kmend_set *set, struct klp_object *obj)
{
	int at;

	for (at = set->count - 1; at >= 0; at--) {
		if (set->all[at]->post_unpatch)
			set->all[at]->post_unpatch(obj);
	}
}
`;

/** The set of an object, and a function for each phase that any of its callbacks has. */
export function callbackSource(callbacks: readonly RegisteredCallbacks[], number: number): string[] {
  if (callbacks.length === 0) return [];
  const lines = callbacks.map(({ alias }) => `extern const struct kmend_callbacks ${alias};`);
  lines.push(`static const struct kmend_callbacks *const kmend_callbacks_${number}[] = {`);
  lines.push(...callbacks.map(({ alias }) => `\t&${alias},`), '};');
  lines.push(`static const struct kmend_set kmend_set_${number} = {`);
  lines.push(`\t.all = kmend_callbacks_${number},`, `\t.count = ARRAY_SIZE(kmend_callbacks_${number}),`, '};');
  for (const phase of phasesOf(callbacks)) {
    const isAnswered = phase === 'pre_patch';
    lines.push(
      `static ${isAnswered ? 'int' : 'void'} kmend_${phase}_${number}(struct klp_object *obj)`,
      '{',
      `\t${isAnswered ? 'return ' : ''}kmend_${phase}(&kmend_set_${number}, obj);`,
      '}',
    );
  }
  return lines;
}

/** Phases that any of the callbacks has. */
export function phasesOf(callbacks: readonly RegisteredCallbacks[]): Phase[] {
  return PHASES.filter((phase) => callbacks.some(({ phases }) => phases.includes(phase)));
}
