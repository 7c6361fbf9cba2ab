# SPDX-License-Identifier: GPL-2.0 Run in the root of a kernel tree, as a Makefile: asks the tree's own Makefiles. The
# goals never make anything of the kernel.
kmend-here := $(patsubst %/tree.mk,%,$(lastword $(MAKEFILE_LIST)))

include Makefile

# Folders whose lib.a is linked into vmlinux; those of other images (the EFI stub) have one too.
export KMEND_LIBRARIES = $(patsubst %/,%,$(filter %/,$(libs-y)))

# What each folder links: see lists.mk.
PHONY += kmend-lists
kmend-lists:
	@$(MAKE) -rR -s -f $(kmend-here)/lists.mk kmend-lists
