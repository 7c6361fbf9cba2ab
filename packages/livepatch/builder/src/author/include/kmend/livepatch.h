/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For fixes that are adapted by hand to live patching: kmend puts this header
 * on the include path of every file that it compiles for a fix. How to use it
 * is told in docs/authoring.md.
 */
#ifndef _KMEND_LIVEPATCH_H
#define _KMEND_LIVEPATCH_H

#include <linux/livepatch.h>

/*
 * What a fix wants done around its patching and unpatching, as in struct
 * klp_callbacks. Each may be left out.
 */
struct kmend_callbacks {
	int (*pre_patch)(struct klp_object *obj);
	void (*post_patch)(struct klp_object *obj);
	void (*pre_unpatch)(struct klp_object *obj);
	void (*post_unpatch)(struct klp_object *obj);
};

/*
 * Declares callbacks for the kernel object (vmlinux or a module) that the file
 * belongs to. @name: an identifier, unique in the file; best that of the fix.
 * Those of a file are called in the order in which they stand (no_reorder: the
 * compiler would turn them round).
 *
 *	KMEND_CALLBACKS(cve_2026_1234, .post_patch = repair, .post_unpatch = undo);
 */
#define KMEND_CALLBACKS(name, ...)					\
	static const struct kmend_callbacks kmend_callbacks_##name	\
	__used __aligned(8) __section(".kmend.callbacks")		\
	__attribute__((__no_reorder__)) = { __VA_ARGS__ }

#endif /* _KMEND_LIVEPATCH_H */
