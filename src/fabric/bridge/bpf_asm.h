/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* An assembler for short eBPF programs: instructions one after the other, with labels to jump forward to. An
 * error (no memory, a label too far away) is kept, and reported by asm_finish(). Thread-safety: none. */

#include "fabric/bridge/bpf.h"

#define ASM_LABELS 128
#define ASM_FIXUPS 1024

enum asm_reg { R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FP };

struct bpf_asm {
	struct bpf_insn *insns;
	unsigned int n, room;
	unsigned int labels; /* used */
	unsigned int at[ASM_LABELS];
	bool placed[ASM_LABELS];
	unsigned int n_fixups;
	struct {
		unsigned int insn, label;
	} fixups[ASM_FIXUPS];
	int error;
};

void asm_emit(struct bpf_asm *a, uint8_t code, unsigned int dst, unsigned int src, int16_t off, int32_t imm);
unsigned int asm_label(struct bpf_asm *a); /* a new one, without a place yet */
void asm_place(struct bpf_asm *a, unsigned int label);
/* if (dst OP imm) goto label; OP: BPF_JEQ, …; BPF_JA: always. */
void asm_jump(struct bpf_asm *a, uint8_t op, unsigned int dst, int32_t imm, unsigned int label);
void asm_jump_reg(struct bpf_asm *a, uint8_t op, unsigned int dst, unsigned int src, unsigned int label);
void asm_load_imm(struct bpf_asm *a, unsigned int dst, uint64_t imm);
void asm_load_map(struct bpf_asm *a, unsigned int dst, int map_fd);
/* Takes the program out of `a`. */
int asm_finish(struct bpf_asm *a, struct bpf_insn **ret, unsigned int *ret_n);

static inline void asm_mov(struct bpf_asm *a, unsigned int dst, unsigned int src)
{
	asm_emit(a, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static inline void asm_mov_imm(struct bpf_asm *a, unsigned int dst, int32_t imm)
{
	asm_emit(a, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm);
}

/* dst OP= src, dst OP= imm */
static inline void asm_alu(struct bpf_asm *a, uint8_t op, unsigned int dst, unsigned int src)
{
	asm_emit(a, (uint8_t)(BPF_ALU64 | op | BPF_X), dst, src, 0, 0);
}

static inline void asm_alu_imm(struct bpf_asm *a, uint8_t op, unsigned int dst, int32_t imm)
{
	asm_emit(a, (uint8_t)(BPF_ALU64 | op | BPF_K), dst, 0, 0, imm);
}

/* dst = *(size *)(src + off), size: BPF_B, BPF_H, BPF_W, BPF_DW */
static inline void asm_load(struct bpf_asm *a, uint8_t size, unsigned int dst, unsigned int src, int16_t off)
{
	asm_emit(a, (uint8_t)(BPF_LDX | BPF_MEM | size), dst, src, off, 0);
}

static inline void asm_store(struct bpf_asm *a, uint8_t size, unsigned int dst, int16_t off, unsigned int src)
{
	asm_emit(a, (uint8_t)(BPF_STX | BPF_MEM | size), dst, src, off, 0);
}

static inline void asm_call(struct bpf_asm *a, int helper)
{
	asm_emit(a, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
}

static inline void asm_exit(struct bpf_asm *a)
{
	asm_emit(a, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}
