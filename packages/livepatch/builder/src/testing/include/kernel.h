/*
 * For fixtures: table entries as the kernel's macros write them, each in the form of 6.1 on x86-64. Sizes of entries:
 * __bug_table 12, __ex_table 12, .altinstructions 12, .parainstructions 16, .smp_locks 4, __jump_table 16.
 */
#define BUG_ENTRY(line, flags)						\
	asm volatile("1: ud2\n"						\
		     ".pushsection __bug_table,\"aw\"\n"		\
		     "2: .long 1b - ., %c0 - .\n"			\
		     ".word " #line ", " #flags "\n"			\
		     ".popsection" : : "i" ("unit.c"))

#define EX_ENTRY(address, type)						\
	asm volatile("1: movl (%0), %%eax\n2:\n"			\
		     ".pushsection __ex_table,\"a\"\n"			\
		     ".balign 4\n"					\
		     ".long 1b - ., 2b - ., " #type "\n"		\
		     ".popsection" : : "r" (address) : "eax")

#define ALTERNATIVE(original, replacement, feature)			\
	asm volatile("661: " original "\n662:\n"			\
		     ".pushsection .altinstructions,\"a\"\n"		\
		     ".long 661b - ., 663f - .\n"			\
		     ".word " #feature "\n"				\
		     ".byte 662b - 661b, 664f - 663f\n"			\
		     ".popsection\n"					\
		     ".pushsection .altinstr_replacement,\"ax\"\n"	\
		     "663: " replacement "\n664:\n"			\
		     ".popsection" : : : "eax", "memory")

/* _static_cpu_has(): the test that runs until alternatives are applied lies out of line. */
#define CPU_HAS(bit, byte, yes, no)					\
	asm goto("661: jmp 6f\n662:\n"					\
		 ".pushsection .altinstructions,\"a\"\n"		\
		 ".long 661b - ., 663f - .\n.word 117\n"		\
		 ".byte 662b - 661b, 0\n"				\
		 ".popsection\n"					\
		 ".pushsection .altinstr_replacement,\"ax\"\n"		\
		 "663:\n"						\
		 ".popsection\n"					\
		 ".pushsection .altinstr_aux,\"ax\"\n"			\
		 "6: testb $" #bit ", %c0\n"				\
		 "jnz %l[" #yes "]\n"					\
		 "jmp %l[" #no "]\n"					\
		 ".popsection" : : "i" (byte) : : yes, no)

#define PARAVIRT_CALL(operation, type)					\
	asm volatile("771: call *%c0\n772:\n"				\
		     ".pushsection .parainstructions,\"a\"\n"		\
		     ".balign 8\n"					\
		     ".quad 771b\n.byte " #type "\n.byte 772b - 771b\n"	\
		     ".balign 8\n"					\
		     ".popsection" : : "i" (operation) : "memory")

#define LOCKED_INC(variable)						\
	asm volatile(".pushsection .smp_locks,\"a\"\n"			\
		     ".balign 4\n.long 671f - .\n.popsection\n"		\
		     "671: lock; incl %0" : "+m" (variable))
#define PLAIN_LOCKED_INC(variable) asm volatile("lock; incl %0" : "+m" (variable))

struct static_key { int enabled; void *entries; };

#define STATIC_BRANCH(key, yes)						\
	asm goto("1: .byte 0x0f,0x1f,0x44,0x00,0x00\n"			\
		 ".pushsection __jump_table,\"aw\"\n"			\
		 ".balign 8\n"						\
		 ".long 1b - ., %l[" #yes "] - .\n"			\
		 ".quad %c0 - .\n"					\
		 ".popsection" : : "i" (key) : : yes)

#define REACHABLE()							\
	asm volatile("8:\n.pushsection .discard.reachable\n.long 8b - .\n.popsection")

#define noinline __attribute__((noinline))
#define __section(name) __attribute__((section(name)))
#define __used __attribute__((used))

int printk(const char *format, ...);
