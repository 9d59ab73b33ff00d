/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/bridge/bpf_asm.h"

void asm_emit(struct bpf_asm *a, uint8_t code, unsigned int dst, unsigned int src, int16_t off, int32_t imm)
{
	if (a->n == a->room) {
		unsigned int room = a->room ? 2 * a->room : 256;
		struct bpf_insn *insns = realloc(a->insns, room * sizeof(*insns));

		if (!insns) {
			a->error = -ENOMEM;
			return;
		}
		a->insns = insns;
		a->room = room;
	}
	a->insns[a->n++] = (struct bpf_insn){
		.code = code, .dst_reg = dst & 0xf, .src_reg = src & 0xf, .off = off, .imm = imm};
}

unsigned int asm_label(struct bpf_asm *a)
{
	if (a->labels == ASM_LABELS) {
		a->error = -E2BIG;
		return 0;
	}
	return a->labels++;
}

void asm_place(struct bpf_asm *a, unsigned int label)
{
	a->at[label] = a->n;
	a->placed[label] = true;
}

static void fixup(struct bpf_asm *a, unsigned int label)
{
	if (a->n_fixups == ASM_FIXUPS) {
		a->error = -E2BIG;
		return;
	}
	a->fixups[a->n_fixups].insn = a->n;
	a->fixups[a->n_fixups++].label = label;
}

void asm_jump(struct bpf_asm *a, uint8_t op, unsigned int dst, int32_t imm, unsigned int label)
{
	fixup(a, label);
	asm_emit(a, (uint8_t)(BPF_JMP | op | BPF_K), dst, 0, 0, imm);
}

void asm_jump_reg(struct bpf_asm *a, uint8_t op, unsigned int dst, unsigned int src, unsigned int label)
{
	fixup(a, label);
	asm_emit(a, (uint8_t)(BPF_JMP | op | BPF_X), dst, src, 0, 0);
}

void asm_load_imm(struct bpf_asm *a, unsigned int dst, uint64_t imm)
{
	asm_emit(a, BPF_LD | BPF_DW | BPF_IMM, dst, 0, 0, (int32_t)(uint32_t)imm);
	asm_emit(a, 0, 0, 0, 0, (int32_t)(uint32_t)(imm >> 32));
}

void asm_load_map(struct bpf_asm *a, unsigned int dst, int map_fd)
{
	asm_emit(a, BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, map_fd);
	asm_emit(a, 0, 0, 0, 0, 0);
}

int asm_finish(struct bpf_asm *a, struct bpf_insn **ret, unsigned int *ret_n)
{
	for (unsigned int i = 0; i < a->n_fixups && !a->error; i++) {
		unsigned int label = a->fixups[i].label, from = a->fixups[i].insn + 1;

		if (!a->placed[label] || a->at[label] < from || a->at[label] - from > INT16_MAX)
			a->error = -ERANGE;
		else
			a->insns[a->fixups[i].insn].off = (int16_t)(a->at[label] - from);
	}
	if (a->error) {
		free(a->insns);
		a->insns = NULL;
		return a->error;
	}
	*ret = steal_ptr(&a->insns);
	*ret_n = a->n;
	return 0;
}
