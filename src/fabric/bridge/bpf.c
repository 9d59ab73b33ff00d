/* SPDX-License-Identifier: Apache-2.0 */

#include "fabric/bridge/bpf.h"

#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

static int sys_bpf(int cmd, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return r < 0 ? -errno : (int)r;
}

int bpf_new_map(bool per_cpu, uint32_t size)
{
	union bpf_attr attr = {
		.map_type = per_cpu ? BPF_MAP_TYPE_PERCPU_ARRAY : BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = size,
		.max_entries = 1,
	};

	snprintf(attr.map_name, sizeof(attr.map_name), "vpf_port");
	return sys_bpf(BPF_MAP_CREATE, &attr); /* close-on-exec always */
}

int bpf_new_set(uint32_t max)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_HASH,
		.key_size = 8,
		.value_size = 8,
		.max_entries = max,
		.map_flags = BPF_F_NO_PREALLOC, /* most are never filled */
	};

	snprintf(attr.map_name, sizeof(attr.map_name), "vpf_set");
	return sys_bpf(BPF_MAP_CREATE, &attr);
}

int bpf_empty_set(int map_fd)
{
	uint64_t key;
	union bpf_attr first = {.map_fd = (uint32_t)map_fd, .next_key = (uint64_t)(uintptr_t)&key},
		       del = {.map_fd = (uint32_t)map_fd, .key = (uint64_t)(uintptr_t)&key};

	/* The first key there is, until there is none. A program may add some meanwhile; they are few. */
	while (sys_bpf(BPF_MAP_GET_NEXT_KEY, &first) == 0) {
		int r = sys_bpf(BPF_MAP_DELETE_ELEM, &del);

		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

/* The number of possible CPUs: a lookup returns a value for each. */
static unsigned int possible_cpus(void)
{
	unsigned int last = 0, a, b;
	FILE *f = fopen("/sys/devices/system/cpu/possible", "re");
	char line[256], *range, *rest = line;

	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	(void)fclose(f);
	while ((range = strsep(&rest, ","))) {
		int n = sscanf(range, "%u-%u", &a, &b);

		if (n >= 1)
			last = MAX(last, n == 2 ? b : a);
	}
	return last + 1;
}

int bpf_sum_map(int map_fd, uint64_t *ret, uint32_t size)
{
	static unsigned int cpus;
	_cleanup_free_ uint64_t *values = NULL;
	uint32_t key = 0;
	union bpf_attr attr = {.map_fd = (uint32_t)map_fd};
	size_t words = size / sizeof(uint64_t);
	int r;

	if (!cpus)
		cpus = possible_cpus();
	if (!cpus)
		return -ENOENT;
	values = calloc(cpus, size);
	if (!values)
		return -ENOMEM;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)values;
	r = sys_bpf(BPF_MAP_LOOKUP_ELEM, &attr);
	if (r < 0)
		return r;
	memset(ret, 0, size);
	for (unsigned int cpu = 0; cpu < cpus; cpu++)
		for (size_t i = 0; i < words; i++)
			ret[i] += values[cpu * words + i];
	return 0;
}

int bpf_zero_map(int map_fd, uint32_t size)
{
	_cleanup_free_ void *zeros = calloc(1, size);
	uint32_t key = 0;
	union bpf_attr attr = {.map_fd = (uint32_t)map_fd};

	if (!zeros)
		return -ENOMEM;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)zeros;
	return sys_bpf(BPF_MAP_UPDATE_ELEM, &attr);
}

int bpf_load(const struct bpf_insn *insns, unsigned int n, char *why, size_t why_size)
{
	_cleanup_free_ char *log = NULL;
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SCHED_CLS,
		.insn_cnt = n,
		.insns = (uint64_t)(uintptr_t)insns,
		.license = (uint64_t)(uintptr_t) "Apache-2.0",
	};
	size_t end;
	int r;

	snprintf(attr.prog_name, sizeof(attr.prog_name), "vpf_port");
	r = sys_bpf(BPF_PROG_LOAD, &attr);
	if (r >= 0 || !why)
		return r;
	why[0] = 0;
	log = calloc(1, 65536);
	if (!log)
		return r;
	attr.log_buf = (uint64_t)(uintptr_t)log;
	attr.log_size = 65536;
	attr.log_level = 1;
	if (sys_bpf(BPF_PROG_LOAD, &attr) < 0) {
		end = strlen(log);
		snprintf(why, why_size, "%s", log + (end >= why_size ? end - why_size + 1 : 0));
	}
	return r;
}
