/* A plugin for `qemu-aarch64 -plugin FILE.so,out=FILE`: how much a program runs between marks that it sets.
 *
 * The program marks with system call MARK, which does not exist (Linux answers ENOSYS); its first argument is a tag.
 * Each mark writes a line to the file: the tag, then sums since the start: instructions; those that need the dot product
 * or int8 matrix extensions (SDOT, UDOT, USDOT, SUDOT, SMMLA, UMMLA, USMMLA); products of integers that these and SMULL,
 * UMULL, SMLAL and UMLAL formed. One thread is counted right, several are not.
 *
 * QEMU's plugin interface, version 1 (QEMU 4.2 to 8.1): Debian 12 ships no header of it, so what is used is declared
 * here. Encodings: Arm Architecture Reference Manual for A-profile, C4.1.96, Advanced SIMD.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { MARK = 9000, ADD_U64 = 0 };

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*on_translation)(uint64_t plugin, struct qemu_plugin_tb *block);
typedef void (*on_system_call)(uint64_t plugin, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                               uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t plugin, on_translation callback);
void qemu_plugin_register_vcpu_syscall_cb(uint64_t plugin, on_system_call callback);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, int operation, void *sum, uint64_t amount);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *instruction);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

/* `size`: bits 23:22, the type of the operands. `products`: of one instruction on all 128 bits. */
static const struct form {
  uint32_t mask, value;
  unsigned size, extension, products;
} FORMS[] = {
    {0x9F20FC00, 0x0E009400, 2, 1, 16}, /* SDOT, UDOT (vector): 16 bytes times 16 bytes */
    {0x9F20FC00, 0x0E009C00, 2, 1, 16}, /* USDOT (vector) */
    {0x9F00F400, 0x0F00E000, 2, 1, 16}, /* SDOT, UDOT (by element) */
    {0xBF00F400, 0x0F00F000, 2, 1, 16}, /* USDOT (by element) */
    {0xBF00F400, 0x0F00F000, 0, 1, 16}, /* SUDOT (by element) */
    {0xDF20F400, 0x4E00A400, 2, 1, 32}, /* SMMLA, UMMLA, USMMLA: two rows times two columns of 8 bytes */
    {0x9F20FC00, 0x0E20C000, 0, 0, 8},  /* SMULL, UMULL (vector) of bytes; SMULL2 too */
    {0x9F20FC00, 0x0E208000, 0, 0, 8},  /* SMLAL, UMLAL (vector) of bytes */
    {0x9F20FC00, 0x0E20C000, 1, 0, 4},  /* SMULL, UMULL (vector) of 16 bits */
    {0x9F20FC00, 0x0E208000, 1, 0, 4},  /* SMLAL, UMLAL (vector) of 16 bits */
    {0x9F00F400, 0x0F00A000, 1, 0, 4},  /* SMULL, UMULL (by element) of 16 bits */
    {0x9F00F400, 0x0F002000, 1, 0, 4},  /* SMLAL, UMLAL (by element) of 16 bits */
};

static uint64_t instructions, extension_instructions, products;
static FILE *out;

static const struct form *find_form(uint32_t word) {
  for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++)
    if ((word & FORMS[i].mask) == FORMS[i].value && (word >> 22 & 3) == FORMS[i].size) return &FORMS[i];
  return NULL;
}

static void translate(uint64_t plugin, struct qemu_plugin_tb *block) {
  (void)plugin;
  size_t count = qemu_plugin_tb_n_insns(block);
  uint64_t extensions = 0, formed = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
    const struct form *form = find_form(word);
    if (form == NULL) continue;
    extensions += form->extension;
    /* Bit 30 is Q: the whole register. SMULL and the like form as many products from its lower as from its upper half. */
    formed += form->extension && !(word >> 30 & 1) ? form->products / 2 : form->products;
  }
  qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &instructions, count);
  if (extensions) qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &extension_instructions, extensions);
  if (formed) qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &products, formed);
}

static void system_call(uint64_t plugin, unsigned cpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                        uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
  (void)plugin, (void)cpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
  if (number != MARK) return;
  fprintf(out, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", a1, instructions, extension_instructions, products);
  fflush(out);
}

EXPORT int qemu_plugin_install(uint64_t plugin, const void *info, int argc, char **argv) {
  (void)info;
  if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || (out = fopen(argv[0] + 4, "w")) == NULL) {
    fprintf(stderr, "count_instructions: needs out=FILE, a file that can be written\n");
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(plugin, translate);
  qemu_plugin_register_vcpu_syscall_cb(plugin, system_call);
  return 0;
}
