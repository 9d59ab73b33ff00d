/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* As much of bpf(2) as the programs at a port need: maps with one value, and programs for tc.
 *
 * Thread-safety: none needed; descriptors are the caller's, close-on-exec. */

#include <linux/bpf.h>

#include "util/util.h"

/* A map of one value of `size` bytes (a multiple of 8), all zeros; per_cpu: one for each possible CPU. A
 * descriptor. */
int bpf_new_map(bool per_cpu, uint32_t size);
/* A set of at most `max` (≥ 1) numbers of 64 bits, and emptying it. */
int bpf_new_set(uint32_t max);
int bpf_empty_set(int map_fd);
/* The sum, word by word, of the values of all CPUs. */
int bpf_sum_map(int map_fd, uint64_t *ret, uint32_t size);
/* All zeros again; not per_cpu. */
int bpf_zero_map(int map_fd, uint32_t size);
/* A program of type SCHED_CLS; a descriptor. `why` (NULL: not wanted): what the verifier said last. */
int bpf_load(const struct bpf_insn *insns, unsigned int n, char *why, size_t why_size);
