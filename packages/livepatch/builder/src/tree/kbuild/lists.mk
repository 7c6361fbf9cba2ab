# SPDX-License-Identifier: GPL-2.0 Reads the Kbuild files of all folders that the configuration leads to, in one make,
# and prints the lists of objects that scripts/Makefile.lib would link. Some 1,400 folders; a make for each, as Kbuild
# has it, takes ten times as long.
obj :=
include include/config/auto.conf
include $(srctree)/scripts/Kbuild.include
include $(srctree)/scripts/Makefile.compiler

# scripts/Makefile.build, "Init all relevant variables used in kbuild files".
kmend-lists := obj-y obj-m lib-y lib-m subdir-y subdir-m
kmend-initial := $(kmend-lists) always-y always-m targets extra-y hostprogs userprogs EXTRA_AFLAGS EXTRA_CFLAGS EXTRA_CPPFLAGS \
	EXTRA_LDFLAGS asflags-y ccflags-y rustflags-y cppflags-y ldflags-y subdir-asflags-y subdir-ccflags-y

kmend-file = $(firstword $(wildcard $1/Kbuild $1/Makefile))
kmend-parts = $(foreach s,objs y m,$(if $(strip $($(1:.o=)-$s)),$(info kmend: part-$s $1 $($(1:.o=)-$s))))\
	$(if $(strip $($(1:.o=)-)),$(info kmend: part- $1 -))

# The folder's own variables are forgotten behind it: another folder may have a module core.o too, made of nothing but
# core.c.
define kmend-visit
$(foreach v,$(kmend-initial),$(eval $v :=))
$(eval obj := $1)$(eval src := $1)
$(eval include $(call kmend-file,$1))
$(info kmend: folder $1)
$(foreach v,$(kmend-lists),$(if $(strip $($v)),$(info kmend: $v $($v))))
$(foreach o,$(sort $(filter %.o,$(obj-y) $(obj-m))),$(call kmend-parts,$o))
$(eval kmend-below/$1 := $(sort $(patsubst %/,%,$(subdir-y) $(subdir-m) $(filter %/,$(obj-y) $(obj-m)))))
$(foreach v,$(filter-out kmend-% $(kmend-known),$(.VARIABLES)),$(eval undefine $v))
$(foreach d,$(kmend-below/$1),$(call kmend-visit,$(if $(filter .,$1),$d,$1/$d)))
endef

kmend-known :=
kmend-known := $(.VARIABLES) obj src $(kmend-initial)
$(info kmend: libraries $(KMEND_LIBRARIES))
$(call kmend-visit,.)
$(info kmend: end)

kmend-lists: ;
